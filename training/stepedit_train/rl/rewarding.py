"""Weighted sums of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from stepedit_core.codes import GROUP_SIZE
from stepedit_core.errors import StepeditError, explain_validation, suggest
from stepedit_core.registry.registry import get_registry
from stepedit_core.reward import Answer, Reward, RewardTools
from stepedit_train.rl.credit import part_advantages
from stepedit_train.rl.token_rewards import copied_share
from stepedit_train.settings import Settings

__all__ = ["RewardSettings", "Rewarded", "Rewards", "make_reward"]


class RewardSettings(Settings):
    """One reward of a weighted sum."""

    name: str
    """As ``stepedit_rewards`` brings it: ``scorer``, ``fits``, ``phones``, ``heard_phones``,
    ``words``, ``voice``, ``reward_model``, ``edit_similarity``, ``consistency``, ``in_order``,
    ``length``, or a plugin's own."""
    weight: float = 1.0
    """Factor."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The reward's own options."""


def make_reward(chosen: RewardSettings, tools: RewardTools, base: Path) -> Reward:
    """Return a reward by name, with its options; a path among them starts from ``base``.

    Raises:
        StepeditError: if there is no such reward, an option is wrong, or something is not at hand.
    """
    known = get_registry().named("stepedit_rewards", lambda kind: str(kind.name))
    if chosen.name not in known:
        hint = suggest(chosen.name, known) or f"; there is {', '.join(known)}"
        raise StepeditError(f"no reward {chosen.name!r}{hint}")
    kind: type[Reward] = known[chosen.name]
    try:
        options = kind.options.model_validate(chosen.options)
    except ValidationError as error:
        why = explain_validation(error, kind.options.model_fields)
        raise StepeditError(f"reward {chosen.name}: {why}") from error
    paths = {name: base / value for name, value in options if isinstance(value, Path)}
    return kind(tools, options.model_copy(update=paths))


@dataclass(frozen=True)
class Rewarded:
    """The rewards of answers.

    Attributes:
        totals: weighted sums; None where a part could not be scored.
        parts: each reward by name.
        copied: how much of each answer is its source's, 0..1.
    """

    totals: list[float | None]
    parts: Mapping[str, list[float | None]]
    copied: list[float]

    def figures(self) -> dict[str, float]:
        """Return means for the log."""
        found = {"copied": float(np.mean(self.copied))} if self.copied else {}
        for name, values in {"reward": self.totals, **self.parts}.items():
            known = [value for value in values if value is not None]
            label = name if name == "reward" else f"reward_{name}"
            if known:
                found[label] = float(np.mean(known))
        missing = sum(value is None for value in self.totals)
        return {**found, "unscored": missing / max(1, len(self.totals))}


class Rewards:
    """The sum that a run learns from.

    An answer that is its source all through gets ``penalty`` taken off: whatever was asked for, it
    was not done, and rewards for what is kept must not make up for that.

    Args:
        chosen: names and weights.
        tools: what rewards may use.
        base: folder that paths among options start from.
        penalty: taken off a whole copy.
        allowed: share of copied groups up to which nothing is taken off.
    """

    def __init__(
        self,
        chosen: Sequence[RewardSettings],
        tools: RewardTools,
        base: Path,
        penalty: float = 1.0,
        allowed: float = 0.98,
    ) -> None:
        if len({one.name for one in chosen}) < len(chosen):
            raise StepeditError("a reward is named twice; give it once, with the sum of weights")
        self.made = [(make_reward(one, tools, base), one.weight) for one in chosen]
        self.penalty, self.allowed = penalty, allowed

    @property
    def needs_audio(self) -> bool:
        """Whether answers have to be decoded."""
        return any(reward.needs_audio for reward, _ in self.made)

    def _taken_off(self, copied: float) -> float:
        return self.penalty * max(0.0, copied - self.allowed) / (1 - self.allowed)

    def __call__(self, answers: Sequence[Answer]) -> Rewarded:
        """Score answers."""
        parts = {reward.name: reward.score(answers) for reward, _ in self.made}
        copied = [copied_share(one.codes, one.request.codes) for one in answers]
        totals: list[float | None] = []
        for at, share in enumerate(copied):
            values = [parts[reward.name][at] for reward, _ in self.made]
            weights = [weight for _, weight in self.made]
            if None in values:
                totals.append(None)
                continue
            total = sum(w * v for w, v in zip(weights, values, strict=True) if v is not None)
            totals.append(total - self._taken_off(share))
        return Rewarded(totals, parts, copied)

    def advantages(
        self, answers: Sequence[Answer], rewarded: Rewarded, count: int
    ) -> list[npt.NDArray[np.float32]]:
        """Return what each code of each answer gains over the other answers to its request.

        Rewards that say what parts of the request are worth are compared part by part
        (`part_advantages`); of the others, and of what is taken off, every code of an answer gets
        the answer's gain.

        Args:
            answers: as they were scored, those to one request after each other.
            rewarded: what they were given.
            count: answers to each request.
        """
        rest = np.array([np.nan if one is None else one for one in rewarded.totals], np.float32)
        made = [np.zeros(GROUP_SIZE * one.codes.groups, np.float32) for one in answers]
        for reward, weight in self.made:
            parts = reward.by_part(answers)
            if parts is None:
                continue
            scores = rewarded.parts[reward.name]
            rest -= weight * np.array([np.nan if one is None else one for one in scores])
            for begin in range(0, len(answers), count):
                group = slice(begin, begin + count)
                groups = [one.codes.groups for one in answers[group]]
                # An answer that another reward could not score is not compared.
                own = [
                    None if total is None else part
                    for part, total in zip(parts[group], rewarded.totals[group], strict=True)
                ]
                gains = part_advantages(own, groups, weight)
                for one, gain in zip(made[group], gains, strict=True):
                    one += gain
        for begin in range(0, len(answers), count):
            known = [at for at in range(begin, begin + count) if rewarded.totals[at] is not None]
            for at in known:
                made[at] += rest[at] - float(np.mean(rest[known]))
        return made

    def per_token(self, answers: Sequence[Answer], totals: Sequence[float | None]) -> list[Any]:
        """Return each code's part of the totals; what no reward can place comes with the last.

        Args:
            answers: as they were scored.
            totals: what they were given.

        Raises:
            StepeditError: if a reward does not place its score on the codes of all answers.
        """
        lengths = [GROUP_SIZE * one.codes.groups for one in answers]
        made = [np.zeros(length, np.float32) for length in lengths]
        for reward, weight in self.made:
            placed = reward.per_token(answers)
            if placed is None:
                continue
            if [len(values) for values in placed] != lengths:
                raise StepeditError(
                    f"reward {reward.name}: per_token() gives a number for each code of each answer"
                )
            for own, values in zip(made, placed, strict=True):
                own += weight * np.asarray(values, np.float32)
        for own, total in zip(made, totals, strict=True):
            own[-1] += (total or 0.0) - float(own.sum())
        return made
