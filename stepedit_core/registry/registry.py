"""The operation registry: finds plugins, checks them, blocks them, and explains them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from stepedit_core.edit import Edit
from stepedit_core.errors import EngineError, PluginError, UnknownEditError, suggest
from stepedit_core.registry.checks import (
    LOCAL,
    EditInfo,
    PluginInfo,
    clash,
)
from stepedit_core.registry.loading import PluginLoader

if TYPE_CHECKING:
    import click

    from stepedit_core.config import EngineConfig
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.pairs import PairBuilder
    from stepedit_core.phrases import Phrases
    from stepedit_core.scoring import Case, Scorer

__all__ = [
    "LOCAL",
    "EditInfo",
    "PluginInfo",
    "Registry",
    "get_edit",
    "get_registry",
    "load_engine",
    "register",
    "set_registry",
]


class Registry(PluginLoader):
    """All plugins known to this process, and what they bring."""

    _owners: Mapping[type[Edit], PluginInfo] = {}
    _owners_of: Mapping[str, PluginInfo] = {}

    def plugins(self) -> list[PluginInfo]:
        """Return all plugins, sorted by name, the broken ones with their errors."""
        self._answers("stepedit_edits")
        return sorted(self._infos.values(), key=lambda info: info.name)

    def hooks_of(self, name: str) -> list[str]:
        """Return the names of the hooks that a plugin implements."""
        plugin = self.manager.get_plugin(name)
        callers = (self.manager.get_hookcallers(plugin) or []) if plugin is not None else []
        return sorted(caller.name for caller in callers)

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
            name: clash(f"edit {name!r}", [info.plugin for info in infos])
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
            raise PluginError(clash(f"edit {name!r}", [info.plugin for info in infos]))
        broken = self._infos.get(name)
        if broken is not None and broken.error:
            raise PluginError(f"{broken} could not be loaded: {broken.error}")
        hint = suggest(name, found) or "; `stepedit edits` lists what can be done"
        raise UnknownEditError(f"unknown edit {name!r}{hint}{self._absent(name)}")

    def _absent(self, name: str) -> str:
        """Return which plugins are broken or blocked, any of which may bring an unknown edit."""
        broken = ", ".join(sorted(info.name for info in self._infos.values() if info.error))
        text = f" (plugins set aside with an error: {broken}; see `stepedit plugins`)"
        disabled = f" (the plugin {name!r} is disabled)" if name in self.disabled else ""
        return (text if broken else "") + disabled

    def edit_class(self, name: str) -> type[Edit]:
        """Return the class of an edit; raises as ``edit_info`` does."""
        return self.edit_info(name).edit_class

    def info(self, name: str) -> PluginInfo:
        """Return the record of a plugin, by its registered name."""
        return self._infos.get(name, PluginInfo(name))

    def origin(self, edit: type[Edit] | Edit) -> PluginInfo:
        """Return the plugin that brings an edit; an unregistered class is ``(local)``."""
        edit_class = edit if isinstance(edit, type) else type(edit)
        loaded = dict(self._infos)
        if loaded != self._owners_of or edit_class not in self._owners:
            self._owners = {
                info.edit_class: info.plugin
                for infos in self._all_edits().values()
                for info in infos
            }
            self._owners_of = dict(self._infos)
        return self._owners.get(edit_class) or PluginInfo(edit_class.__module__)

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
            raise PluginError(clash(what, [info for info, _ in answers]))
        if not answers:
            raise PluginError(f"no plugin brings a {what}")
        return answers[0][1]

    def pair_builder(self, edit: type[Edit], pick: str | None = None) -> PairBuilder:
        """Return the pair builder of an edit class; raises PluginError as ``one`` does."""
        what = f"pair builder for {edit.name!r}"
        return cast("PairBuilder", self.one("stepedit_pair_builder", what, pick, edit=edit))

    def scorer(self, edit: type[Edit], pick: str | None = None) -> Scorer:
        """Return the scorer of an edit class; raises PluginError as ``one`` does."""
        what = f"scorer for {edit.name!r}"
        return cast("Scorer", self.one("stepedit_scorer", what, pick, edit=edit))

    def phrases(self, edit: type[Edit], pick: str | None = None) -> Phrases:
        """Return the phrases that ask for an edit class; raises PluginError as ``one`` does."""
        what = f"set of phrases for {edit.name!r}"
        return cast("Phrases", self.one("stepedit_phrases", what, pick, edit=edit))

    def cases(
        self, edit: type[Edit], suite: str = "default", pick: str | None = None
    ) -> list[Case]:
        """Return the benchmark cases of an edit class; raises PluginError as ``one`` does."""
        what = f"case set {suite!r} for {edit.name!r}"
        return list(self.one("stepedit_cases", what, pick, edit=edit, suite=suite))

    def add_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands; one that fails is set aside with its error."""
        for implementation in self.hook.stepedit_commands.get_hookimpls():
            info = self._infos.get(implementation.plugin_name, PluginInfo("core"))
            try:
                implementation.function(*([cli] if implementation.argnames else []))
            except Exception as error:  # a plugin may raise anything
                self._set_aside(info, error)

    def named(self, hook: str, key: Callable[[Any], str]) -> Mapping[str, Any]:
        """Return the objects of a collecting hook, by name.

        Raises:
            PluginError: if two plugins bring the same name.
        """
        found: dict[str, tuple[PluginInfo, Any]] = {}
        for info, items in self._answers(hook):
            for item in items:
                name = key(item)
                if name in found:
                    raise PluginError(clash(repr(name), [found[name][0], info]))
                found[name] = (info, item)
        return {name: item for name, (_, item) in sorted(found.items())}


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


def load_engine(config: EngineConfig | str) -> SpeechEngine:
    """Load an engine by asking plugins first and core's own loader last.

    Args:
        config: a configuration, or the name, folder or hub id of one with the usual settings.

    Raises:
        EngineError: if nobody can load what the configuration names.
    """
    if isinstance(config, str):
        from stepedit_core.config import engine_config

        config = engine_config(name_or_path=config)
    engine = get_registry().hook.stepedit_load_engine(config=config)
    if engine is None:
        raise EngineError(f"no engine {config.name_or_path!r}: give a folder, a hub id or a name")
    return engine  # type: ignore[no-any-return]
