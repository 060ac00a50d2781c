"""The operation registry: finds plugins, checks them, blocks them, and explains them."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from stepedit_core import hookspecs
from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError, UnknownEditError
from stepedit_core.hookspecs import PROJECT

__all__ = [
    "EditInfo",
    "PluginInfo",
    "Registry",
    "get_edit",
    "get_registry",
    "register",
    "set_registry",
    "suggest",
]

LOCAL = "(local)"


@dataclass(frozen=True)
class PluginInfo:
    """Where a plugin comes from and whether it works.

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


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss, otherwise an empty text."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of the distribution that declares an entry point."""
    return (entry.dist.name, entry.dist.version) if entry.dist else (LOCAL, "0")


class Registry:
    """All plugins known to this process, over one pluggy plugin manager."""

    def __init__(self, *, group: str = PROJECT, disabled: Iterable[str] | None = None) -> None:
        """Create an empty registry with core's own implementations.

        Args:
            group: entry-point group that ``load`` reads.
            disabled: names of plugins to block; the default is STEPEDIT_DISABLE, a list
                separated by commas.
        """
        named = os.environ.get("STEPEDIT_DISABLE", "").split(",") if disabled is None else disabled
        self.group = group
        self.disabled = frozenset(name.strip() for name in named if name.strip())
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.files: list[Path] = []
        self._infos: dict[str, PluginInfo] = {}
        from stepedit_core import builtin

        self.manager.register(builtin, name="core")
        for name in self.disabled:
            self.manager.set_blocked(name)

    @property
    def hook(self) -> Any:
        """The callers of all hooks, as pluggy makes them."""
        return self.manager.hook

    # Loading -----------------------------------------------------------------------------

    def load(self) -> Registry:
        """Load every entry point of the group, one by one; failures are kept aside."""
        by_name: dict[str, dict[tuple[str, str], EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            key = (_distribution(entry)[0], entry.value)
            by_name.setdefault(entry.name, {}).setdefault(key, entry)
        for name, found in sorted(by_name.items()):
            if name in self.disabled:
                continue
            self._load_entries(name, list(found.values()))
        return self

    def _load_entries(self, name: str, found: list[EntryPoint]) -> None:
        """Load the entry point of one name, or set the name aside with its reason."""
        distribution, version = _distribution(found[0])
        info = PluginInfo(name, distribution, version)
        try:
            if len(found) > 1:
                both = " and ".join(" ".join(_distribution(entry)) for entry in found)
                raise PluginError(
                    f"two distributions bring a plugin named {name!r}: {both}; uninstall one"
                )
            self._register(found[0].load(), info)
        except Exception as error:
            self._set_aside(info, error)

    def _set_aside(self, info: PluginInfo, error: Exception) -> None:
        """Remember why a plugin does not work."""
        text = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        self._infos[info.name] = PluginInfo(info.name, info.distribution, info.version, text)

    def _register(self, plugin: object, info: PluginInfo) -> None:
        """Register a plugin after checking that each of its hooks exists and is marked."""
        _refuse_unmarked(plugin, self.manager)
        try:
            self.manager.register(plugin, name=info.name)
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.has_plugin(info.name) and info.name not in self._infos:
                self.manager.unregister(name=info.name)
            raise PluginError(f"{info}: {error}") from error
        self._infos[info.name] = info

    def register(self, plugin: object, name: str | None = None) -> PluginInfo:
        """Register a module, class or object as a plugin, without packaging.

        Raises:
            PluginError: if a hook is unknown, an argument is misnamed or the name is taken.
        """
        chosen = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        version = str(getattr(plugin, "__version__", "0"))
        info = PluginInfo(chosen, LOCAL, version)
        if chosen in self.disabled:
            return info
        known = self._infos.get(chosen)
        if known is not None:
            raise PluginError(f"{info} has the name of {known}; rename one")
        self._register(plugin, info)
        return info

    def register_file(self, path: str | os.PathLike[str]) -> PluginInfo:
        """Register a plugin from one Python file.

        Raises:
            PluginError: if the file is absent, fails on import, or breaks the hook contract.
        """
        file = Path(path)
        if not file.is_file():
            raise PluginError(f"{file}: no such plugin file")
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise PluginError(f"{file}: a plugin file ends in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(file.stem, module)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise PluginError(f"{file}: {type(error).__name__}: {error}") from error
        info = self.register(module, file.stem)
        self.files.append(file.resolve())
        return info

    def unregister(self, name: str) -> None:
        """Remove a plugin by name."""
        self.manager.unregister(name=name)
        self._infos.pop(name, None)

    # Looking up --------------------------------------------------------------------------

    def plugins(self) -> list[PluginInfo]:
        """Return all plugins, sorted by name, the broken ones with their errors."""
        self._answers("stepedit_edits")
        return sorted(self._infos.values(), key=lambda info: info.name)

    def _answers(self, hook: str, **arguments: Any) -> list[tuple[PluginInfo, Any]]:
        """Call a collecting hook plugin by plugin, so that each answer has a known origin."""
        answers = []
        for implementation in getattr(self.hook, hook).get_hookimpls():
            info = self._infos.get(implementation.plugin_name, PluginInfo("core"))
            try:
                answer = implementation.function(
                    *(arguments[name] for name in implementation.argnames)
                )
            except Exception as error:
                if hook != "stepedit_edits":
                    raise PluginError(f"{info}: {hook} failed: {error}") from error
                self._set_aside(info, error)
                continue
            if answer is not None:
                answers.append((info, answer))
        return answers

    def _all_edits(self) -> dict[str, list[EditInfo]]:
        """Return the edits of all plugins by name, clashes included."""
        found: dict[str, list[EditInfo]] = {}
        for info, classes in self._answers("stepedit_edits"):
            for edit_class in classes:
                found.setdefault(edit_class.name, []).append(EditInfo(edit_class, info))
        return found

    def edits(self) -> dict[str, EditInfo]:
        """Return the usable edits by name, sorted; names that clash are left out."""
        found = self._all_edits()
        return {name: infos[0] for name, infos in sorted(found.items()) if len(infos) == 1}

    def clashes(self) -> dict[str, str]:
        """Return a message for every edit name that more than one plugin brings."""
        return {
            name: _clash(f"edit {name!r}", [info.plugin for info in infos])
            for name, infos in self._all_edits().items()
            if len(infos) > 1
        }

    def edit_info(self, name: str) -> EditInfo:
        """Return the class and origin of an edit.

        Raises:
            PluginError: if its plugin is broken, or two plugins bring it.
            UnknownEditError: if nobody brings it; near misses are suggested.
        """
        found = self._all_edits()
        infos = found.get(name, [])
        if len(infos) == 1:
            return infos[0]
        if infos:
            raise PluginError(_clash(f"edit {name!r}", [info.plugin for info in infos]))
        broken = [info for info in self._infos.values() if info.error]
        for info in broken:
            if info.name == name:
                raise PluginError(f"{info} could not be loaded: {info.error}")
        hint = suggest(name, found) or "; `stepedit edits` lists what can be done"
        if broken:
            names = ", ".join(sorted(info.name for info in broken))
            hint += f" (plugins set aside with an error: {names}; see `stepedit plugins`)"
        if name in self.disabled:
            hint += f" (the plugin {name!r} is disabled)"
        raise UnknownEditError(f"unknown edit {name!r}{hint}")

    def edit_class(self, name: str) -> type[Edit]:
        """Return the class of an edit; raises as ``edit_info`` does."""
        return self.edit_info(name).edit_class

    def origin(self, edit: type[Edit] | Edit) -> PluginInfo:
        """Return the plugin that brings an edit; an unregistered class is ``(local)``."""
        edit_class = edit if isinstance(edit, type) else type(edit)
        for infos in self._all_edits().values():
            for info in infos:
                if info.edit_class is edit_class:
                    return info.plugin
        return PluginInfo(edit_class.__module__)

    def one(self, hook: str, what: str, pick: str | None = None, **arguments: Any) -> Any:
        """Return the only answer to a hook of which exactly one plugin may answer.

        Args:
            hook: its name.
            what: what the answer is, for messages, such as ``scorer for 'speed'``.
            pick: name of the plugin to take where several answer.
            arguments: the hook's arguments.

        Raises:
            PluginError: if several answer and none is picked, or the picked one does not.
        """
        answers = self._answers(hook, **arguments)
        if pick is not None:
            for info, answer in answers:
                if info.name == pick:
                    return answer
            raise PluginError(f"plugin {pick!r} brings no {what}")
        if len(answers) > 1:
            raise PluginError(_clash(what, [info for info, _ in answers]))
        if not answers:
            raise PluginError(f"no plugin brings a {what}")
        return answers[0][1]

    def pair_builder(self, edit: type[Edit], pick: str | None = None) -> Any:
        """Return the pair builder of an edit class; raises PluginError as ``one`` does."""
        return self.one("stepedit_pair_builder", f"pair builder for {edit.name!r}", pick, edit=edit)

    def scorer(self, edit: type[Edit], pick: str | None = None) -> Any:
        """Return the scorer of an edit class; raises PluginError as ``one`` does."""
        return self.one("stepedit_scorer", f"scorer for {edit.name!r}", pick, edit=edit)

    def cases(self, edit: type[Edit], suite: str = "default", pick: str | None = None) -> list[Any]:
        """Return the benchmark cases of an edit class; raises PluginError as ``one`` does."""
        what = f"case set {suite!r} for {edit.name!r}"
        return list(self.one("stepedit_cases", what, pick, edit=edit, suite=suite))

    def named(self, hook: str, key: Callable[[Any], str]) -> Mapping[str, Any]:
        """Return what a collecting hook brings, by name.

        Raises:
            PluginError: if two plugins bring the same name.
        """
        found: dict[str, tuple[PluginInfo, Any]] = {}
        for info, items in self._answers(hook):
            for item in items:
                name = key(item)
                if name in found:
                    raise PluginError(_clash(repr(name), [found[name][0], info]))
                found[name] = (info, item)
        return {name: item for name, (_, item) in sorted(found.items())}


def _clash(what: str, infos: Iterable[PluginInfo]) -> str:
    """Say who clashes over what, and what to do about it."""
    both = " and ".join(str(info) for info in infos)
    return f"{what} is brought by {both}; block one with STEPEDIT_DISABLE or pick one by name"


def _refuse_unmarked(plugin: object, manager: pluggy.PluginManager) -> None:
    """Refuse functions that look like hooks but lack the ``hookimpl`` mark."""
    for name, member in inspect.getmembers(plugin, inspect.isroutine):
        home = getattr(member, "__module__", None)
        is_own = home == getattr(plugin, "__name__", home) or not inspect.ismodule(plugin)
        unmarked = manager.parse_hookimpl_opts(plugin, name) is None
        if name.startswith(f"{PROJECT}_") and is_own and unmarked:
            raise PluginError(f"{name} lacks the @hookimpl mark and would never be called")


_default: Registry | None = None


def get_registry() -> Registry:
    """Return the process's registry, loading the entry points on first use."""
    global _default
    if _default is None:
        _default = Registry().load()
    return _default


def set_registry(registry: Registry | None) -> None:
    """Replace the process's registry; None makes the next use load a fresh one."""
    global _default
    _default = registry


def register(plugin: object, name: str | None = None) -> PluginInfo:
    """Register a plugin object in the process's registry."""
    return get_registry().register(plugin, name)


def get_edit(name: str) -> type[Edit]:
    """Return a registered edit class by name; raises as ``Registry.edit_info`` does."""
    return get_registry().edit_class(name)
