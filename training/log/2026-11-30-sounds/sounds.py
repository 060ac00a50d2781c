"""Put sounds into training speech, as examples for the language model, and decode each.

python sounds.py PIECES.jsonl SPEECH FOLDER [--seed S] [--each N] [--part P] [--parts N]
    [--minutes M] [--split train]

SPEECH is the folder of the corpora's manifest.csv, whose EmoGator recordings of other people's
laughs and sighs go beside the plugin's library. FOLDER gets shards of examples (.npz, for `sft`),
what each is (.jsonl), and its log mels before (t) and after (a) the decoder (.mels.npz).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from asked import WithCodes
from stepedit_paralinguistic import Paralinguistic, recorded
from stepedit_paralinguistic.alignment import align
from stepedit_paralinguistic.ear import log_mels
from stepedit_paralinguistic.events import synthesise
from stepedit_paralinguistic.insertion import Event, put_in
from stepedit_paralinguistic.material import tagged_text, trimmed
from stepedit_paralinguistic.voice import RATE, Voice, analyse
from stepedit_train.lm.rows import Example
from stepedit_train.lm.store import save_examples
from stepedit_train.seeds import rng_of

from stepedit_core import conditioning_label
from stepedit_core.codes import GROUP_SECONDS, GROUP_SIZE, DualCodes, FreeGroups, splice_codes
from stepedit_core.dsp.words import split_words
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.planning import inserted_groups
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.framing import aligned_prompt
from stepedit_core.pairs import CorpusItem
from stepedit_core.plan import Insertion, Plan
from stepedit_core.registry.corpora import find_reader
from stepedit_core.utterance import Span, Utterance

WEIGHTS = {
    "laugh": 1.2, "chuckle": 1.0, "giggle": 1.0, "sigh": 1.2, "breath": 1.0, "inhale": 1.0,
    "exhale": 1.0, "cough": 0.7, "clears throat": 0.4, "uhm": 0.8, "Surprise-oh": 0.4,
    "Surprise-ah": 0.4, "Question-ei": 0.4, "Confirmation-en": 0.4, "Question-ah": 0.1,
    "Question-oh": 0.1, "Surprise-wa": 0.1, "Question-en": 0.1,
}  # fmt: skip
OTHERS = {"laugh": "laughter (mostly)", "sigh": "sigh (mostly)"}
OF_OTHERS, LONGEST, SHARD = 0.4, 1.7, 120
AT_END, IN_PAUSES = 0.12, 0.33
LEAD, TAIL = 0.06, 0.09

Samples = npt.NDArray[np.float64]


class Made(NamedTuple):
    """One sound in a recording."""

    tag: str
    file: str
    span: Span
    target: Utterance
    edit: Paralinguistic
    plan: Plan
    codes: DualCodes
    part: FreeGroups
    example: Example


@cache
def _others(speech: Path, tag: str) -> list[Path]:
    with (speech / "manifest.csv").open(encoding="utf-8") as file:
        return [
            speech / row["path"]
            for row in csv.DictReader(file)
            if row["label"] == OTHERS.get(tag, "-") and row["suggested_split"] == "train"
            and row["set"].startswith("emogator") and 0.3 < float(row["seconds"]) < 1.9
        ]  # fmt: skip


@cache
def _moved(file: str, recipe: Any) -> Samples:
    """Return a clip of the library moved to a voice; voices a semitone apart share it."""
    samples = recorded._samples(file)
    if not recipe.changes():
        return samples
    sound = Utterance(samples.astype(np.float32), RATE)
    moved = recorded.transform(sound, recipe, np.random.default_rng(0))
    return moved.samples.astype(np.float64)


def _sound(tag: str, voice: Voice, rng: np.random.Generator, speech: Path) -> tuple[Samples, str]:
    """Return a sound in a voice at 24 kHz, and where it is from."""
    others = _others(speech, tag) if tag in OTHERS and rng.random() < OF_OTHERS else []
    samples, name = None, ""
    if others:
        path = others[int(rng.integers(len(others)))]
        samples, name = trimmed(Utterance.read(path).resample(RATE)), path.name
        if samples is not None and len(samples) / RATE > LONGEST:
            samples = None
    if samples is None:
        known = recorded.clips(tag)
        if not known:
            return synthesise(tag, voice, rng), "recipe"
        near = dataclasses.replace(voice, f0=2 ** (round(12 * np.log2(voice.f0)) / 12))
        moves = [abs(recorded._semitones(clip, near)) for clip in known]
        least = min(moves) + recorded._NEAR
        fit = [clip for clip, move in zip(known, moves, strict=True) if move <= least]
        clip = fit[int(rng.integers(len(fit)))]
        samples, name = _moved(clip.file, recorded._recipe(clip, near)), clip.file
    samples = recorded._band_limited(samples, voice.highest_hz)
    wanted = voice.level * 10 ** (recorded.LEVELS.get(tag, recorded.LEVEL) / 20)
    return samples * (wanted / recorded.loud_level(samples)), name


def _made(
    source: Utterance,
    each: int,
    rng: np.random.Generator,
    engine: Engine,
    speech: Path,
    item: CorpusItem,
) -> Iterator[Made]:
    """Yield examples of a recording, other sounds at other places."""
    words = split_words(source.transcript or "")
    alignment = align(source, words, source.transcript or "")
    if len(words) < 3 or "[" in (source.transcript or "") or alignment.aligner != "pocketsphinx":
        return
    voice = analyse(source)
    (own,) = engine.encode([source])
    shares = np.array(list(WEIGHTS.values()))
    inner = list(range(1, len(words)))
    paused = [word for word in inner if alignment.gap(word).seconds >= 0.08]
    tags = list(WEIGHTS)
    for at in rng.choice(len(tags), size=each, replace=False, p=shares / shares.sum()):
        drawn = rng.random()
        in_pause = bool(paused) and drawn < AT_END + IN_PAUSES
        word = len(words) if drawn < AT_END else int(rng.choice(paused if in_pause else inner))
        samples, file = _sound(tags[at], voice, rng, speech)
        there = Utterance(samples.astype(np.float32), RATE).resample(source.sample_rate)
        event = Event(tags[at], word, there.samples.astype(np.float64))
        target, (report,) = put_in(source, [event], alignment, rng)
        (codes,) = engine.encode([target])
        seconds = target.seconds - source.seconds
        if abs(codes.start - own.start) > GROUP_SECONDS / 2:
            continue
        part = inserted_groups([Insertion(report["at"], seconds)], own)[0]
        part = dataclasses.replace(part, length=min(part.length, codes.groups - part.start))
        if part.length < 2:
            continue
        full = splice_codes(own, dataclasses.replace(codes, start=0.0), (part,))
        edit = Paralinguistic(text=tagged_text(source.transcript or "", word, tags[at]))
        plan = Plan(
            length_ratio=1 + seconds / source.seconds,
            insertions=(Insertion(report["at"], (part.length - 1) * GROUP_SECONDS),),
            label=conditioning_label("paralinguistic", tags[at]),
            words_after=edit.text,
            rules=("paralinguistic",),
        )
        request = GenerateRequest(edit.prompt(source), own, source, 0, plan, None, (part,))
        prompt = aligned_prompt(request, engine.parts.text, engine.parts.encoding)
        answer = engine.parts.text.audio_ids(full.interleave().tolist())
        ids = [*prompt.ids, *answer, engine.parts.text.eot_id]
        first = len(prompt.ids) + GROUP_SIZE * part.start
        judged = (first, first + GROUP_SIZE * part.length)
        example = Example(
            f"{item.id}/{word}/{tags[at]}", edit.name, item.speaker or item.id, ids,
            len(prompt.ids), prompt.alignment, judged,
        )  # fmt: skip
        span = Span(*report["output_span"])
        yield Made(tags[at], file, span, target, edit, plan, full, part, example)


def _write(place: Path, rows: Sequence[tuple[Example, dict[str, Any], Any, Any]]) -> None:
    save_examples(place.with_suffix(".npz"), [row[0] for row in rows], Counter())
    place.with_suffix(".jsonl").write_text("".join(json.dumps(row[1]) + "\n" for row in rows))
    mels = {f"{kind}{at}": row[place_].astype(np.float16)
            for at, row in enumerate(rows) for kind, place_ in (("t", 2), ("a", 3))}  # fmt: skip
    np.savez_compressed(place.with_suffix(".mels.npz"), **mels)


def main() -> None:
    """Make sounds until the recordings or the minutes are over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pieces", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("folder", type=Path)
    for name, usual in (("seed", 11), ("each", 6), ("part", 0), ("parts", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--split", default="train")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    engine = Engine.load(device="cpu")
    items = [
        one
        for one in find_reader(given.pieces, None).items(given.pieces)
        if one.transcript and one.split == given.split
    ]
    order = rng_of(given.seed, "items").permutation(len(items)).tolist()
    rows: list[tuple[Example, dict[str, Any], Any, Any]] = []
    began, shard = time.monotonic(), 0
    for at in order[given.part :: given.parts]:
        item = items[at]
        if time.monotonic() - began > 60 * given.minutes:
            break
        rng = rng_of(given.seed, "sounds", item.id)
        try:
            source = item.read()
            made = list(_made(source, given.each, rng, engine, given.speech, item))
            given_codes: Any = WithCodes(engine, [one.codes for one in made])
            outcomes = apply_by_llm(
                [one.edit for one in made], [source] * len(made), given_codes,
                list(range(len(made))), plans=[one.plan for one in made],
            )  # fmt: skip
        except StepeditError as error:
            print(f"{item.id}: {error}")
            continue
        level = analyse(source).level
        for one, outcome in zip(made, outcomes, strict=True):
            around = Span(one.span.start - LEAD, one.span.end + TAIL)
            mels = [log_mels(heard, around, level) for heard in (one.target, outcome.utterance)]
            facts = {"tag": one.tag, "file": one.file, "item": item.id, "groups": one.part.length}
            rows.append((one.example, facts, *mels))
        if len(rows) >= SHARD:
            _write(given.folder / f"part-{given.part}-{shard:03d}", rows)
            rows, shard = [], shard + 1
    if rows:
        _write(given.folder / f"part-{given.part}-{shard:03d}", rows)


if __name__ == "__main__":
    main()
