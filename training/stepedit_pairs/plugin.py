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
    from stepedit_pairs.cli import pairs

    cli.add_command(pairs)


@hookimpl
def stepedit_corpora() -> Sequence[CorpusReader]:
    """Bring the readers of manifests, folders and public corpora."""
    from stepedit_pairs.corpora import READERS

    return READERS


@hookimpl
def stepedit_margin_scorers() -> Sequence[MarginScorer]:
    """Bring the acoustic and judge-based margin scorers."""
    from stepedit_pairs.margins import MARGIN_SCORERS

    return MARGIN_SCORERS
