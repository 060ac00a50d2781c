"""The scene edit: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepedit_core import Edit, hookimpl
from stepedit_scene.edit import Scene

if TYPE_CHECKING:
    from stepedit_core import Case, PairBuilder, Phrases, Scorer

__all__ = ["Scene"]


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the edit class."""
    return [Scene]


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builder of pairs with surroundings."""
    if edit is not Scene:
        return None
    from stepedit_scene.pairs import ScenePairs

    return ScenePairs()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorer of background and room."""
    if edit is not Scene:
        return None
    from stepedit_scene.scorer import SceneScorer

    return SceneScorer()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring the built-in cases."""
    if edit is not Scene or suite != "default":
        return None
    from importlib.resources import files

    from stepedit_core import read_cases

    return read_cases(files(__package__).joinpath("cases.jsonl").read_text(encoding="utf-8"))


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit is not Scene:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
