"""A small classifier that runs on numpy and is kept as safetensors with a JSON card."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges import features
from stepedit_core.atomic import replace_file, write_atomically
from stepedit_core.errors import CheckpointError
from stepedit_core.storage.stored_json import parse_json

__all__ = ["CARD", "WEIGHTS", "Classifier", "network"]

CARD, WEIGHTS = "card.json", "weights.safetensors"
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Classifier:
    """Standardised features through linear layers with rectifiers between, then softmax.

    Attributes:
        labels: the classes, in the order of the last layer.
        mean: subtracted from the features, shape ``(features,)``.
        scale: they are divided by it, shape ``(features,)``.
        layers: (weights of shape ``(in, out)``, bias of shape ``(out,)``) per layer.
        card: what it was trained on and how well it does; JSON data.
    """

    labels: tuple[str, ...]
    mean: FloatArray
    scale: FloatArray
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    card: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(self, rows: FloatArray) -> FloatArray:
        """Return the probability of each label.

        Args:
            rows: features, shape ``(n, features)``.

        Returns:
            float64, shape ``(n, labels)``, rows sum to 1.
        """
        # Far outside what was seen in training, a linear model is sure of anything.
        hidden = np.clip((rows - self.mean) / self.scale, -6.0, 6.0)
        for number, (weights, bias) in enumerate(self.layers):
            hidden = (np.maximum(hidden, 0.0) if number else hidden) @ weights + bias
        hidden = np.exp(hidden - hidden.max(axis=1, keepdims=True))
        return np.asarray(hidden / hidden.sum(axis=1, keepdims=True))

    @property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 over weights and labels."""
        parts = [self.mean, self.scale, *(part for layer in self.layers for part in layer)]
        data = b"".join(np.ascontiguousarray(part, dtype="<f4").tobytes() for part in parts)
        return hashlib.sha256(data + json.dumps(self.labels).encode()).hexdigest()[:12]

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``card.json`` into a folder."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"mean": self.mean, "scale": self.scale}
        for number, (weights, bias) in enumerate(self.layers):
            tensors[f"weights.{number}"], tensors[f"bias.{number}"] = weights, bias
        plain = {
            name: np.ascontiguousarray(part, dtype=np.float32) for name, part in tensors.items()
        }
        replace_file(folder / WEIGHTS, lambda partial: save_file(plain, partial))
        card = {
            "labels": list(self.labels),
            "features": features.VERSION,
            "inputs": len(self.mean),
            "digest": self.digest,
            **self.card,
        }
        text = json.dumps(card, indent=1, ensure_ascii=False)
        write_atomically(folder / CARD, f"{text}\n")

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read what ``save`` wrote; nothing in the files is executed.

        Raises:
            CheckpointError: naming the file that is absent, damaged or does not fit.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            card = parse_json((folder / CARD).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"{folder}: not a trained judge ({error})") from error
        try:
            model = cls._from_tensors(card, tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder}: {CARD} and {WEIGHTS} do not fit ({error})") from error
        return model

    @classmethod
    def _from_tensors(
        cls, card: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
    ) -> Classifier:
        if card["features"] != features.VERSION:
            raise ValueError(
                f"made for features version {card['features']}, this is {features.VERSION}; "
                "train it again"
            )
        parts = {name: np.asarray(part, dtype=np.float64) for name, part in tensors.items()}
        depth = sum(name.startswith("weights.") for name in parts)
        layers = tuple((parts[f"weights.{n}"], parts[f"bias.{n}"]) for n in range(depth))
        labels = tuple(str(label) for label in card["labels"])
        inputs = int(card.get("inputs", len(features.WINDOW_NAMES)))
        sizes = [inputs, *(len(bias) for _, bias in layers)]
        shapes = [weights.shape for weights, _ in layers]
        if shapes != list(itertools.pairwise(sizes)) or sizes[-1] != len(labels):
            raise ValueError(f"layers of {shapes} for {sizes[0]} features and {len(labels)} labels")
        if not all(np.isfinite(part).all() for part in parts.values()):
            raise ValueError("weights that are not finite")
        return cls(labels, parts["mean"], parts["scale"], layers, card)


def network(
    rows: FloatArray, labels: Sequence[str], seed: int, *, hidden: int, decay: float, steps: int
) -> Classifier:
    """Train a classifier with scikit-learn: one hidden layer, Adam, weight decay.

    Rare classes are drawn more often, so that each class weighs the same.

    Args:
        rows: features, shape ``(n, features)``.
        labels: class of each row.
        seed: draws initial weights and batches.
        hidden: width of the hidden layer; 0 for logistic regression.
        decay: weight of the squared weights, per row.
        steps: passes over the data.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(labels)
    classes = np.unique(names)
    most = max(int((names == name).sum()) for name in classes)
    drawn = np.concatenate(
        [_repeated(np.flatnonzero(names == name), most, rng) for name in classes]
    )
    mean, scale = rows[drawn].mean(axis=0), rows[drawn].std(axis=0) + 1e-6
    inputs = np.clip((rows[drawn] - mean) / scale, -6.0, 6.0)
    layers = _fit(inputs, names[drawn], seed, hidden, decay, steps)
    return Classifier(tuple(str(name) for name in classes), mean, scale, layers)


def _repeated(
    places: npt.NDArray[np.int64], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return every place as often as possible, the rest drawn, ``count`` in all."""
    whole, rest = divmod(count, len(places))
    return np.concatenate([np.tile(places, whole), rng.choice(places, rest, replace=False)])


def _fit(
    inputs: FloatArray,
    names: npt.NDArray[np.str_],
    seed: int,
    hidden: int,
    decay: float,
    steps: int,
) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Return the layers that scikit-learn finds."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    if not hidden:
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=1 / (decay * len(inputs)), max_iter=steps)
        regression.fit(inputs, names)
        weights, bias = regression.coef_, regression.intercept_
        if len(weights) == 1:
            weights, bias = np.vstack([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
        return ((weights.T, bias),)
    from sklearn.neural_network import MLPClassifier

    found = MLPClassifier((hidden,), alpha=decay * len(inputs), max_iter=steps, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(inputs, names)
    weights, biases = list(found.coefs_), list(found.intercepts_)
    if weights[-1].shape[1] == 1:  # two classes share one output
        weights[-1] = np.hstack([-weights[-1], weights[-1]]) / 2
        biases[-1] = np.array([-biases[-1][0], biases[-1][0]]) / 2
    return tuple(zip(weights, biases, strict=True))
