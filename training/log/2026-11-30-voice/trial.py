"""Measure ways to another voice on pairs of training speakers, one row for each.

python trial.py SPEECH KOKORO OUT VARIANT ...
python trial.py SUITE - OUT VARIANT ...

SPEECH has manifest.csv and the LibriSpeech texts, KOKORO manifest.jsonl. OUT gets pairs.json and
rows.jsonl; what is there is not made again. VARIANT: ``once`` (pitch looked for once, as before),
``twice`` (now), ``share:0.45`` (the same by another share), ``dsp``, ``equalised``, ``vector``,
``blend``, ``in_reference``; ``VARIANT+words`` hears the words as well, by Whisper base,
``VARIANT+tiny`` by tiny.en. SUITE has cases.jsonl of ``bench cross``, whose pairs are measured in
place of drawn ones.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import istft, stft
from stepedit_bench.measuring import MeasureConfig, StandardMeasures
from stepedit_voice import conversion, spectra
from stepedit_voice import measured as measuring
from stepedit_voice.measured import RATE, Measured, measured, measured_target

from stepedit_core import Utterance
from stepedit_core.dsp.phones import phone_likelihood
from stepedit_core.dsp.world import F0_CEIL, F0_FLOOR, STEP, synthesise
from stepedit_core.engine import DecodeRequest
from stepedit_core.llm_route.level import levelled
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.models.engine import Engine

Array = npt.NDArray[np.float64]
Row = dict[str, Any]
SHARE, STRONG = 0.3, 0.55
WINDOW, MOST = 1024, 3.5
LEAST = 30


def drawn_pairs(speech: Path, kokoro: Path) -> Iterator[tuple[Row, Row]]:
    """Yield 32 pairs of training speakers: what is said, and a recording of the voice."""
    rng = np.random.default_rng(7)
    folder = speech / "free/librispeech_reference_text"
    with (folder / "reference_text.csv").open() as table:
        texts = {row["path"]: row["reference_text"] for row in csv.DictReader(table)}
    with (speech / "manifest.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["suggested_split"] == "train"]
    sets = ("librispeech_train-clean-100_bulk", "librispeech_train-clean-100")
    libri = [row for row in rows if row["set"] in sets and row["path"] in texts]
    said = [row for row in libri if 3 <= float(row["seconds"]) <= 8]
    heard = [row for row in libri if 4 <= float(row["seconds"]) <= 16]
    vctk = [row for row in rows if row["set"] == "vctk_parallel"]
    made = [json.loads(line) for line in (kokoro / "manifest.jsonl").read_text().splitlines()]
    made = [row for row in made if row["suggested_split"] == "train"]
    made = [row for row in made if row["language"].startswith("en")]
    for some in (said, heard, vctk, made):
        rng.shuffle(some)  # type: ignore[arg-type]
    said.sort(key=lambda row: float(row["seconds"]) > 6.2)

    def of(folder: Path, row: Row) -> Row:
        path, text = str(folder / row["path"]), texts.get(row["path"], row["text"])
        return {"path": path, "text": text, "speaker": row["speaker"]}

    seen: dict[str, Row] = {}
    for row in said:
        seen.setdefault(row["speaker"], of(speech, row))
    sources, voices = list(seen.values()), {}
    for row in heard:
        if row["speaker"] not in seen:
            voices.setdefault(row["speaker"], of(speech, row))
    targets = list(voices.values())
    studio: dict[str, list[Row]] = {}
    for row in vctk:
        studio.setdefault(row["speaker"], []).append(of(speech, row))
    names = list(studio)
    synthetic: dict[str, Row] = {}
    for row in made:
        if 3 <= row["seconds"] <= 6.5:
            synthetic.setdefault(row["speaker"], of(kokoro, row))
    others = list(synthetic.values())
    for at in range(17):
        takes = studio[names[at % len(names)]]
        yield sources[at], takes[at // len(names) % len(takes)]
    for at in range(5):
        yield sources[17 + at], targets[at]
    for at in range(3):
        shortest = min(studio[names[at]], key=lambda one: Utterance.read(one["path"]).seconds)
        yield shortest, targets[5 + at]
    for at in range(4):
        yield sources[22 + at], others[at]
    for at in range(3):
        yield others[4 + at], targets[8 + at]


def pairs_of(suite: Path) -> Iterator[tuple[Row, Row]]:
    """Yield the pairs of a suite's cases."""
    for line in (suite / "cases.jsonl").read_text().splitlines():
        case = json.loads(line)
        said = {
            "path": case["audio"],
            "text": case["transcript"],
            "speaker": case["meta"]["speaker"],
        }
        yield said, {"path": case["edit"]["reference"], "text": "", "speaker": ""}


