"""Hear clones of short texts in validation voices, answers drawn singly.

python hear.py MANIFEST MODEL OUT.jsonl DRAWS REQUESTS

A request is a recording of 1.5 to 3.8 s as the voice, and the words of such a recording of another
speaker. Written for each answer: its word error by Whisper base (above 1 counts as 1), how sure
Whisper tiny.en is of its words, and how well the phone reader reads its codes.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from stepedit_clone import Clone
from stepedit_train.rl.prompts import Prompt
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core.config import EngineConfig
from stepedit_core.dsp.words import word_error
from stepedit_core.models.engine import Engine
from stepedit_core.recording.hearing import load_recogniser
from stepedit_core.registry.corpora import find_reader

SHORTEST, LONGEST = 1.5, 3.8


def requests(manifest: Path) -> Iterator[Prompt]:
    """Yield requests in a random order that is always the same."""
    every = find_reader(manifest, None).items(manifest)
    items = [one for one in every if one.transcript and SHORTEST <= one.read().seconds <= LONGEST]
    for turn, at in enumerate(np.random.default_rng(0).permutation(len(items)).tolist()):
        voice = items[at]
        others = (items[(at + 7 * step + turn) % len(items)] for step in range(1, len(items)))
        said = next(
            one
            for one in others
            if one.speaker != voice.speaker and one.transcript != voice.transcript
        )
        edit = Clone(text=said.transcript or "")
        yield Prompt(f"{voice.id}->{said.id}", edit, voice.speaker or "", 0, item=voice)


def main(manifest: str, model: str, out: str, draws: str, most: str) -> None:
    """Draw, hear and write."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    generator = OwnGenerator(engine, engine.parts.model, 64)
    rollouts = Rollouts(engine, generator, rollout_rules(engine, None, None), 700, 64)
    base, tiny = load_recogniser("whisper"), load_recogniser("tiny.en")
    with Path(out).open("w") as file, torch.inference_mode():
        for _, prompt in zip(range(int(most)), requests(Path(manifest)), strict=False):
            (group,) = rollouts.draw([prompt], int(draws), 0, "hear", decoded=True)[0]
            text = prompt.edit.text
            sounds = [one.audio for one in group.answers if one.audio is not None]
            heard = [base.hear_roughly(one.replace(language="en")) or "" for one in sounds]
            sure = [tiny.certainty(one.replace(transcript=text)) for one in sounds]
            codes = [one.codes for one in group.answers]
            row = {
                "name": prompt.name,
                "text": text,
                "heard": heard,
                "we": [min(1.0, word_error(text, one)) for one in heard],
                "certain": [float(np.mean([math.log(max(p, 1e-4)) for p in one])) for one in sure],
                "read": engine.parts.reader.scores(codes, text),
                "groups": [one.groups for one in codes],
                "expected": group.answers[0].expected_groups,
            }
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:6])
