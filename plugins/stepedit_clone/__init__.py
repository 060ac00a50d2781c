"""The clone edit: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

from stepedit_clone.edit import Clone
from stepedit_core import Case, Edit, PairBuilder, Phrases, Scorer, hookimpl

__all__ = ["Clone"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the clone edit."""
    return [Clone]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of prompt and target pairs of one speaker."""
    if edit is not Clone:
        return None
    from stepedit_clone.pairs import ClonePairs

    return ClonePairs()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer of words and voice."""
    if edit is not Clone:
        return None
    from stepedit_clone.scorer import CloneScorer

    return CloneScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring cases on packaged recordings."""
    if edit is not Clone or suite != "default":
        return None
    from stepedit_core import read_cases

    return read_cases(files(__name__).joinpath("cases.jsonl").read_text(encoding="utf-8"))


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit is not Clone:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
