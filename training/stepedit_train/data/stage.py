"""The data stage: decode, label and measure corpora once, block by block, resumable."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from safetensors import safe_open

from stepedit_core.atomic import append_line, write_atomically
from stepedit_core.errors import AudioError, StepeditError, counted
from stepedit_core.models.tokenizer.preprocess import limit_peak, preprocess_timed
from stepedit_train.data.cache import (
    AUDIO_RATE,
    PHONES,
    SPEECH_RATE,
    Array,
    Cache,
    CachedItem,
    block_path,
    write_block,
)
from stepedit_train.data.select import CorpusSettings, Selected, refusal, select_items
from stepedit_train.seeds import rng_of
from stepedit_train.settings import Settings, resolve_path

__all__ = ["DataSettings", "choose", "make_cache"]

Layer = Literal["audio", "phones", "prosody", "codes", "speaker"]
PLAN = "plan.json"


class DataSettings(Settings):
    """Settings of the data stage."""

    out: Path
    """Folder of the cache."""
    corpora: tuple[CorpusSettings, ...]
    """Corpora of the recordings."""
    corpora_folder: Path = Path()
    """Folder that the paths of the corpora start from."""
    layers: tuple[Layer, ...] = ("audio", "phones", "prosody")
    """Layers to make; those that a block has already are left alone."""
    tokenizer: Path | None = None
    """Step-Audio-Tokenizer folder, for the layer of codes."""
    block_size: int = Field(default=64, ge=1)
    """Recordings in a block."""
    dev_share: float = Field(default=0.05, ge=0, lt=1)
    """Part of the training speakers kept for validation."""
    max_seconds: float = Field(default=20.0, gt=0)
    """Longer recordings are left out."""
    min_seconds: float = Field(default=0.4, gt=0)
    """Shorter recordings are left out."""
    phone_languages: tuple[str, ...] = ("en", "ko")
    """Languages that the phone recogniser was made for; others get no phone labels."""
    seed: int = Field(default=0, ge=0)
    """Seed of the order of the recordings, so that every block is a sample of all corpora."""
    allow_non_commercial: bool = False
    """Also take recordings whose licence forbids commercial use; never for weights that ship."""


def make_cache(settings: DataSettings) -> Iterator[str]:
    """Make all layers of all blocks that are not there yet; yield lines that say what was done.

    Raises:
        StepeditError: if a corpus cannot be read, or the folder holds another cache.
    """
    out = resolve_path(settings, settings.out)
    chosen, refused = choose(settings)
    for reason, count in sorted(refused.items()):
        yield f"left out {count}: {reason}"
    _check_plan(out, chosen, settings)
    blocks = -(-len(chosen) // settings.block_size)
    for layer in settings.layers:
        make = _maker(layer, out, settings)
        begun = time.monotonic()
        made = 0
        for number in range(blocks):
            path = block_path(out, number, layer)
            if not path.is_file():
                part = chosen[number * settings.block_size : (number + 1) * settings.block_size]
                make(out, number, part, settings)
                made += 1
        if layer == "phones" and not (out / PHONES).is_file():
            _name_phones(out)
        yield f"{layer}: {made} of {blocks} blocks made in {time.monotonic() - begun:.0f} s"
    yield _summary(out)


def _maker(
    layer: Layer, out: Path, settings: DataSettings
) -> Callable[[Path, int, list[Selected], DataSettings], None]:
    """Return the function that makes a layer of a block."""
    if layer == "codes":
        return _codes(out, settings)
    makers = {"audio": _audio, "phones": _phones, "prosody": _prosody, "speaker": _speaker}
    return makers[layer]


def choose(settings: DataSettings) -> tuple[list[Selected], Counter[str]]:
    """Return the recordings to cache in a seeded order, and what was refused."""
    chosen: list[Selected] = []
    refused: Counter[str] = Counter()
    for corpus in settings.corpora:
        path = resolve_path(settings, settings.corpora_folder / corpus.path.expanduser())
        for selected in select_items(corpus, path, settings.dev_share):
            reason = refusal(selected.item, allow_non_commercial=settings.allow_non_commercial)
            if reason:
                refused[reason] += 1
            else:
                chosen.append(selected)
    if not chosen:
        raise StepeditError("no recording was selected; look at corpora and their include")
    order = rng_of(settings.seed, "cache").permutation(len(chosen))
    return [chosen[index] for index in order], refused


def _check_plan(out: Path, chosen: list[Selected], settings: DataSettings) -> None:
    """Refuse to go on with other recordings than the cache was begun with."""
    names = [f"{one.item.corpus}/{one.item.id}" for one in chosen]
    plan = json.dumps({"block_size": settings.block_size, "items": names}, ensure_ascii=False)
    path = out / PLAN
    if path.is_file() and path.read_text(encoding="utf-8") != plan:
        raise StepeditError(
            f"{out}: was made from other recordings or with another block_size; choose another out"
        )
    write_atomically(path, plan)


def _pcm(samples: Array) -> Array:
    return np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)


def _audio(out: Path, number: int, part: list[Selected], settings: DataSettings) -> None:
    """Decode the recordings of a block; those that cannot be used are noted and left out."""
    tensors: dict[str, Array] = {}
    items: list[CachedItem] = []
    for selected in part:
        try:
            made = _decode(selected, settings)
        except AudioError as error:
            _note(out, f"{error}")
            continue
        item, speech, audio = made
        tensors[f"{len(items)}.speech"] = _pcm(speech)
        tensors[f"{len(items)}.audio"] = _pcm(audio)
        items.append(item)
    write_block(block_path(out, number, "audio"), tensors, items)


def _note(out: Path, line: str) -> None:
    append_line(out / "rejected.txt", " ".join(line.split()))


def _decode(selected: Selected, settings: DataSettings) -> tuple[CachedItem, Array, Array]:
    """Return a recording's facts, the tokenizers' signal and the 24 kHz audio.

    Raises:
        AudioError: if it cannot be read or its length is outside the limits.
    """
    item = selected.item
    utterance = item.read()
    if not settings.min_seconds <= utterance.seconds <= settings.max_seconds:
        raise AudioError(f"{item.path}: {utterance.seconds:.2f} s is outside the limits")
    samples = limit_peak(utterance.samples)
    speech, start = preprocess_timed(samples, utterance.sample_rate)
    audio = utterance.resample(AUDIO_RATE).samples
    facts = CachedItem(
        id=f"{item.corpus}/{item.id}",
        corpus=item.corpus,
        speaker=item.speaker or item.id,
        language=item.language,
        split=selected.split,
        transcript=item.transcript,
        phonemes=selected.phonemes,
        licence=item.licence or "",
        source_rate=utterance.sample_rate,
        start=start,
        speech_seconds=len(speech) / SPEECH_RATE,
        audio_seconds=len(audio) / AUDIO_RATE,
    )
    return facts, speech, audio


def _signals(out: Path, number: int) -> Iterator[tuple[int, CachedItem, Array]]:
    """Yield row, facts and the tokenizers' signal of a block's recordings."""
    with safe_open(block_path(out, number, "audio"), framework="numpy") as file:
        for row, facts in enumerate(json.loads(file.metadata()["items"])):
            speech = file.get_tensor(f"{row}.speech").astype(np.float32) / np.float32(32_767)
            yield row, CachedItem(**facts), speech


def _phones(out: Path, number: int, part: list[Selected], settings: DataSettings) -> None:
    """Label a block with the phone recogniser, where it knows the language."""
    from stepedit_train.data.phones import recognise_phones

    tensors: dict[str, Array] = {}
    for row, item, speech in _signals(out, number):
        is_known = (item.language or "").split("-")[0] in settings.phone_languages
        spikes = recognise_phones(speech) if is_known else np.zeros((0, 2), np.int32)
        tensors[f"{row}.spikes"] = spikes
    write_block(block_path(out, number, "phones"), tensors)


def _name_phones(out: Path) -> None:
    """Write the names of the labels, so that training needs no recogniser."""
    from stepedit_train.data.phones import phone_names

    names = json.dumps(phone_names(), ensure_ascii=False)
    write_atomically(out / PHONES, names)


def _prosody(out: Path, number: int, part: list[Selected], settings: DataSettings) -> None:
    """Measure a block's pitch and energy."""
    from stepedit_train.data.prosody import measure_prosody

    tensors: dict[str, Array] = {}
    for row, _, speech in _signals(out, number):
        tensors[f"{row}.prosody"] = measure_prosody(speech)
    write_block(block_path(out, number, "prosody"), tensors)


