"""Train the classifier behind the judge ``trained`` from an emotion corpus on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.corpora import labelled
from stepedit_bench.judges.features import frame_features, window_features
from stepedit_bench.judges.model import Classifier, network
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import CorpusItem

__all__ = ["FEWEST", "speaker_folds", "train_emotion_judge"]

FEWEST = 10
"""Classes with fewer recordings are left out, and so said in the card."""
SETTINGS: dict[str, Any] = {"hidden": 64, "decay": 3e-3, "steps": 40}
FloatArray = npt.NDArray[np.float64]


def train_emotion_judge(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    layout: str | None = None,
    *,
    only: Sequence[str] = (),
    folds: int = 5,
    seed: int = 0,
    on_item: Callable[[int, int], None] = lambda done, total: None,
) -> Classifier:
    """Train on all speakers, and report accuracy from folds that share no speaker.

    Each fold's speakers are judged by a model that never heard them; the model that is saved
    has heard all. Its card holds accuracy, chance, majority and the confusion matrix.

    Args:
        folder: RAVDESS, CREMA-D, ESD or anything else that a corpus reader knows.
        out: where weights and card go.
        layout: name of the corpus reader, where several know the folder.
        only: corpora to keep within a manifest.
        folds: groups of speakers for the report.
        seed: of folds, initial weights and batches.
        on_item: told how many recordings are measured.

    Raises:
        StepeditError: if there are fewer than two emotions or speakers.
    """
    items = labelled(folder, layout, only)
    counts = Counter(item.labels["emotion"] for item in items)
    rare = {name: count for name, count in counts.items() if count < FEWEST}
    items = [item for item in items if item.labels["emotion"] not in rare]
    rows, kept, unreadable = _measure(items, on_item)
    names = [item.labels["emotion"] for item in kept]
    speakers = [str(item.speaker) for item in kept]
    if len(set(names)) < 2 or len(set(speakers)) < 2:
        raise StepeditError(
            f"{os.fspath(folder)}: {len(set(names))} emotions with {FEWEST} recordings or more by "
            f"{len(set(speakers))} speakers; two of each are the least"
        )
    said = _judged(rows, names, speaker_folds(speakers, folds, seed), seed)
    card = {
        "task": "emotion",
        "model": f"one hidden layer of {SETTINGS['hidden']} on {rows.shape[1]} statistics of "
        "spectrum, voicing, rhythm; trained with scikit-learn, run with numpy",
        "corpora": dict(sorted(Counter(item.corpus for item in kept).items())),
        "licences": sorted({item.licence or "not stated" for item in kept}),
        "speakers": len(set(speakers)),
        "seed": seed,
        "left_out": {"rare": rare, "unreadable": unreadable},
        "speaker_disjoint": _report(names, said, folds),
    }
    model = network(rows, names, seed, **SETTINGS)
    trained = Classifier(model.labels, model.mean, model.scale, model.layers, card)
    trained.save(Path(out))
    return trained


def _measure(
    items: Sequence[CorpusItem], on_item: Callable[[int, int], None]
) -> tuple[FloatArray, list[CorpusItem], dict[str, str]]:
    """Return features, their recordings, and what could not be read with the reason."""
    rows, kept, unreadable = [], [], {}
    for number, item in enumerate(items, start=1):
        try:
            rows.append(window_features(frame_features(item.read())))
            kept.append(item)
        except AudioError as error:
            unreadable[item.id] = str(error)
        on_item(number, len(items))
    return np.array(rows), kept, unreadable


def speaker_folds(speakers: Sequence[str], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a fold for each recording, so that a speaker is in one fold alone.

    Args:
        speakers: of each recording.
        folds: at most; never more than there are speakers.
        seed: shuffles the speakers.
    """
    names = np.random.default_rng(seed).permutation(sorted(set(speakers)))
    fold = {str(name): place % min(folds, len(names)) for place, name in enumerate(names)}
    return np.array([fold[speaker] for speaker in speakers])


def _judged(
    rows: FloatArray, names: Sequence[str], fold: npt.NDArray[np.int64], seed: int
) -> list[str]:
    """Return the predictions of models that were not trained on the speaker."""
    said = np.empty(len(names), dtype=object)
    truth = np.asarray(names)
    for number in np.unique(fold):
        here = fold == number
        model = network(rows[~here], truth[~here].tolist(), seed, **SETTINGS)
        best = model.probabilities(rows[here]).argmax(axis=1)
        said[here] = [model.labels[place] for place in best]
    return [str(name) for name in said]


def _report(truth: Sequence[str], said: Sequence[str], folds: int) -> dict[str, Any]:
    """Return accuracy beside chance and majority."""
    labels = sorted(set(truth))
    table = Counter(zip(truth, said, strict=True))
    counts = Counter(truth)
    recalls = {name: round(table[name, name] / counts[name], 4) for name in labels}
    return {
        "folds": folds,
        "n": len(truth),
        "accuracy": round(sum(table[name, name] for name in labels) / len(truth), 4),
        "balanced_accuracy": round(sum(recalls.values()) / len(labels), 4),
        "chance": round(1 / len(labels), 4),
        "majority": round(max(counts.values()) / len(truth), 4),
        "recall": recalls,
        "confusion": {
            name: {other: table[name, other] for other in labels if table[name, other]}
            for name in labels
        },
    }
