"""The denoise edit: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepedit_core import Edit, hookimpl
from stepedit_denoise.edit import Denoise

if TYPE_CHECKING:
    from stepedit_core import Case, PairBuilder, Phrases, Scorer

__all__ = ["Denoise"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the edit class."""
    return [Denoise]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of noisy and reverberant pairs."""
    if edit is not Denoise:
        return None
    from stepedit_denoise.pairs import DenoisePairs

    return DenoisePairs()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer of noise removed."""
    if edit is not Denoise:
        return None
    from stepedit_denoise.scorer import DenoiseScorer

    return DenoiseScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring the built-in cases, and those that compare the backends."""
    names = {"default": "cases.jsonl", "backends": "backends.jsonl"}
    if edit is not Denoise or suite not in names:
        return None
    from importlib.resources import files

    from stepedit_core import read_cases

    return read_cases(files(__package__).joinpath(names[suite]).read_text(encoding="utf-8"))


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit is not Denoise:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
