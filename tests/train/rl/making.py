"""A tiny engine folder, requests, and a reward that a tiny model learns in a few steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from stepedit_train import plugin

from stepedit_core.edit import Edit
from stepedit_core.hookspecs import hookimpl
from stepedit_core.registry.registry import Registry
from stepedit_core.reward import Answer, PlacedValue, Reward
from tests.models.tiny_checkpoint import write_single
from tests.toy_edits import Hiss
from tests.train.making import make_pairs


class LowCodes(Reward):
    """The share of semantic codes in the lower half."""

    name: ClassVar[str] = "low_codes"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        return [float(np.mean(one.codes.semantic < 2048)) for one in answers]


class LowQuarters(Reward):
    """The same for each quarter of an answer, by part; the second answer is not scored."""

    name: ClassVar[str] = "low_quarters"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        return [
            None if parts is None else float(np.mean([one.value for one in parts]))
            for parts in self.by_part(answers)
        ]

    def by_part(self, answers: Sequence[Answer]) -> list[Sequence[PlacedValue] | None]:
        found: list[Sequence[PlacedValue] | None] = []
        for answer in answers:
            low = answer.codes.semantic.reshape(-1, 3) < 2048
            edges = np.linspace(0, len(low), 5).astype(int).tolist()
            places = [(begin, max(begin + 1, end)) for begin, end in pairwise(edges)]
            found.append([PlacedValue(*one, float(low[slice(*one)].mean())) for one in places])
        return [*found[:1], None, *found[2:]]


class Unscored(Reward):
    """Says nothing of the first answer."""

    name: ClassVar[str] = "unscored"

    def score(self, answers: Sequence[Answer]) -> list[float | None]:
        return [None, *[1.0] * (len(answers) - 1)]


class RewardPlugin:
    @hookimpl
    def stepedit_rewards(self) -> Sequence[type[Reward]]:
        return [LowCodes, LowQuarters, Unscored]


def register(registry: Registry) -> None:
    registry.register(RewardPlugin(), "rewarding")
    registry.register(plugin, "train")


def engine_folder(folder: Path) -> Path:
    """Write a tiny engine whose answers are at most a little longer than their sources."""
    model = write_single(folder)
    rules = {"max_growth": 1.0, "repetition_window": 0, "temperature": 0.3}
    (model / "sampling.json").write_text(json.dumps(rules))
    return model


def fields(folder: Path, model: Path, **changes: Any) -> dict[str, Any]:
    """Return settings of a short online run."""
    edits: list[Edit] = [Hiss(), *[Hiss(amount="much")] * 5]
    pairs = folder / "pairs"
    if not pairs.exists():
        make_pairs(pairs, edits)
    return {
        "model": model,
        "out": folder / "run",
        "prompts": [{"path": pairs, "shortest": 0.1}],
        "rewards": [{"name": "low_codes"}],
        "steps": 4,
        "budget": 2,
        "answers": 4,
        "learning_rate": 3e-2,
        "final_learning_rate": 3e-2,
        "dev_share": 0.0,
        "device": "cpu",
        "precision": "float32",
        "gradient_checkpointing": False,
        "tensorboard": False,
        "checkpoint_minutes": 0,
        "max_tokens": 600,
        "tokens": 2500,
        "watch": {"kl": 1e9, "longest": 100.0},
        **changes,
    }
