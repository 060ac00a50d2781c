"""Hear whole clones of validation voices, by all rules that a model ships with.

python clones.py MANIFEST MODEL OUT.jsonl REQUESTS SEED

A request is a recording of a LibriSpeech or a synthetic voice, in turn, and the words of two
recordings of others. Written is the word error by Whisper base (above 1 counts as 1).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from stepedit_clone import Clone

from stepedit_core import Engine
from stepedit_core.dsp.words import word_error
from stepedit_core.recording.hearing import load_recogniser
from stepedit_core.registry.corpora import CorpusItem, find_reader

Request = tuple[str, CorpusItem, str]


def requests(manifest: Path, most: int, seed: int) -> list[Request]:
    """Return requests: a name, whose voice, and the text."""
    every = find_reader(manifest, None).items(manifest)
    items = [one for one in every if one.transcript and len(one.transcript.split()) >= 4]
    real = [one for one in items if "libri" in one.id or "libri" in (one.speaker or "")]
    synthetic = [one for one in items if one not in real]
    rng = np.random.default_rng(seed)
    found = []
    for number in range(most):
        pool = real if number % 2 else synthetic
        voice = pool[int(rng.integers(len(pool)))]
        others = [one for one in items if one.speaker != voice.speaker]
        first, second = (others[int(at)] for at in rng.choice(len(others), 2, replace=False))
        said = (first.transcript or "").strip()
        said += "" if said[-1] in ".!?" else "."
        text = f"{said} {(second.transcript or '').strip()}"
        found.append((f"{voice.id}|{first.id}|{second.id}", voice, text))
    return found


def main(manifest: str, model: str, out: str, most: str, seed: str) -> None:
    """Clone, hear and write."""
    engine, base = Engine.load(model), load_recogniser("whisper")
    with Path(out).open("w") as file:
        for name, voice, text in requests(Path(manifest), int(most), int(seed)):
            begun = time.process_time()
            (made,) = engine.edit(voice.read(), Clone(text=text), seed=7)
            spent = time.process_time() - begun
            heard = base.hear_roughly(made.utterance.replace(language="en")) or ""
            row = {"name": name, "text": text, "heard": heard, "processor_seconds": spent}
            row |= {"seconds": made.utterance.seconds, "we": [min(1.0, word_error(text, heard))]}
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:6])
