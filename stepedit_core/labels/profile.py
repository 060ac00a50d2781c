"""Acoustic profiles: how a label usually shifts speech away from neutral.

A plugin states the profiles of its labels in its pair builder (``LabelledPairs.profiles``); the
acoustic margin of pairs and the acoustic judge of benchmarks take them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepedit_core.errors import PluginError

if TYPE_CHECKING:
    from stepedit_core.pairs import PairBuilder
    from stepedit_core.registry.registry import Registry

__all__ = ["Cue", "Profile", "builder_of", "profiled_edits", "profiles_of", "table"]


@dataclass(frozen=True)
class Cue:
    """Usual shift of one feature.

    Attributes:
        size: in the unit of the feature in ``AcousticShift``: semitones, dB, or a ratio.
        weight: 1 for what studies agree on and recordings keep, 0.5 for what they disagree on,
            or what level normalisation and recording chains hide.
    """

    size: float
    weight: float = 1.0


@dataclass(frozen=True)
class Profile:
    """Usual shift of a label against neutral.

    Attributes:
        label: the label.
        cues: feature of ``AcousticShift`` to its usual shift.
        source: studies behind directions and sizes.
    """

    label: str
    cues: Mapping[str, Cue]
    source: str


def table(*profiles: Profile) -> dict[str, Profile]:
    """Return profiles by label."""
    return {profile.label: profile for profile in profiles}


def builder_of(registry: Registry, edit: str) -> PairBuilder | None:
    """Return an edit's pair builder, or None where there is none.

    The builder of the plugin that brings the edit goes before other plugins' builders.

    Args:
        registry: knows the edits and their plugins.
        edit: registered name.
    """
    info = registry.edits().get(edit)
    for pick in () if info is None else (info.plugin.name, None):
        assert info is not None
        try:
            return registry.pair_builder(info.edit_class, pick)
        except PluginError:
            continue
    return None


def profiles_of(registry: Registry, edit: str) -> Mapping[str, Profile]:
    """Return the profiles that an edit's pair builder states, by label.

    Args:
        registry: knows the edits and their plugins.
        edit: registered name.

    Returns:
        Empty for an unknown edit, and for one whose labels have no profiles.
    """
    found: Mapping[str, Profile] = getattr(builder_of(registry, edit), "profiles", {})
    return found


def profiled_edits(registry: Registry) -> tuple[str, ...]:
    """Return the names of the edits whose labels have profiles, sorted."""
    return tuple(name for name in registry.edits() if profiles_of(registry, name))
