"""Hear what a decoder says of the same codes: recorded ones, and ones that a model drew.

python spoken.py MANIFEST MODEL OUT.jsonl REQUESTS DRAWS
python spoken.py BEFORE.jsonl AFTER.jsonl

A request is a recording as the voice, and the words of another recording of the same speaker. Its
codes are that recording's own ("recorded"); what the language model draws in place of each of them,
what lies before being the recording's ("forced"); and whole answers ("free"). Written for each: the
word error by Whisper base and PocketSphinx (above 1 counts as 1), the phone error by hama, and the
likeness to the voice. The second form compares two runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt
import torch
from stepedit_bench.measuring.standard import StandardMeasures
from stepedit_clone import Clone
from stepedit_train.decoder.drawn import Drawer, DrawnCodesSettings
from stepedit_train.rl.layout import lay_out
from stepedit_train.rl.prompts import Prompt
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules
from stepedit_train.seeds import generator_of

from stepedit_core import Utterance
from stepedit_core.config import EngineConfig
from stepedit_core.dsp.phones import phone_posteriors, phone_signs, spelled_phones
from stepedit_core.dsp.words import split_words, word_error
from stepedit_core.models.engine import Engine
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader

SHORTEST, LONGEST = 1.5, 4.5
EARS = ("Whisper base", "PocketSphinx", "phones", "likeness")


def requests(manifest: Path) -> Iterator[tuple[CorpusItem, CorpusItem]]:
    """Yield voices and what they are to say, in a random order that is always the same."""
    every = find_reader(manifest, None).items(manifest)
    items = [one for one in every if one.transcript and SHORTEST <= one.read().seconds <= LONGEST]
    rng = np.random.default_rng(3)
    for at in rng.permutation(len(items)).tolist():
        voice = items[at]
        others = [
            one
            for one in items
            if one.speaker == voice.speaker and one.transcript != voice.transcript
        ]
        if others:
            yield voice, others[int(rng.integers(len(others)))]


def phone_error(utterance: Utterance, text: str) -> float:
    """Return the phones that hama hears otherwise than the text is spelled, as a share."""
    signs, blank = phone_signs()
    wanted = [one for word in split_words(text) for one in spelled_phones(word.text)]
    best = phone_posteriors(utterance).argmax(1).tolist()
    kept = [a for a, b in zip(best, [blank, *best[:-1]], strict=True) if a not in (b, blank)]
    said = [signs[one] for one in kept if signs[one] not in (" ", "|")]
    found = jiwer.process_words(" ".join(signs[one] for one in wanted), " ".join(said))
    return (found.substitutions + found.deletions + found.insertions) / max(1, len(wanted))


class Listener:
    """Hears by three ears that do not know of each other, and compares voices."""

    def __init__(self) -> None:
        self.measures = StandardMeasures()

    def hear(self, made: Utterance, text: str, voice: Utterance) -> list[float]:
        """Return word errors, phone error and likeness, in the order of `EARS`."""
        said = made.replace(language="en", transcript=None)
        heard = (self.measures.transcribe(said), self.measures.second_text(said))
        errors = [min(1.0, word_error(text, one)) for one in heard]
        likeness = self.measures.speaker_similarity(voice, made)
        return [*errors, min(1.0, phone_error(said, text)), likeness]


def main(manifest: str, model: str, out: str, most: int, draws: int) -> None:
    """Draw, decode, hear and write."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    drawer = Drawer(
        DrawnCodesSettings(model=Path(model), weights=Path("spoken"), pairs=(), out=Path(), draws=1)
    )
    rules = rollout_rules(engine, None, None)
    rollouts = Rollouts(engine, OwnGenerator(engine, drawer.model, 64), rules, 1100, 64)
    listener = Listener()
    with Path(out).open("w", encoding="utf-8") as file, torch.inference_mode():
        for _, (voice, said) in zip(range(most), requests(Path(manifest)), strict=False):
            text, given = said.transcript or "", voice.read()
            prompt = Prompt(
                f"{voice.id}->{said.id}", Clone(text=text), voice.speaker or "", 0, item=voice
            )
            asked = rollouts._ready(prompt)
            request = replace(asked.request, seed=1)
            recorded = replace(engine.encode([said.read()])[0], start=0.0)
            own = drawer.any_length(asked.rules)
            row = lay_out(request, recorded, drawer.vocabulary, own)
            forced = drawer.codes([row], generator_of(0, prompt.name))[0][0]
            (group,) = rollouts.draw([prompt], draws, 0, "spoken", decoded=True)[0]
            codes = [recorded, forced]
            spoken = rollouts.outcomes(prompt, [request] * len(codes), codes)
            sounds = {
                "recorded": [spoken[0].utterance],
                "forced": [spoken[1].utterance],
                "free": [one.audio for one in group.answers if one.audio is not None],
                "source": [said.read()],
            }
            line: dict[str, Any] = {"name": prompt.name, "words": len(text.split())}
            for kind, made in sounds.items():
                line[kind] = [listener.hear(one, text, given) for one in made]
            file.write(json.dumps(line) + "\n")
            file.flush()


def compare(before: str, after: str) -> None:
    """Print means of both runs, and 95 % of the differences over requests."""
    runs = [_read(path) for path in (before, after)]
    names = [name for name in runs[0] if name in runs[1]]
    weights = np.array([runs[0][name]["words"] for name in names], float)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(names), size=(4000, len(names)))
    print(f"{len(names)} requests")
    for kind in ("source", "recorded", "forced", "free"):
        for at, ear in enumerate(EARS):
            was, now = (
                np.array([np.mean([one[at] for one in run[name][kind]]) for name in names])
                for run in runs
            )
            means = [mean(values, weights) for values in (was, now)]
            change = [mean((now - was)[one], weights[one]) for one in drawn]
            low, high = np.quantile(change, (0.025, 0.975))
            line = f"{means[0]:.3f} -> {means[1]:.3f} ({low:+.3f} to {high:+.3f})"
            print(f"{kind:9} {ear:13} {line}")


def mean(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """Return a weighted mean."""
    return float(np.average(values, weights=weights))


def _read(path: str) -> dict[str, Any]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        compare(sys.argv[1], sys.argv[2])
    else:
        first, model, out, most, draws = sys.argv[1:6]
        main(first, model, out, int(most), int(draws))
