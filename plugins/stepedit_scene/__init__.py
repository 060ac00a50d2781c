"""The edits scene, dereverb and separate: hook implementations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stepedit_core import Edit, hookimpl
from stepedit_scene.edit import Scene
from stepedit_scene.removal import Dereverb, Separate

if TYPE_CHECKING:
    from stepedit_core import Case, PairBuilder, Phrases, Scorer

__all__ = ["Dereverb", "Scene", "Separate"]

_EDITS = (Scene, Dereverb, Separate)


@hookimpl
def stepedit_edits() -> Sequence[type[Edit]]:
    """Bring the edit classes."""
    return _EDITS


@hookimpl
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Bring the builders of pairs with and without surroundings."""
    if edit not in _EDITS:
        return None
    from stepedit_scene.pairs import ScenePairs
    from stepedit_scene.removal_pairs import DereverbPairs, SeparatePairs

    builders: dict[type[Edit], type[PairBuilder]] = {
        Scene: ScenePairs,
        Dereverb: DereverbPairs,
        Separate: SeparatePairs,
    }
    return builders[edit]()


@hookimpl
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Bring the scorers of surroundings added and removed."""
    if edit not in _EDITS:
        return None
    from stepedit_scene.removal_scorer import DereverbScorer, SeparateScorer
    from stepedit_scene.scorer import SceneScorer

    scorers: dict[type[Edit], type[Scorer]] = {
        Scene: SceneScorer,
        Dereverb: DereverbScorer,
        Separate: SeparateScorer,
    }
    return scorers[edit]()


@hookimpl
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Bring the built-in cases."""
    if edit not in _EDITS or suite != "default":
        return None
    from importlib.resources import files

    from stepedit_core import read_cases

    text = files(__package__).joinpath("cases.jsonl").read_text(encoding="utf-8")
    return [case for case in read_cases(text) if type(case.edit) is edit]


@hookimpl
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Bring the phrases that people ask for it with."""
    if edit not in _EDITS:
        return None
    from importlib.resources import files

    from stepedit_core import read_phrases

    text = files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8")
    return read_phrases(text, edit.name, f"{__package__}/phrases.toml")
