"""Where plugins come from: names, distributions, versions, and how clashes are explained."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType

import pluggy

from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError
from stepedit_core.hookspecs import PROJECT

__all__ = [
    "LOCAL",
    "EditInfo",
    "PluginInfo",
    "clash",
    "distribution_of",
    "module_of_file",
    "refuse_other_than_edits",
    "refuse_unmarked",
]

LOCAL = "(local)"


@dataclass(frozen=True)
class PluginInfo:
    """Origin of a plugin, and its error where it does not work.

    Attributes:
        name: entry-point name, or the name it was registered under.
        distribution: the installed distribution that brings it.
        version: the distribution's version.
        error: why it was set aside, or None.
    """

    name: str
    distribution: str = LOCAL
    version: str = "0"
    error: str | None = None

    def __str__(self) -> str:
        """Return name, distribution and version for messages."""
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class EditInfo:
    """A registered edit class and the plugin that brings it."""

    edit_class: type[Edit]
    plugin: PluginInfo


def distribution_of(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of the distribution that declares an entry point."""
    return _name_and_version(entry.dist) if entry.dist else (LOCAL, "0")


@lru_cache(maxsize=64)
def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version; each asked for parses its metadata anew."""
    return distribution.name, distribution.version


def clash(what: str, infos: Iterable[PluginInfo]) -> str:
    """Return the message on a clash of plugins, with what to do about it."""
    both = " and ".join(str(info) for info in infos)
    return f"{what} is brought by {both}; block one with STEPEDIT_DISABLE or pick one by name"


def module_of_file(file: Path) -> ModuleType:
    """Import a plugin from one Python file, under the file's name.

    Raises:
        PluginError: if the file is absent, is no Python file, or fails on import.
    """
    if not file.is_file():
        raise PluginError(f"{file}: no such plugin file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file}: a plugin file ends in .py")
    module = importlib.util.module_from_spec(spec)
    is_new = sys.modules.setdefault(file.stem, module) is module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if is_new:
            sys.modules.pop(file.stem, None)
        raise PluginError(f"{file}: {type(error).__name__}: {error}") from error
    return module


def refuse_other_than_edits(answer: object) -> None:
    """Refuse an answer to ``stepedit_edits`` that is no list of edit classes."""
    if answer is None:
        return
    if not isinstance(answer, list | tuple | set | frozenset):
        kind = type(answer).__name__
        raise PluginError(f"stepedit_edits() returned {kind}, not a list of edit classes")
    for item in answer:
        if not (isinstance(item, type) and issubclass(item, Edit)):
            raise PluginError(f"stepedit_edits() brings {item!r}, which is not an edit class")


def refuse_unmarked(plugin: object, manager: pluggy.PluginManager, info: PluginInfo) -> None:
    """Refuse functions that look like hooks but lack the ``hookimpl`` mark."""
    for name, member in inspect.getmembers(plugin, inspect.isroutine):
        home = getattr(member, "__module__", None)
        is_own = home == getattr(plugin, "__name__", home) or not inspect.ismodule(plugin)
        unmarked = manager.parse_hookimpl_opts(plugin, name) is None
        if name.startswith(f"{PROJECT}_") and is_own and unmarked:
            raise PluginError(f"{info}: {name} lacks the @hookimpl mark and would never be called")
