"""Edits of the words: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepedit_core import Edit, hookimpl
from stepedit_text.edit import Delete, Insert, RemoveFillers, Replace, Rewrite, TextEdit

if TYPE_CHECKING:
    from stepedit_core import Case, PairBuilder, Phrases, Scorer

__all__ = ["Delete", "Insert", "RemoveFillers", "Replace", "Rewrite"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the edit classes."""
    return [Delete, Insert, RemoveFillers, Replace, Rewrite]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of pairs whose words differ in one place."""
    if not issubclass(edit, TextEdit):
        return None
    from stepedit_text.pairs import TextPairs

    return TextPairs(edit)


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer of changed words."""
    if not issubclass(edit, TextEdit):
        return None
    from stepedit_text.scorer import TextScorer

    return TextScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring the built-in cases."""
    if not issubclass(edit, TextEdit) or suite != "default":
        return None
    from importlib.resources import files

    from stepedit_core import read_cases

    text = files(__package__).joinpath("cases.jsonl").read_text(encoding="utf-8")
    return [case for case in read_cases(text) if type(case.edit) is edit]


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for each of them with."""
    if not issubclass(edit, TextEdit):
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
