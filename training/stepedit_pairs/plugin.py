"""Hook implementations: the commands, corpus readers and margin scorers of pair building."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from stepedit_core.pairs import CorpusReader, MarginScorer


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit pairs`` and its companions."""
    from stepedit_pairs.cli import pairs, pairs_settings
    from stepedit_pairs.row_commands import (
        pairs_encode,
        pairs_export,
        pairs_import,
        pairs_prefer,
        pairs_validate,
    )

    exchange = (pairs_export, pairs_import)
    for command in (pairs, pairs_encode, pairs_settings, *exchange, pairs_prefer, pairs_validate):
        cli.add_command(command)


@hookimpl
def stepedit_corpora() -> Sequence[CorpusReader]:
    """Bring the readers of manifests, folders and public corpora."""
    from stepedit_pairs.corpora import READERS

    return READERS


@hookimpl
def stepedit_margin_scorers() -> Sequence[MarginScorer]:
    """Bring the acoustic and judge-based margin scorers."""
    from stepedit_core.registry.registry import get_registry
    from stepedit_pairs.margins import MARGIN_SCORERS, judge_margins

    return (*MARGIN_SCORERS, *judge_margins(get_registry()))
