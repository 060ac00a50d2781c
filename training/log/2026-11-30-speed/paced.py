"""Hear what becomes of the words at another pace, by who makes the codes and what is shown.

python paced.py MANIFEST MODEL OUT REQUESTS DRAWS
python paced.py OUT

A request is a recording of a manifest, or neighbours of one speaker joined to about 7 s, and one
of the four rates in turn. OUT is a folder: measurements are kept there by the content of the sound,
and what was heard in ``heard.jsonl``. Written for each sound: word errors by Whisper base and
PocketSphinx (above 1 counts as 1), the phone error by hama, likeness to the source's voice, and
how likely hama finds the words' phones, by which a draw could be chosen. With QUICK=1 Whisper and
likeness are left out.

Sounds: the source, coded and decoded at its own pace (identity), stretched by signal processing
(dsp). Then codes decoded with the source as the reference, or with the stretched recording
(+shown): those of the stretched recording (ideal), and the language model's answers (llm), of which
the further draws are decoded from the source where they are faster, and from the stretched
recording where they are slower. The second form prints the means.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt
from stepedit_bench.measuring.standard import StandardMeasures
from stepedit_speed import Speed
from stepedit_speed.edit import Rate

from stepedit_core import Chain, DualCodes, EngineConfig, Utterance
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.dsp.phones import (
    borders_as_blanks,
    log_likelihoods,
    phone_posteriors,
    phone_signs,
    spelled_phones,
)
from stepedit_core.dsp.words import split_words, word_error
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.llm_route.choosing import draw_seeds
from stepedit_core.llm_route.level import levelled
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.models.engine import Engine
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader

EARS = ("Whisper base", "PocketSphinx", "phones", "likeness", "hama")
RATES: tuple[Rate, ...] = ("faster", "slower", "more_faster", "more_slower")
LONG, LONGEST, PAUSE = 6.0, 10.0, 0.3
IDEAL_FROM_SOURCE = os.environ.get("IDEAL") == "1"
QUICK = os.environ.get("QUICK") == "1"


def joined(items: list[CorpusItem]) -> Utterance:
    """Return recordings of one speaker one after the other, with a short pause between them."""
    first, *others = [one.read() for one in items]
    samples = [first.samples]
    for one in others:
        silence = np.zeros(round(PAUSE * first.sample_rate), np.float32)
        samples += [silence, one.resample(first.sample_rate).samples]
    text = " ".join((one.transcript or "").strip() for one in items)
    return first.replace(samples=np.concatenate(samples), transcript=text, language="en")


def requests(manifest: Path) -> Iterator[tuple[str, Utterance, Speed]]:
    """Yield short and longer recordings by turns, speakers in a random order that is the same."""
    by_speaker: dict[str, list[CorpusItem]] = {}
    for one in find_reader(manifest, None).items(manifest):
        if one.transcript:
            by_speaker.setdefault(one.speaker or one.id, []).append(one)
    rng = np.random.default_rng(16)
    for items in by_speaker.values():
        rng.shuffle(items)
    turn = 0
    speakers = sorted(by_speaker)
    # Of the five Kokoro voices and mixtures more is left when the others are used up.
    while any(by_speaker.values()):
        rng.shuffle(speakers)
        for name in speakers:
            taken: list[CorpusItem] = []
            while by_speaker[name]:
                seconds = sum(one.read().seconds + PAUSE for one in taken)
                more = by_speaker[name][-1].read().seconds
                if taken and (turn % 2 == 0 or seconds >= LONG or seconds + more > LONGEST):
                    break
                taken.append(by_speaker[name].pop())
            if not taken or (turn % 2 and len(taken) == 1):
                continue
            rate = RATES[turn // 2 % len(RATES)]
            yield "+".join(one.id for one in taken), joined(taken), Speed(rate=rate)
            turn += 1


class Maker:
    """Makes the sounds of one request."""

    def __init__(self, engine: Engine, source: Utterance, edit: Speed, draws: int) -> None:
        """Encode source and stretched recording, and ask for answers."""
        self.engine, self.source, self.edit = engine, source, edit
        self.dsp = Chain([edit])(source, seed=1, route="dsp").utterance
        self.own, self.stretched = engine.encode([source, self.dsp])
        plan = edit.plan(source)
        asked = [
            request_for(edit, source, self.own, seed, plan=plan) for seed in draw_seeds(1, draws)
        ]
        self.request = asked[0]
        answers = [engine.generate([one])[0] for one in asked]
        self.answers = {f"llm{at}": one for at, one in enumerate(answers)}

    def sounds(self) -> Iterator[tuple[str, Utterance]]:
        """Yield each sound with its name."""
        source, dsp = self.source, self.dsp
        yield "source", source
        yield "identity", self._spoken(self._itself(source, self.own), source)
        yield "dsp", dsp
        start = self.own.start * self.request.length_ratio
        ideal = self._itself(dsp, self.stretched)
        known = replace(SourceMap.identity(self.stretched), condition="speed")
        told = replace(ideal, source_map=known)
        yield "ideal+shown", self._spoken(told, dsp)
        if IDEAL_FROM_SOURCE:
            offset = self.stretched.start / self.request.length_ratio - self.own.start
            places = self.request.source_map(self.stretched.groups, offset / GROUP_SECONDS)
            yield "ideal", self._spoken(DecodeRequest(self.stretched, source, 1, places), dsp)
        slower = self.request.length_ratio > 1
        for name, codes in self.answers.items():
            if name == "llm0" or not slower:
                yield name, self._spoken(_from_source(self.request, codes), dsp, start)
            if slower:
                yield f"{name}+shown", self._spoken(self._shown(codes, start), dsp, start)
        if not slower:
            yield "llm0 then dsp", self._spoken_then_stretched(self.answers["llm0"])

    def _spoken_then_stretched(self, codes: DualCodes) -> Utterance:
        """Return an answer that is spoken at the source's pace, and then stretched."""
        places = replace(SourceMap.identity(self.own), condition="speed")
        spread = codes.at_length(self.own.groups)
        how = DecodeRequest(spread, self.source, 1, places)
        spoken = self._spoken(how, self.source, self.own.start)
        return Chain([self.edit])(spoken, seed=1, route="dsp").utterance

    def off(self, codes: DualCodes) -> list[float]:
        """Return how far codes are from those of the stretched recording.

        Mean difference in steps of the semantic quantiser, and the share of other codes of both
        codebooks; codes are compared with the nearest in time, moved by the best of 40 ms steps.
        """
        late = (self.own.start * self.request.length_ratio - self.stretched.start) / 0.04
        wanted, said = _steps(self.stretched.semantic), _steps(codes.semantic)
        near = (np.arange(len(said)) + late).round().astype(int).clip(0, len(wanted) - 1)
        steps = np.abs(wanted[near] - said).sum(1).mean()
        other = np.mean(self.stretched.semantic[near] != codes.semantic)
        near = (np.arange(len(codes.linguistic)) + late * 2 / 3).round().astype(int)
        near = near.clip(0, len(self.stretched.linguistic) - 1)
        spoken = np.mean(self.stretched.linguistic[near] != codes.linguistic)
        return [float(steps), float(other), float(spoken)]

    def _itself(self, sound: Utterance, codes: DualCodes) -> DecodeRequest:
        return DecodeRequest(codes, sound, 1, SourceMap.identity(codes))

    def _shown(self, codes: DualCodes, start: float) -> DecodeRequest:
        """Return how an answer is decoded with the stretched recording as its reference."""
        places = SourceMap.identity(codes)
        places = replace(places, condition="speed", start=start)
        return DecodeRequest(codes, self.dsp, 1, places)

    def _spoken(self, how: DecodeRequest, like: Utterance, start: float | None = None) -> Utterance:
        ((audio, latent),) = self.engine.decode_keeping([how])
        begin = how.codes.start if start is None else start
        audio, _ = fit_to_source_timing(audio, begin, like.seconds)
        return levelled(like, audio, (0.0, 0.0), latent.gain)[0]


