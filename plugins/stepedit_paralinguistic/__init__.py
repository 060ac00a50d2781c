"""The paralinguistic edit: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

from stepedit_core import Case, Edit, PairBuilder, Phrases, Scorer, hookimpl
from stepedit_paralinguistic.edit import Paralinguistic

__all__ = ["Paralinguistic"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the paralinguistic edit."""
    return [Paralinguistic]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of pairs without and with an event."""
    if edit is not Paralinguistic:
        return None
    from stepedit_paralinguistic.pairs import ParalinguisticPairs

    return ParalinguisticPairs()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer of events and their places."""
    if edit is not Paralinguistic:
        return None
    from stepedit_paralinguistic.scorer import ParalinguisticScorer

    return ParalinguisticScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring cases on packaged recordings."""
    if edit is not Paralinguistic or suite != "default":
        return None
    from stepedit_core import read_cases

    return read_cases(files(__name__).joinpath("cases.jsonl").read_text(encoding="utf-8"))


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit is not Paralinguistic:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