def read(row: Row) -> Utterance:
    """Read a recording with its words."""
    return Utterance.read(row["path"]).replace(transcript=row["text"], language="en")


def long_term(logs: Array) -> Array:
    """Return the log amplitude of the mean power of frames, ``(bins,)``."""
    return np.asarray(0.5 * np.log(np.mean(np.exp(2 * logs), axis=0)))


def equalising(own: Measured, logs: Array, target: Measured) -> Array:
    """Return what gives frames the target's long-term spectrum, voiced and not apart."""
    gains = []
    for voiced in (True, False):
        mine = own.spoken & (own.voiced == voiced)
        theirs = target.spoken & (target.voiced == voiced)
        if min(mine.sum(), theirs.sum()) <= LEAST:
            gains.append(gains[0] if gains else np.zeros(logs.shape[1]))
            continue
        gap = long_term(target.logs[theirs]) - long_term(logs[mine])
        gain = gaussian_filter1d(gap, 150 / (RATE / 2 / (logs.shape[1] - 1)))
        louder = np.mean(np.exp(2 * (logs[mine] + gain))) / np.mean(np.exp(2 * logs[mine]))
        gains.append(gain - 0.5 * np.log(louder))
    share = gaussian_filter1d(own.voiced.astype(float), 3)[:, None]
    return np.asarray(share * gains[0] + (1 - share) * gains[1])


def filtered(utterance: Utterance, change: Array) -> Utterance:
    """Return samples whose amplitudes change by logs for frames of 5 ms, ``(frames, bins)``."""
    samples = utterance.resample(RATE).samples.astype(np.float64)
    kept = {"fs": RATE, "nperseg": WINDOW, "noverlap": WINDOW - round(STEP * RATE)}
    spectrum = stft(samples, **kept)[2]
    every = (change.shape[1] - 1) // (WINDOW // 2)
    rows = np.minimum(np.arange(spectrum.shape[1]), len(change) - 1)
    gain = np.exp(np.clip(change[rows, ::every], -MOST, MOST)).T
    made = istft(spectrum * gain, **kept)[1][: len(samples)]
    made = np.pad(made, (0, len(samples) - len(made)))
    return Utterance(made.astype(np.float32), RATE)


def blended(source: Utterance, one: Utterance, other: Utterance) -> Utterance:
    """Return the mean envelope of two conversions, at the pitch of the first."""
    first, second = measured(one), measured(other)
    count = min(len(first.logs), len(second.logs))
    logs = first.logs.copy()
    logs[:count] = (first.logs[:count] + second.logs[:count]) / 2
    made = synthesise(replace(first.speech, envelope=np.exp(2 * logs)))
    return conversion._levelled(source, Utterance(made.astype(np.float32), RATE))


