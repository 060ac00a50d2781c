#!/usr/bin/env bash
# The whole embedded model, from corpora to an engine folder.
#
#   training/runs/embedded.sh --out RUNS --corpora FOLDER            # as shipped: about 22 core-hours
#   training/runs/embedded.sh --out RUNS --corpora FOLDER --hours 5  # everything shorter by one factor
#   training/runs/embedded.sh --out RUNS --size tiny                 # minutes, on packaged recordings
#
# One TOML file per stage in training/configs/embedded; all paths start at RUNS. Unattended and
# resumable: what is complete is skipped, what was stopped goes on; call the same command again.
# Options: --data FILE (settings of the data stage), --events MANIFEST (recordings of laughter, breath
# and the like, to be inserted), --street FOLDER (recordings of noise, for denoise), --synthesis (also
# speech of free voices: 'stepedit[synth]', flite), --sentences FILE (with --synthesis: English
# sentences, one a line, which clones learn to say, too, such as the examples of WordNet).
set -euo pipefail

HERE=$(cd "$(dirname "$0")/.." && pwd)
CONFIGS=$HERE/configs/embedded
STEPEDIT=${STEPEDIT:-stepedit}
OUT="" SIZE=embedded HOURS="" CORPORA=corpora DATA="" EVENTS="" SYNTHESIS="" SENTENCES="" STREET=()
while [ $# -gt 0 ]; do
    case $1 in
        --out) OUT=$2; shift 2 ;;
        --size) SIZE=$2; shift 2 ;;
        --hours) HOURS=$2; shift 2 ;;
        --corpora) CORPORA=$2; shift 2 ;;
        --data) DATA=$2; shift 2 ;;
        --events) EVENTS=$2; shift 2 ;;
        --street) STREET=(--set noise_folder="$(cd "$2" && pwd)"); shift 2 ;;
        --synthesis) SYNTHESIS=yes; shift ;;
        --sentences) SENTENCES=$(cd "$(dirname "$2")" && pwd)/$(basename "$2"); shift 2 ;;
        *) echo "embedded.sh: unknown option $1; see the head of the file" >&2; exit 2 ;;
    esac
done
[ -n "$OUT" ] || { echo "embedded.sh: --out is missing: the folder of all runs" >&2; exit 2; }
# The dial: what part of the full number of steps and pairs.
case $SIZE in
    embedded) SCALE=$(awk "BEGIN { print ${HOURS:-22} / 22 }"); CLUSTERS=1024; LEAST=200 ;;
    tiny) SCALE=0.0005; CLUSTERS=128; LEAST=8
        DATA=${DATA:-$CONFIGS/data-packaged.toml}
        [ "$CORPORA" != corpora ] || CORPORA=$HERE/../stepedit_core/recordings ;;
    *) echo "embedded.sh: --size is tiny or embedded" >&2; exit 2 ;;
esac
mkdir -p "$OUT/done"
OUT=$(cd "$OUT" && pwd)
if [ -d "$CORPORA" ]; then CORPORA=$(cd "$CORPORA" && pwd); fi
[ "$(cat "$OUT/done/scale" 2> /dev/null || echo "$SCALE")" = "$SCALE" ] \
    || { echo "embedded.sh: $OUT was begun with another size; choose another --out" >&2; exit 2; }
echo "$SCALE" > "$OUT/done/scale"
cd "$OUT"

step() { # NAME COMMAND...: run a command unless it has come to its end before
    local name=$1 && shift
    if [ -e "done/$name" ]; then echo "$name: complete"; return; fi
    echo "$name: $*"
    "$STEPEDIT" "$@" || exit
    touch "done/$name"
}
stage() { # STAGE [--set ...]: a stage that makes files
    local name=$1 && shift
    step "${LABEL:-$name}" train "$name" --config "$CONFIGS/${FILE:-$name}.toml" --set base="$OUT" "$@"
}
run() { # STAGE FOLDER [--set ...]: a stage that trains, all of its phases
    local name=$1 folder=$2 && shift 2
    "$STEPEDIT" train "$name" --config "$CONFIGS/${FILE:-$name}.toml" --set base="$OUT" \
        --set scale="$SCALE" "$@"
    [ -e "$folder/finished.json" ] || { echo "$name: stopped before its end; call again" >&2; exit 1; }
}
trained() { if [ -e "$2/finished.json" ]; then echo "${FILE:-$1}: complete"; else run "$@"; fi; }
pairs() { # FOLDER ROWS EDIT [OPTIONS]: at full size, that many rows
    local folder=$1 rows=$2 edit=$3 && shift 3
    rows=$(awk "BEGIN { n = int($rows * $SCALE); print n < $LEAST ? $LEAST : n }")
    step "pairs-$folder" pairs "$edit" "${SPEECH[@]}" --out "pairs/$folder" --sample "$rows" \
        --tokenizer "$TOKENIZER" "$@"
}
TOKENIZER=model/Step-Audio-Tokenizer
SPEECH=(--corpus corpora/pieces/manifest.jsonl)

