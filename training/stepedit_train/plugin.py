"""Hook implementations: the training command, and the rewards that come with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from stepedit_core.reward import Reward


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit train``."""
    from stepedit_train.cli import train

    cli.add_command(train)


@hookimpl
def stepedit_rewards() -> Sequence[type[Reward]]:
    """Bring the scorers of all edits as one reward, and those on codes, words and voice."""
    from stepedit_train.rl.heard_phones import HeardPhones
    from stepedit_train.rl.rewards import (
        Fits,
        Phones,
        RewardModelScore,
        ScorerReward,
        Voice,
        Words,
    )
    from stepedit_train.rl.token_rewards import Consistency, EditSimilarity, InOrder, Length

    return [
        ScorerReward, Fits, Phones, HeardPhones, Words, Voice, RewardModelScore,
        EditSimilarity, Consistency, InOrder, Length,
    ]  # fmt: skip
