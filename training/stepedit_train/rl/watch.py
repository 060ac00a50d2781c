"""Detect reward hacking: bounds on figures that stop a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from stepedit_train.rl.rewarding import RewardSettings
from stepedit_train.settings import Settings

__all__ = ["WatchSettings", "objection"]


class WatchSettings(Settings):
    """Bounds on the log's figures; a run stops where one is broken ``patience`` times in a row."""

    kl: float = Field(default=0.5, gt=0)
    """Largest divergence from the model that the run began with, in nats for each token."""
    shortest: float = Field(default=0.5, ge=0)
    """Smallest mean length of answers, as a share of what the plans expect."""
    longest: float = Field(default=2.0, gt=0)
    """Largest."""
    copied: float = Field(default=0.9, gt=0, le=1)
    """Largest mean share of an answer that is its source's."""
    held_out: tuple[RewardSettings, ...] = ()
    """Judges that are asked at validations and that the reward must not contain, such as ``words``
    where the reward has ``phones``."""
    held_out_drop: float = Field(default=0.1, gt=0)
    """Largest fall of one of them below its value before training."""
    patience: int = Field(default=2, ge=1)
    """Entries of the log in a row."""


def _bounds(entry: Mapping[str, Any], settings: WatchSettings) -> list[str]:
    """Return which figures of a training entry are out of bounds, and how."""
    found = []
    for name, least, most in (
        ("kl", None, settings.kl),
        ("length", settings.shortest, settings.longest),
        ("copied", None, settings.copied),
    ):
        value = entry.get(name)
        if value is None:
            continue
        if most is not None and value > most:
            found.append(f"{name} {value:.3g} is above {most:g}")
        if least is not None and value < least:
            found.append(f"{name} {value:.3g} is below {least:g}")
    return found


def _fallen(
    entry: Mapping[str, Any], first: Mapping[str, Any], settings: WatchSettings
) -> list[str]:
    """Return which held-out judges say less than they did before training."""
    found = []
    for judge in settings.held_out:
        name = f"held_out_{judge.name}"
        before, now = first.get(name), entry.get(name)
        if before is not None and now is not None and now < before - settings.held_out_drop:
            found.append(f"{name} fell from {before:.3g} to {now:.3g}")
    return found


def objection(entries: Sequence[Mapping[str, Any]], settings: WatchSettings) -> str | None:
    """Return why a run is not to go on, or None.

    Args:
        entries: of its log, in order.
        settings: the bounds.
    """
    train = [entry for entry in entries if entry["part"] == "train"]
    dev = [entry for entry in entries if entry["part"] == "dev"]
    seen = [_bounds(entry, settings) for entry in train[-settings.patience :]]
    judged = [_fallen(entry, dev[0], settings) for entry in dev[1:][-settings.patience :]]
    for each in (seen, judged):
        if len(each) == settings.patience and all(each):
            return (
                f"{'; '.join(each[-1])}, {settings.patience} times in a row: the reward may be "
                "earned for the wrong reason. Listen to answers; then change the rewards, or the "
                "bounds in [watch]"
            )
    return None