def _steps(semantic: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the four levels of each semantic code, int64 ``(codes, 4)``."""
    return semantic[:, None] // 8 ** np.arange(4) % 8


def _from_source(request: GenerateRequest, codes: DualCodes) -> DecodeRequest:
    """Return how an answer is decoded with its source as the reference: what ships so far."""
    places = request.source_map(codes.groups)
    return DecodeRequest(codes, request.utterance, 1, places)


def hear(measures: StandardMeasures, made: Utterance, text: str, voice: Utterance) -> list[float]:
    """Return what is heard, in the order of `EARS`."""
    said = made.replace(language="en", transcript=None)
    heard = [measures.second_text(said)]
    if not QUICK:
        heard.insert(0, measures.transcribe(said))
    errors = [min(1.0, word_error(text, one)) for one in heard]
    likeness = np.nan if QUICK else measures.speaker_similarity(voice, made)
    phones, likely = heard_phones(said, text)
    return [*([np.nan] if QUICK else []), *errors, min(1.0, phones), likeness, likely]


def heard_phones(utterance: Utterance, text: str) -> tuple[float, float]:
    """Return the share of phones that hama hears otherwise, and how likely it finds the text's."""
    signs, blank = phone_signs()
    wanted = [signs[one] for word in split_words(text) for one in spelled_phones(word.text)]
    posteriors = phone_posteriors(utterance)
    best = posteriors.argmax(1).tolist()
    kept = [a for a, b in zip(best, [blank, *best[:-1]], strict=True) if a not in (b, blank)]
    said = [signs[one] for one in kept if signs[one] not in (" ", "|", "<wb>")]
    found = jiwer.process_words(" ".join(wanted), " ".join(said))
    errors = (found.substitutions + found.deletions + found.insertions) / max(1, len(wanted))
    scores, names = borders_as_blanks(posteriors)
    reading = [names.index(one) for one in wanted]
    return errors, float(log_likelihoods(scores, [reading])[0]) / max(1, len(wanted))


def main(manifest: str, model: str, out: str, most: int, draws: int) -> None:
    """Make, hear and write; go on where an earlier run stopped."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    measures, place = StandardMeasures(folder=folder), folder / "heard.jsonl"
    done = {row["name"] for row in _read(place)} if place.exists() else set()
    with place.open("a", encoding="utf-8") as file:
        for _, (name, source, edit) in zip(range(most), requests(Path(manifest)), strict=False):
            if name in done:
                continue
            maker, text = Maker(engine, source, edit, draws), source.transcript or ""
            line: dict[str, Any] = {
                "name": name,
                "seconds": source.seconds,
                "rate": edit.rate,
                "words": len(text.split()),
                "groups": {kind: one.groups for kind, one in maker.answers.items()},
                "off": {kind: maker.off(one) for kind, one in maker.answers.items()},
                "read": {kind: engine.reading(one, text) for kind, one in maker.answers.items()},
                "sounds": {kind: hear(measures, one, text, source) for kind, one in maker.sounds()},
            }
            file.write(json.dumps(line) + "\n")
            file.flush()


def report(out: str) -> None:
    """Print the mean of each sound by each ear; of draws the mean, and those that are chosen."""
    rows = _read(Path(out) / "heard.jsonl")
    for what, own in (
        ("all", rows),
        ("faster", [row for row in rows if "faster" in row["rate"]]),
        ("slower", [row for row in rows if "slower" in row["rate"]]),
    ):
        words = sum(row["words"] for row in own)
        print(f"{what}: {len(own)} requests, {words} words")
        found: dict[str, list[tuple[int, list[float]]]] = {}
        for row in own:
            for name, values in _picked(row).items():
                found.setdefault(name, []).append((row["words"], values))
        for name, heard in found.items():
            if len(heard) < len(own):
                continue
            means = np.average([one for _, one in heard], axis=0, weights=[n for n, _ in heard])
            told = "  ".join(f"{ear} {value:6.3f}" for ear, value in zip(EARS, means, strict=True))
            print(f"  {name:24} {told}")


def _picked(row: dict[str, Any]) -> dict[str, list[float]]:
    """Return what is heard of each sound, and of the draws that each ear would choose."""
    sounds = row["sounds"]
    is_slower = "slower" in row["rate"]
    picked = {name: heard for name, heard in sounds.items() if name[-1] not in "1234567"}
    draws = [heard for name, heard in sounds.items() if _is_draw(name, is_slower)]
    picked["ships"] = draws[0]
    if len(draws) > 1:
        best = np.array(draws)
        picked["any draw"] = best.mean(0).tolist()
        picked["least of draws"] = [*best[:, :3].min(0).tolist(), *best[:, 3:].max(0).tolist()]
        picked["hama's of draws"] = best[best[:, -1].argmax()].tolist()
    return picked


def _is_draw(name: str, is_slower: bool) -> bool:
    """Return whether a sound is a draw of the language model, decoded as it ships."""
    number, _, rest = name.removeprefix("llm").partition("+")
    return name.startswith("llm") and number.isdecimal() and (rest == "shown") == is_slower


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    if len(sys.argv) == 2:
        report(sys.argv[1])
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