def _recordings(out: Path, number: int) -> list[tuple[Array, int]]:
    """Return the 24 kHz audio of a block's recordings."""
    with safe_open(block_path(out, number, "audio"), framework="numpy") as file:
        count = len(json.loads(file.metadata()["items"]))
        stored = [file.get_tensor(f"{row}.audio") for row in range(count)]
    return [(audio.astype(np.float32) / np.float32(32_767), AUDIO_RATE) for audio in stored]


def _codes(
    out: Path, settings: DataSettings
) -> Callable[[Path, int, list[Selected], DataSettings], None]:
    """Return the function that encodes a block, with the tokenizer loaded once."""
    from stepedit_train.data.codes import CodeMaker

    if settings.tokenizer is None:
        raise StepeditError("the layer of codes needs a tokenizer; set tokenizer")
    maker = CodeMaker(out, resolve_path(settings, settings.tokenizer))

    def make(out: Path, number: int, part: list[Selected], settings: DataSettings) -> None:
        recordings = _recordings(out, number)
        write_block(block_path(out, number, "codes"), maker.encode(recordings))

    return make


def _speaker(out: Path, number: int, part: list[Selected], settings: DataSettings) -> None:
    """Describe the voices of a block by vectors."""
    from stepedit_train.data.voices import embed_voices

    vectors = embed_voices(_recordings(out, number)).astype(np.float16)
    tensors = {f"{row}.speaker": vector for row, vector in enumerate(vectors)}
    write_block(block_path(out, number, "speaker"), tensors)


def _summary(out: Path) -> str:
    """Return the numbers of recordings, speakers and hours of each split."""
    cache = Cache(out, splits=("train", "dev", "test"))
    parts = []
    for split in ("train", "dev", "test"):
        items = [item for item in cache.items if item.split == split]
        hours = sum(item.audio_seconds for item in items) / 3600
        speakers: Mapping[str, int] = Counter(item.speaker for item in items)
        parts.append(
            f"{split} {counted(len(items), 'recording')}, "
            f"{counted(len(speakers), 'speaker')}, {hours:.2f} h"
        )
    return "; ".join(parts)
