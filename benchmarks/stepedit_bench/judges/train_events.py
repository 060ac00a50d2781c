"""Train the classifier behind the judge ``events``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.judges.event_data import Sound, read_sounds, speakers_in
from stepedit_bench.judges.event_ear import EarName, ear_title, find_ear
from stepedit_bench.judges.event_trials import Trial, measure_trials, thresholds, trials
from stepedit_bench.judges.event_windows import windows
from stepedit_bench.judges.model import Classifier, network
from stepedit_core.errors import StepeditError

__all__ = ["LEAST", "train_events"]

LEAST = 2.0
"""Balanced accuracy must be this many times chance, or the model is not written."""
_TRIALS = 80
_HIDDEN, _DECAY, _STEPS = 48, 2e-4, 10


def train_events(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    seed: int = 0,
    *,
    ear: EarName = "auto",
    without: str | os.PathLike[str] | None = None,
    on_context: Callable[[int, int], None] = lambda done, total: None,
) -> Classifier:
    """Train on one side of the speaker split, measure on the other, and save with a card.

    Thresholds come from training speakers; the held-out ones are only measured.

    Args:
        manifest: see ``event_data.read_sounds``.
        out: folder for weights and card.
        seed: of everything that is drawn.
        ear: what it hears with, see ``event_ear``.
        without: manifest in JSON lines whose speakers are left out on both sides.
        on_context: told how many contexts are heard, of how many.

    Raises:
        StepeditError: if held-out accuracy is not clearly above chance.
    """
    left_out = frozenset() if without is None else speakers_in(without)
    sounds = read_sounds(manifest, left_out)
    known = [sound for sound in sounds if not sound.test]
    unseen = [sound for sound in sounds if sound.test]
    hear = find_ear(ear)
    rows, names = windows(known, np.random.default_rng(seed), hear, on_context)
    model = network(rows, names, seed, hidden=_HIDDEN, decay=_DECAY, steps=_STEPS)
    tested, truth = windows(unseen, np.random.default_rng(seed + 3), hear)
    measured = _measured(model, tested, truth)
    if measured["balanced_accuracy"] < LEAST / len(model.labels):
        raise StepeditError(f"not clearly above chance, nothing was written: {measured}")
    limits = thresholds(_trials(known, seed + 1), model, hear)
    placed = measure_trials(_trials(unseen, seed + 2), model, limits, hear)
    heard_with = "statistics of spectrum, voicing, rhythm"
    if hear is not None:
        heard_with += f" and means and deviations of the encoder's states, {ear_title()}"
    card = {
        "task": "kind of non-verbal sound in a window of 0.6 s between words of speech",
        "model": f"one hidden layer of {_HIDDEN} on {rows.shape[1]} {heard_with}; trained with "
        "scikit-learn, run with numpy",
        "caution": "Nobody listened. EmoGator's labels are the emotions that speakers were asked "
        "for; which sound it is was told by a public tagger of sounds and by what Whisper "
        "transcribes, in the acted voices by the same number in all voices, for breaths by their "
        "place in pauses of read speech (event_labels.jsonl, column how).",
        "seed": seed,
        "windows": dict(sorted(Counter(names).items())),
        "train": _describe(known),
        "test": _describe(unseen),
        "speakers_left_out": sorted(left_out),
        "held_out_windows": measured,
        "thresholds": limits,
        "held_out_insertions": placed,
    }
    trained = Classifier(model.labels, model.mean, model.scale, model.layers, card)
    trained.save(Path(out))
    return trained


def _trials(sounds: Sequence[Sound], seed: int) -> list[Trial]:
    return list(trials(sounds, np.random.default_rng(seed), _TRIALS))


def _measured(model: Classifier, rows: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return accuracy on windows of held-out speakers."""
    truth = np.array(names)
    said = np.array(model.labels)[model.probabilities(rows).argmax(axis=1)]
    heard = [name for name in model.labels if (truth == name).any()]
    recalls = {name: round(float((said[truth == name] == name).mean()), 4) for name in heard}
    return {
        "n": len(truth),
        "accuracy": round(float((truth == said).mean()), 4),
        "balanced_accuracy": round(float(np.mean(list(recalls.values()))), 4),
        "recall": recalls,
        "chance": round(1 / len(model.labels), 4),
        "majority": round(max(Counter(truth.tolist()).values()) / len(truth), 4),
        "confusion": {
            name: {other: int(((truth == name) & (said == other)).sum()) for other in model.labels}
            for name in heard
        },
    }


def _describe(sounds: Sequence[Sound]) -> dict[str, Any]:
    """Return recordings, speakers and licences by corpus."""
    corpora: dict[str, Any] = {}
    for name in sorted({sound.corpus for sound in sounds}):
        own = [sound for sound in sounds if sound.corpus == name]
        corpora[name] = {
            "recordings": len({sound.path for sound in own}),
            "speakers": len({sound.speaker for sound in own}),
            "licence": sorted({sound.licence for sound in own})[0],
        }
    return corpora