# Recordings, and the audio tokenizer.
step data train data --config "${DATA:-$CONFIGS/data.toml}" --set base="$OUT" \
    --set corpora_folder="$CORPORA"
trained linguistic linguistic
stage linguistic-codebook --set clusters=$CLUSTERS
trained semantic semantic
stage semantic-export

# Utterances and pairs.
stage pieces
if [ -n "$SYNTHESIS" ]; then
    stage synthesise
    LABEL=data-synthesised FILE=data-synthesised stage data
    LABEL=pieces-synthesised FILE=pieces-synthesised stage pieces
    SPEECH+=(--corpus corpora/pieces-synthesised/manifest.jsonl)
fi
NOISY=(--set degradations=noise+reverb+both --set draw=1 --set snr=0:15 --set rt60=0.5:1.2)
pairs speed 1550 speed --set exact=0 --set draw=1
pairs denoise 3900 denoise "${NOISY[@]}" --set clean_share=0.1 --min-margin 4
pairs trim_silence 2300 trim_silence --set clean_share=0.15 --set share=0.2:0.6 --min-margin 4
pairs trim_silence_inside 2400 trim_silence --set kinds=inside --set clean_share=0.1 \
    --set share=0.15:0.6 --min-margin 4
# Telephone, wide band and full band, among voices and in what was recorded on the street, where it is at hand.
pairs denoise_rates 1600 denoise "${NOISY[@]}" "${STREET[@]}" --set rates=8000+16000+24000 --seed 2 --min-margin 4
RENDER=(--set mode=render --set unlabelled=neutral)
pairs emotion 900 emotion "${RENDER[@]}"
pairs style 900 style "${RENDER[@]}"
pairs whisper 300 style "${RENDER[@]}" --set labels=whisper --seed 2
if [ -n "$EVENTS" ]; then
    pairs paralinguistic 4000 paralinguistic --corpus "$EVENTS" --min-margin 4
else
    pairs paralinguistic 2800 paralinguistic --set method=render
fi
pairs masked_speed 700 masked --set inner=speed --set "inner_options=exact=0;draw=1"
pairs masked_denoise 400 masked --set inner=denoise --set "inner_options=degradations=noise;draw=1;snr=0:10"
INSIDE="inner_options=mode=render;unlabelled=neutral;directions=to"
pairs masked_emotion 900 masked --set inner=emotion --set "$INSIDE" --seed 1
pairs masked_style 900 masked --set inner=style --set "$INSIDE" --seed 2
pairs clone 9000 clone --set max_seconds=12 --min-margin 4
CLONES='{ path = "pairs/clone" }' CLONED='"pairs/clone"'
if [ -n "$SENTENCES" ]; then
    LABEL=sentences FILE=sentences stage synthesise --set sentences="$SENTENCES"
    SAID=("${SPEECH[@]}") SPEECH=(--corpus corpora/sentences/manifest.jsonl)
    pairs clone_sentences 18000 clone --set max_seconds=6.5 --min-margin 4
    SPEECH=("${SAID[@]}") CLONES+=', { path = "pairs/clone_sentences" }' CLONED+=', "pairs/clone_sentences"'
fi
# A word said as another one of the recording, and the recording: as what it is put right to, in its voice.
pairs replace 1500 replace

# The decoder: codes to mels, mels to sound.
stage mel-data
trained mel mel
stage mel-export
trained vocoder vocoder
stage vocoder-export

# The language model, and what goes with it.
stage llm-base
trained sft llm
# What says texts, and puts sounds in: clones and sounds ask these weights.
SOUNDS='{ path = "pairs/paralinguistic", share = 1.5, insertions_only = true }'
FILE=spoken trained sft spoken --set data="[$CLONES, $SOUNDS]"
stage replay
trained reader reader
# What clones are decoded by: the decoder goes on with what their language model draws.
LABEL=assemble-first stage assemble --set out=engine-first --set "decoder_weights={}" \
    --set 'edit_weights={ spoken = "spoken/model" }'
LABEL=mel-data-clone FILE=mel-data-clone stage mel-data --set pairs="[$CLONED]"
stage drawn-codes --set pairs="[$CLONED]"
FILE=mel-clone trained mel mel-clone
LABEL=mel-export-clone FILE=mel-export-clone stage mel-export
# What puts sounds in learns from what the plugin's ear hears of its draws; clones ask these weights, too.
FILE=rl/grpo-sounds trained grpo grpo-sounds
stage assemble
