"""Old module paths of public names: they work for one more release, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "follow_moves", "moved_names"]

MOVED = {
    "acoustic_frames": "dsp.frames",
    "acoustics": "dsp.acoustics",
    "acoustics_profiles": "labels.profile",
    "editing": "llm_route.carrying_out",
    "engines": "engine",
    "forced_alignment": "dsp.alignment",
    "labelled_pairs": "labels.pairs",
    "labelled_scoring": "labels.scoring",
    "llm_route": "llm_route.planning",
    "notation": "chain.notation",
    "result": "chain.result",
    "speech": "recordings",
    "splicing": "dsp.splicing",
    "voice_activity": "dsp.vad",
    "words": "dsp.words",
    "world": "dsp.prosody",
}
"""Module below ``stepedit_core`` to where its public names live now."""


class _MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a moved module under its old name; asked last, after all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for an old name, None for all others."""
        package, _, name = fullname.partition(".")
        if package != "stepedit_core" or name not in MOVED:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return a module that has the names of the moved one, and warn."""
        new = f"stepedit_core.{MOVED[spec.name.partition('.')[2]]}"
        warnings.warn(
            f"{spec.name} has moved to {new}; the old path goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        moved = ModuleType(spec.name)
        moved.__dict__.update(
            {k: v for k, v in vars(importlib.import_module(new)).items() if k[:2] != "__"}
        )
        return moved

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing more: the module is filled when it is made."""


def follow_moves() -> None:
    """Let old module paths be imported; calling it again changes nothing."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())


def moved_names(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` (PEP 562) for public names that have left it.

    Args:
        module: that they were in.
        homes: name to the module that it is in now.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} has moved to {homes[name]}; the old path goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(homes[name]), name)

    return find
