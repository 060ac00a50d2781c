"""Loading plugins: entry points one by one, objects, files; failures are kept aside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Self

import pluggy

from stepedit_core import hookspecs
from stepedit_core.errors import PluginError, suggest
from stepedit_core.hookspecs import PROJECT
from stepedit_core.registry.checks import (
    LOCAL,
    PluginInfo,
    distribution_of,
    module_of_file,
    refuse_other_than_edits,
    refuse_unmarked,
)

__all__ = ["PluginLoader"]


class PluginLoader:
    """Plugins over one pluggy plugin manager, each with its origin and its error, if any."""

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
        self.hook: Any = self.manager.hook
        """The callers of all hooks, as pluggy makes them."""
        self.files: list[Path] = []
        self._infos: dict[str, PluginInfo] = {}
        self.blocked: set[str] = set()
        """Names of plugins that are there, and disabled."""
        from stepedit_core.registry import builtin

        self.manager.register(builtin, name="core")
        for name in self.disabled:
            self.manager.set_blocked(name)

    def load(self) -> Self:
        """Load every entry point of the group, one by one; failures are kept aside."""
        by_name: dict[str, dict[tuple[str, str], EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            key = (distribution_of(entry)[0], entry.value)
            by_name.setdefault(entry.name, {}).setdefault(key, entry)
        for name, found in sorted(by_name.items()):
            if name in self.disabled:
                self.blocked.add(name)
                continue
            self._load_entries(name, list(found.values()))
        return self

    def _load_entries(self, name: str, found: list[EntryPoint]) -> None:
        """Load the entry point of one name, or set the name aside with its reason."""
        distribution, version = distribution_of(found[0])
        info = PluginInfo(name, distribution, version)
        try:
            if len(found) > 1:
                both = " and ".join(" ".join(distribution_of(entry)) for entry in found)
                raise PluginError(
                    f"two distributions bring a plugin named {name!r}: {both}; uninstall one"
                )
            self._register(found[0].load(), info)
        except (Exception, SystemExit) as error:
            self._set_aside(info, error)

    def _set_aside(self, info: PluginInfo, error: BaseException) -> None:
        """Remember why a plugin does not work."""
        text = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        self._infos[info.name] = PluginInfo(info.name, info.distribution, info.version, text)

    def _register(self, plugin: object, info: PluginInfo) -> None:
        """Register a plugin after checking that each of its hooks exists and is marked."""
        refuse_unmarked(plugin, self.manager, info)
        try:
            self.manager.register(plugin, name=info.name)
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.has_plugin(info.name) and info.name not in self._infos:
                self.manager.unregister(name=info.name)
            raise PluginError(f"{info}: {error}") from error
        if not any(one.plugin_name == info.name for one in self._implementations()):
            self.manager.unregister(name=info.name)
            raise PluginError(
                f"{info} brings nothing: it has no function such as stepedit_edits() with the "
                "mark @hookimpl"
            )
        self._infos[info.name] = info

    def _implementations(self) -> Iterator[pluggy.HookImpl]:
        """Yield the implementations of all hooks."""
        for caller in vars(self.manager.hook).values():
            if isinstance(caller, pluggy.HookCaller):
                yield from caller.get_hookimpls()

    def register(self, plugin: object, name: str | None = None) -> PluginInfo:
        """Register a module, class or object as a plugin, without packaging.

        Raises:
            PluginError: if a hook is unknown, an argument is misnamed, the name is taken, or the
                object brings no hook.
        """
        chosen = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        version = str(getattr(plugin, "__version__", "0"))
        info = PluginInfo(chosen, LOCAL, version)
        if chosen in self.disabled:
            self.blocked.add(chosen)
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
        module = module_of_file(file)
        info = self.register(module, file.stem)
        self.files.append(file.resolve())
        return info

    def blocks_nothing(self) -> list[str]:
        """Return a line for each disabled name that no plugin has, with a near miss."""
        known = self.blocked | set(self._infos)
        return [
            f"STEPEDIT_DISABLE={name} blocks nothing: no plugin has that name"
            + (suggest(name, known) or "; `stepedit plugins` lists them")
            for name in sorted(self.disabled - self.blocked)
        ]

    def unregister(self, name: str) -> None:
        """Remove a plugin by name."""
        self.manager.unregister(name=name)
        self._infos.pop(name, None)

    def _answers(self, hook: str, **arguments: Any) -> list[tuple[PluginInfo, Any]]:
        """Call a collecting hook plugin by plugin, so that each answer has a known origin."""
        answers = []
        for implementation in getattr(self.hook, hook).get_hookimpls():
            info = self._infos.get(implementation.plugin_name, PluginInfo("core"))
            try:
                answer = implementation.function(
                    *(arguments[name] for name in implementation.argnames)
                )
                if hook == "stepedit_edits":
                    refuse_other_than_edits(answer)
            except Exception as error:  # a plugin may raise anything
                if hook != "stepedit_edits":
                    raise PluginError(f"{info}: {hook} failed: {error}") from error
                self._set_aside(info, error)
                continue
            if answer is not None:
                answers.append((info, answer))
        return answers
