"""The masked edit: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

from stepedit_core import Case, Edit, PairBuilder, Phrases, Scorer, hookimpl
from stepedit_masked.edit import Masked

__all__ = ["Masked"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the masked edit."""
    return [Masked]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of pairs that differ inside one span."""
    if edit is not Masked:
        return None
    from stepedit_masked.pairs import MaskedPairs

    return MaskedPairs()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer that demands identity outside the spans."""
    if edit is not Masked:
        return None
    from stepedit_masked.scorer import MaskedScorer

    return MaskedScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring cases on packaged recordings."""
    if edit is not Masked or suite != "default":
        return None
    from stepedit_core import read_cases

    return read_cases(files(__name__).joinpath("cases.jsonl").read_text(encoding="utf-8"))


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit is not Masked:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
