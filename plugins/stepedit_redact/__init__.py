"""The redact edit: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepedit_core import Edit, hookimpl
from stepedit_redact.edit import Redact

if TYPE_CHECKING:
    import click

    from stepedit_core import Case, PairBuilder, Phrases, Scorer

__all__ = ["Redact"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the edit class."""
    return [Redact]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of pairs with and without hidden words."""
    if edit is not Redact:
        return None
    from stepedit_redact.pairs import RedactPairs

    return RedactPairs()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer of what is heard again and what is still understood."""
    if edit is not Redact:
        return None
    from stepedit_redact.scorer import RedactScorer

    return RedactScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring the built-in cases."""
    if edit is not Redact or suite != "default":
        return None
    from importlib.resources import files

    from stepedit_core import read_cases

    return read_cases(files(__package__).joinpath("cases.jsonl").read_text(encoding="utf-8"))


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit is not Redact:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")


@hookimpl
def stepedit_commands(cli: click.Group) -> None:
    """Add ``stepedit redaction``, which measures what is heard again."""
    from stepedit_redact.commands import redaction

    cli.add_command(redaction)
