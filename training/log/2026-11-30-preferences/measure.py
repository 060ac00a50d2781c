"""Hear sixteen answers to each short request of validation speakers by Whisper base.

python measure.py MANIFEST MODEL OUT.jsonl

A request is a recording of at most 3.8 s as the voice, and the words of the next such recording of
its speaker. Answers are drawn by the rules that the model ships with. Requests that OUT.jsonl holds
already are passed over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from draw import ANSWERS, LONGEST, SHORTEST
from stepedit_clone import Clone
from stepedit_train.rl.measures import TrainingMeasures
from stepedit_train.rl.prompts import Prompt
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core.config import EngineConfig
from stepedit_core.dsp.words import word_error
from stepedit_core.models.engine import Engine
from stepedit_core.recording.hearing import load_recogniser
from stepedit_core.registry.corpora import find_reader


def requests(manifest: Path) -> Iterator[Prompt]:
    """Yield requests in the order of the manifest."""
    every = find_reader(manifest, None).items(manifest)
    items = [one for one in every if SHORTEST <= one.read().seconds <= LONGEST]
    for voice, other in pairwise(items):
        if voice.speaker == other.speaker:
            edit = Clone(text=other.transcript or "")
            yield Prompt(voice.id, edit, voice.speaker or "", 0, item=voice)


def main(manifest: str, model: str, out: str) -> None:
    """Draw, hear and write."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    generator = OwnGenerator(engine, engine.parts.model, 64)
    rollouts = Rollouts(engine, generator, rollout_rules(engine, None, None), 700, 64)
    base, measures = load_recogniser("whisper"), TrainingMeasures(engine)
    done = Path(out).read_text().splitlines() if Path(out).is_file() else []
    known = {json.loads(line)["name"] for line in done}
    with Path(out).open("a") as file, torch.inference_mode():
        for prompt in requests(Path(manifest)):
            if prompt.name in known:
                continue
            for group in rollouts.draw([prompt], ANSWERS, 0, "measure", decoded=True)[0]:
                words = group.answers[0].request.words or ""
                codes = [one.codes for one in group.answers]
                sounds = [one.audio for one in group.answers if one.audio is not None]
                source = group.answers[0].prepared.source
                heard = [base.hear_roughly(one.replace(language="en")) or "" for one in sounds]
                row = {
                    "name": prompt.name,
                    "speaker": prompt.speaker,
                    "read": engine.parts.reader.scores(codes, words),
                    "word_error": [word_error(words, one) for one in heard],
                    "voice": [measures.speaker_similarity(source, one) for one in sounds],
                    "groups": [one.groups for one in codes],
                    "expected": group.answers[0].expected_groups,
                }
                file.write(json.dumps(row) + "\n")
                file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