class Ways:
    """The ways, by name, over one engine."""

    def __init__(self) -> None:
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """The embedded model, loaded once."""
        if self._engine is None:
            self._engine = Engine.load("embedded")
        return self._engine

    def decoded(
        self, source: Utterance, voice: Utterance, shown: Utterance, beyond: float = 0.0
    ) -> Utterance:
        """Decode the source's codes as the route does; ``beyond`` moves the speaker vector on."""
        engine = self.engine
        (codes,) = engine.encode([source])
        request = DecodeRequest(codes, shown, 0, SourceMap.identity(codes), None, voice)
        (item,) = engine._references.inputs([request])
        if beyond:
            theirs, own = (engine._references.voice(one) for one in (voice, source))
            vector = theirs + beyond * (theirs - own)
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            item = replace(item, reference=replace(item.reference, embedding=vector))
        wave = engine.parts.decoder.decode_batch([item])[0]
        audio = Utterance(wave, engine.sample_rate)
        audio, _ = fit_to_source_timing(audio, codes.start, source.seconds)
        return levelled(source, audio, (0.0, 0.0), engine._references.gain(request))[0]

    def made(self, name: str, source: Utterance, voice: Utterance) -> Utterance:
        """Return the source in the voice, by a way."""
        moved = partial(conversion.convert, source, voice)
        if name == "once":
            bounds = measuring._pitch_bounds
            measuring._pitch_bounds = lambda samples: (F0_FLOOR, F0_CEIL)
            measured_target.cache_clear()
            try:
                return self.decoded(source, voice, moved(SHARE)[0])
            finally:
                measuring._pitch_bounds = bounds
                measured_target.cache_clear()
        if name == "dsp":
            return moved(STRONG)[0]
        if name == "in_reference":
            plain = spectra.towards_voice

            def towards(own: Measured, target: Measured, tract: float, share: float) -> Array:
                logs = plain(own, target, tract, share)
                logs = logs + equalising(own, logs, target)
                return np.asarray(logs + (spectra._level(own.logs) - spectra._level(logs))[:, None])

            conversion.towards_voice = towards
            try:
                return self.decoded(source, voice, moved(SHARE)[0])
            finally:
                conversion.towards_voice = plain
        if name.startswith("share:"):
            return self.decoded(source, voice, moved(float(name.partition(":")[2]))[0])
        if name == "vector":
            return self.decoded(source, voice, moved(SHARE)[0], 1.0)
        made = self.decoded(source, voice, moved(SHARE)[0])
        if name == "equalised":
            own = measured(made)
            change = equalising(own, own.logs, measured_target(voice))
            return conversion._levelled(source, filtered(made, change))
        return blended(source, moved(STRONG)[0], made) if name == "blend" else made


def measure(
    source: Utterance, voice: Utterance, made: Utterance, measures: StandardMeasures, words: bool
) -> Row:
    """Return likeness, phones and words of an output."""
    text = str(source.transcript)
    made = made.replace(transcript=text, language="en")
    row: Row = {
        "near": float(measures.speaker_similarity(voice, made)),
        "far": float(measures.speaker_similarity(source, made)),
        "phones": float(phone_likelihood(made, text)),
    }
    if words:
        before, after = (measures.word_error(text, one) for one in (source, made))
        row |= {"added": after - before, "words": len(text.split())}
    return row


def means(rows: list[Row]) -> dict[str, float]:
    """Return the mean of each figure."""
    keys = [key for key in rows[0] if key not in ("variant", "pair")]
    return {key: float(np.mean([row[key] for row in rows])) for key in keys}


def run(speech: Path, kokoro: Path, out: Path, variants: list[str]) -> None:
    """Measure the variants that are asked for, and say their means."""
    out.mkdir(parents=True, exist_ok=True)
    known, rows = out / "pairs.json", out / "rows.jsonl"
    if not known.is_file():
        drawn = drawn_pairs(speech, kokoro) if kokoro.is_dir() else pairs_of(speech)
        known.write_text(json.dumps(list(drawn), indent=1))
    asr = "tiny.en" if any(one.endswith("+tiny") for one in variants) else "whisper"
    ways = Ways()
    measures = StandardMeasures(MeasureConfig(asr=asr, dnsmos="one"), folder=out / "kept")
    rows.touch()
    done = {
        (row["variant"], row["pair"]): row for row in map(json.loads, rows.read_text().splitlines())
    }
    for at, (said, heard) in enumerate(json.loads(known.read_text())):
        source, voice = read(said), read(heard)
        for variant in variants:
            if (variant, at) in done:
                continue
            name, _, words = variant.partition("+")
            row = measure(source, voice, ways.made(name, source, voice), measures, bool(words))
            done[variant, at] = {"variant": variant, "pair": at, **row}
            with rows.open("a") as kept:
                kept.write(json.dumps(done[variant, at]) + "\n")
    for variant in variants:
        mine = [row for (name, _), row in done.items() if name == variant]
        said_of = means(mine)
        nearer = sum(row["near"] > row["far"] for row in mine)
        margin = said_of["near"] - said_of["far"]
        print(variant, f"nearer {nearer} of {len(mine)}, margin {margin:+.3f}")
        print(*(f"  {key} {value:+.3f}" for key, value in said_of.items()))


if __name__ == "__main__":
    run(*(Path(one) for one in sys.argv[1:4]), sys.argv[4:])
