"""Hear drawn clones of short texts by ears that could choose, and by ears that judge.

python draws.py MANIFEST MODEL OUT.jsonl DRAWS REQUESTS

The requests of ``../2026-11-30-sentences/hear.py``. Written for each answer. To choose by: how its
codes read, how they read once they are spoken and encoded again, how sure Whisper tiny.en is of
the words, and how likely hama finds their phones (log-likelihood over all CTC paths for each
phone). To judge by: word errors by Whisper base and PocketSphinx, above 1 counts as 1.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stepedit_bench.measuring.standard import StandardMeasures
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core import Utterance
from stepedit_core.config import EngineConfig
from stepedit_core.dsp.phones import log_likelihoods, phone_scores, phone_signs, spelled_phones
from stepedit_core.dsp.words import split_words, word_error
from stepedit_core.errors import AudioError
from stepedit_core.models.engine import Engine
from stepedit_core.recording.hearing import load_recogniser

sys.path.append(str(Path(__file__).parents[1] / "2026-11-30-sentences"))
from hear import requests


def phone_likelihood(utterance: Utterance, text: str) -> float:
    """Return the mean log-likelihood of a text's phones, by hama."""
    scores, signs = phone_scores(utterance)
    names = phone_signs()[0]
    wanted = [
        signs.index(names[one]) for word in split_words(text) for one in spelled_phones(word.text)
    ]
    return float(log_likelihoods(scores, [wanted])[0]) / max(1, len(wanted))


def read_again(engine: Engine, made: Utterance, text: str) -> float | None:
    """Return how an answer reads once it is encoded again, by the engine's reader."""
    try:
        codes = engine.encode([made])
    except AudioError:
        return None
    assert engine.parts.reader is not None
    return engine.parts.reader.score(codes[0], text)


def main(manifest: str, model: str, out: str, draws: str, most: str) -> None:
    """Draw, hear and write; go on where an earlier run stopped."""
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    network = engine.parts.network("spoken")
    generator = OwnGenerator(engine, network, 64)
    rollouts = Rollouts(engine, generator, rollout_rules(engine, None, None), 700, 64)
    measures, tiny = StandardMeasures(), load_recogniser("tiny.en")
    place = Path(out)
    done = {json.loads(line)["name"] for line in place.open()} if place.exists() else set()
    with place.open("a", encoding="utf-8") as file, torch.inference_mode():
        for _, prompt in zip(range(int(most)), requests(Path(manifest)), strict=False):
            if prompt.name in done:
                continue
            (group,) = rollouts.draw([prompt], int(draws), 0, "hear", decoded=True)[0]
            text = prompt.edit.text
            answers = [one for one in group.answers if one.audio is not None]
            sounds = [one.audio.replace(language="en", transcript=None) for one in answers]
            sure = [tiny.certainty(one.replace(transcript=text)) for one in sounds]
            row: dict[str, Any] = {"name": prompt.name, "text": text}
            row["codes"] = engine.parts.reader.scores([one.codes for one in answers], text)
            row["again"] = [read_again(engine, one, text) for one in sounds]
            row["hama"] = [phone_likelihood(one, text) for one in sounds]
            row["tiny"] = [float(np.mean([math.log(max(p, 1e-4)) for p in one])) for one in sure]
            heard = [(measures.transcribe(one), measures.second_text(one)) for one in sounds]
            row["whisper"], row["sphinx"] = (
                [min(1.0, word_error(text, one[at])) for one in heard] for at in (0, 1)
            )
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:6])
