"""The judge ``trained``: an emotion classifier that the user has trained on their own corpus."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from stepedit_bench.judges.features import frame_features, window_features
from stepedit_bench.judges.model import Classifier
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["FOLDER_VARIABLE", "TrainedJudge"]

FOLDER_VARIABLE = "STEPEDIT_EMOTION_JUDGE"


class TrainedJudge(Judge):
    """Names the emotion by a classifier from ``train-emotion``; needs no reference."""

    name: ClassVar[str] = "trained"
    version: ClassVar[int] = 1
    validation: ClassVar[str] = (
        "speaker-disjoint accuracy on the corpus it was trained on stands in the model's card.json"
    )

    def __init__(self, folder: str | None = None) -> None:
        """Load a classifier.

        Args:
            folder: where ``train-emotion`` wrote it; by default what the environment variable
                STEPEDIT_EMOTION_JUDGE names.

        Raises:
            StepeditError: if no folder is named, or it holds no classifier.
        """
        named = folder or os.environ.get(FOLDER_VARIABLE)
        if not named:
            raise StepeditError(
                f"judge trained: say --judge-option trained:folder=FOLDER or set {FOLDER_VARIABLE}"
            )
        self.model = Classifier.load(Path(named))

    def tasks(self) -> Sequence[str]:
        """Return emotion."""
        return ("emotion",)

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Return the likeliest of the labels that the classifier knows.

        ``scores`` are probabilities among those. It refuses where the label that an edit aims
        at (``question["to"]``) is not among its classes.
        """
        known = self.model.labels
        asked = (question or {}).get("to")
        wanted = "neutral" if asked == "remove" else asked
        if isinstance(wanted, str) and wanted not in known:
            return Verdict(refused=f"the trained judge knows {', '.join(known)}, not {wanted}")
        chosen = [label for label in known if not labels or label in labels]
        if not chosen:
            return Verdict(refused=f"the trained judge knows none of {', '.join(labels)}")
        row = window_features(frame_features(utterance))[None]
        found = self.model.probabilities(row)[0]
        kept = {label: float(found[known.index(label)]) for label in chosen}
        total = sum(kept.values()) or 1.0
        scores = {label: round(value / total, 4) for label, value in kept.items()}
        best = max(scores, key=lambda label: scores[label])
        return Verdict(best, scores[best], scores)
