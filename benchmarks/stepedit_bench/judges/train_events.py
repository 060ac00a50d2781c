"""Train the classifier behind the judge ``events``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.judges.event_data import Sound, others, read_sounds, windows
from stepedit_bench.judges.event_trials import Trial, measure_trials, thresholds, trials
from stepedit_bench.judges.events import EVENTS, OTHER
from stepedit_bench.judges.model import Classifier, network
from stepedit_core.errors import StepeditError

__all__ = ["LEAST", "train_events"]

LEAST = 2.0
"""Balanced accuracy must be this many times chance, or the model is not written."""
_TRIALS = 120
_HIDDEN = 32


def train_events(
    manifest: str | os.PathLike[str], out: str | os.PathLike[str], seed: int = 0
) -> Classifier:
    """Train on one side of the speaker split, measure on the other, and save with a card.

    Thresholds come from training speakers; the held-out ones are only measured.

    Args:
        manifest: see ``event_data.read_sounds``.
        out: folder for weights and card.
        seed: of everything that is drawn.

    Raises:
        StepeditError: if held-out accuracy is not clearly above chance.
    """
    sounds = read_sounds(manifest)
    known = [sound for sound in sounds if not sound.test]
    unseen = [sound for sound in sounds if sound.test]
    rng = np.random.default_rng(seed)
    alone, owners = windows(known, rng, augment=True)
    strange = others(known, rng)
    names = [*(known[owner].name for owner in owners), *[OTHER] * len(strange)]
    rows = np.concatenate([alone, strange])
    model = network(rows, names, seed, hidden=_HIDDEN, decay=3e-3, steps=25)
    measured = _whole(model, unseen, seed)
    if measured["balanced_accuracy"] < LEAST / len(model.labels):
        raise StepeditError(f"not clearly above chance, nothing was written: {measured}")
    limits = thresholds(_trials(known, seed + 1), model)
    placed = measure_trials(_trials(unseen, seed + 2), model, limits)
    card = {
        "task": "kind of non-verbal sound in a window of 0.45 to 1.1 s",
        "model": f"one hidden layer of {_HIDDEN} on {rows.shape[1]} statistics of spectrum, "
        "voicing, rhythm; trained with scikit-learn, run with numpy",
        "caution": "EmoGator's labels are the emotions that speakers were asked for; the sound "
        "(laugh, sigh ...) is guessed from them and was not verified by listening, so that "
        "accuracy is against weak labels. Breaths and other voiced sounds are often confused.",
        "seed": seed,
        "windows": dict(sorted(Counter(names).items())),
        "train": _describe(known),
        "test": _describe(unseen),
        "held_out_recordings": measured,
        "thresholds": limits,
        "held_out_insertions": placed,
    }
    trained = Classifier(model.labels, model.mean, model.scale, model.layers, card)
    trained.save(Path(out))
    return trained


def _trials(sounds: Sequence[Sound], seed: int) -> list[Trial]:
    return list(trials(sounds, np.random.default_rng(seed), _TRIALS))


def _whole(model: Classifier, unseen: Sequence[Sound], seed: int) -> dict[str, Any]:
    """Return accuracy on whole recordings of held-out speakers."""
    rows, owners = windows(list(unseen), np.random.default_rng(seed), augment=False)
    truth = np.array([unseen[owner].name for owner in owners])
    said = np.array(model.labels)[model.probabilities(rows).argmax(axis=1)]
    heard = [name for name in model.labels if (truth == name).any()]  # ``other`` is made, not heard
    matrix = {
        name: {other: int(((truth == name) & (said == other)).sum()) for other in model.labels}
        for name in model.labels
    }
    recalls = {name: float((said[truth == name] == name).mean()) for name in heard}
    return {
        "n": len(truth),
        "accuracy": round(float((truth == said).mean()), 4),
        "balanced_accuracy": round(float(np.mean(list(recalls.values()))), 4),
        "balanced_accuracy_of_sounds": round(float(np.mean([recalls[e] for e in EVENTS])), 4),
        "chance": round(1 / len(model.labels), 4),
        "majority": round(max(Counter(truth.tolist()).values()) / len(truth), 4),
        "confusion": matrix,
    }


def _describe(sounds: Sequence[Sound]) -> dict[str, Any]:
    """Return recordings, speakers and licences by corpus."""
    corpora: dict[str, Any] = {}
    for name in sorted({sound.corpus for sound in sounds}):
        own = [sound for sound in sounds if sound.corpus == name]
        corpora[name] = {
            "recordings": len(own),
            "speakers": len({sound.speaker for sound in own}),
            "licence": sorted({sound.licence for sound in own})[0],
        }
    return corpora
