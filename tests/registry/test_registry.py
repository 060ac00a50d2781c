from __future__ import annotations

import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from stepedit_core.edit import Edit
from stepedit_core.errors import PluginError, UnknownEditError, suggest
from stepedit_core.hookspecs import hookimpl
from stepedit_core.registry import loading
from stepedit_core.registry.registry import (
    PluginInfo,
    Registry,
    get_edit,
    get_registry,
    register,
    set_registry,
)
from tests import toy_edits
from tests.toy_edits import Gain


class Whisk(Edit):
    """Beat it."""


class WhiskPlugin:
    @hookimpl
    def stepedit_edits(self) -> list[type[Edit]]:
        return [Whisk]


def empty() -> Registry:
    return Registry(disabled=())


Installed = Callable[..., None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Pretend that distributions declare entry points: (name, distribution, loaded object)."""

    class Dist:
        def __init__(self, name: str) -> None:
            self.name, self.version = name, "1.2"

    class Entry:
        def __init__(self, name: str, distribution: str, loads: object) -> None:
            self.name, self.value, self.dist = name, f"{distribution}:{name}", Dist(distribution)
            self.loads = loads

        def load(self) -> object:
            if isinstance(self.loads, Exception):
                raise self.loads
            return self.loads

    def install(*rows: tuple[str, str, object]) -> None:
        entries = [Entry(*row) for row in rows]
        monkeypatch.setattr(loading, "entry_points", lambda group: entries)

    return install


def test_entry_points_are_loaded_with_their_provenance(installed: Installed) -> None:
    installed(("toys", "stepedit-toys", toy_edits), ("whisk", "stepedit-whisk", WhiskPlugin()))
    registry = empty().load()
    assert registry.origin(Gain) == PluginInfo("toys", "stepedit-toys", "1.2")
    assert registry.origin(Gain(db=1)).distribution == "stepedit-toys"
    assert [info.name for info in registry.plugins()] == ["toys", "whisk"]
    assert str(registry.origin(Whisk)) == "plugin 'whisk' of stepedit-whisk 1.2"


def test_broken_plugin(installed: Installed) -> None:
    installed(("toys", "a", toy_edits), ("gone", "b", ImportError("no module named zilch")))
    registry = empty().load()
    assert "gain" in registry.edits()
    broken = {info.name: info.error for info in registry.plugins()}
    assert broken == {"toys": None, "gone": "ImportError: no module named zilch"}
    with pytest.raises(PluginError, match=r"plugin 'gone' of b 1.2 could not be loaded: ImportErr"):
        registry.edit_class("gone")
    with pytest.raises(UnknownEditError, match=r"set aside with an error: gone"):
        registry.edit_class("something")


def test_a_plugin_whose_hook_fails_is_set_aside(installed: Installed) -> None:
    class Failing:
        @hookimpl
        def stepedit_edits(self) -> list[type[Edit]]:
            raise ValueError("broken list")

    installed(("toys", "a", toy_edits), ("bad", "b", Failing()))
    registry = empty().load()
    assert "gain" in registry.edits()
    assert [i.error for i in registry.plugins() if i.name == "bad"] == ["ValueError: broken list"]


def test_two_distributions_with_one_plugin_name(installed: Installed) -> None:
    installed(("whisk", "first", WhiskPlugin()), ("whisk", "second", WhiskPlugin()))
    (info,) = empty().load().plugins()
    assert info.error is not None
    assert "first 1.2 and second 1.2; uninstall one" in info.error


def test_one_entry_point_listed_twice_is_one(installed: Installed) -> None:
    """An editable and a regular installation of one distribution may both be on the path."""
    installed(("whisk", "first", WhiskPlugin()), ("whisk", "first", WhiskPlugin()))
    assert empty().load().plugins()[0].error is None


def test_edit_name_clash(installed: Installed) -> None:
    installed(("one", "first", WhiskPlugin()), ("two", "second", WhiskPlugin()))
    registry = empty().load()
    assert "whisk" not in registry.edits()
    message = "edit 'whisk' is brought by plugin 'one' of first 1.2 and plugin 'two' of second 1.2"
    assert message in registry.clashes()["whisk"]
    with pytest.raises(PluginError, match=r"STEPEDIT_DISABLE"):
        registry.edit_class("whisk")


def test_plugins_are_blocked_by_name(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(("one", "first", WhiskPlugin()), ("two", "second", WhiskPlugin()))
    monkeypatch.setenv("STEPEDIT_DISABLE", "two, unheard_of")
    registry = Registry().load()
    assert registry.disabled == {"two", "unheard_of"} and registry.blocked == {"two"}
    assert registry.blocks_nothing() == [
        "STEPEDIT_DISABLE=unheard_of blocks nothing: no plugin has that name; "
        "`stepedit plugins` lists them"
    ]
    assert registry.edit_class("whisk") is Whisk
    assert registry.register(WhiskPlugin(), "two").name == "two"
    assert registry.edit_class("whisk") is Whisk
    assert "did you mean 'one'?" in Registry(disabled=["ome"]).load().blocks_nothing()[0]
    with pytest.raises(UnknownEditError, match=r"the plugin 'two' is disabled"):
        registry.edit_class("two")


def test_a_misspelt_hook_is_an_error() -> None:
    class Misspelt:
        @hookimpl
        def stepedit_edit(self) -> list[type[Edit]]:
            return [Whisk]

    registry = empty()
    with pytest.raises(PluginError, match=r"stepedit_edit"):
        registry.register(Misspelt(), "misspelt")
    registry.register(WhiskPlugin(), "whisk")
    assert registry.edit_class("whisk") is Whisk


def test_a_misnamed_argument_is_an_error() -> None:
    class Misnamed:
        @hookimpl
        def stepedit_scorer(self, edti: type[Edit]) -> None:
            return None

    with pytest.raises(PluginError, match=r"edti"):
        empty().register(Misnamed(), "misnamed")


def test_an_unmarked_hook_is_an_error() -> None:
    module = ModuleType("unmarked")
    exec("def stepedit_edits(): return []", module.__dict__)
    with pytest.raises(PluginError, match=r"stepedit_edits lacks the @hookimpl mark"):
        empty().register(module)


@pytest.mark.parametrize("plugin", [Whisk, ModuleType("hookless"), "vocal_fry.py"])
def test_a_plugin_that_brings_nothing_is_an_error(plugin: object) -> None:
    registry = empty()
    with pytest.raises(PluginError, match=r"brings nothing: it has no function such as stepedit_e"):
        registry.register(plugin, "whisk")
    registry.register(WhiskPlugin(), "whisk")
    assert list(registry.edits()) == ["whisk"]


def test_a_name_can_be_taken_once() -> None:
    registry = empty()
    registry.register(WhiskPlugin(), "whisk")
    with pytest.raises(PluginError, match=r"has the name of plugin 'whisk'"):
        registry.register(WhiskPlugin(), "whisk")
    registry.unregister("whisk")
    assert not registry.edits()
    registry.register(WhiskPlugin(), "whisk")
    assert list(registry.edits()) == ["whisk"]


def test_a_plugin_file_needs_no_packaging(tmp_path: Path) -> None:
    file = tmp_path / "my_local_plugin.py"
    file.write_text(
        textwrap.dedent(
            """
            from stepedit_core import Edit, hookimpl

            class Fold(Edit):
                "Fold it."

            @hookimpl
            def stepedit_edits():
                return [Fold]
            """
        )
    )
    registry = empty()
    info = registry.register_file(file)
    assert str(info) == "plugin 'my_local_plugin' of (local) 0"
    assert registry.edit_class("fold").summary() == "Fold it."
    assert registry.files == [file.resolve()]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.py", None, "no such plugin file"),
        ("plugin.txt", "x = 1", "ends in .py"),
        ("fails_on_import.py", "import zilch", "ModuleNotFoundError"),
        ("not_python.py", "this is no python", "SyntaxError"),
        ("quitter.py", "raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_bad_plugin_files(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(PluginError, match=message) as caught:
        empty().register_file(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_an_unknown_edit_gets_a_suggestion() -> None:
    registry = empty()
    registry.register(toy_edits, "toys")
    with pytest.raises(UnknownEditError, match=r"unknown edit 'gan'; did you mean 'gain'"):
        registry.edit_class("gan")
    with pytest.raises(UnknownEditError, match=r"`stepedit edits` lists"):
        registry.edit_class("xyzzy")
    assert suggest("spede", ["speed", "style"]) == "; did you mean 'speed'?"
    assert suggest("q", ["speed"]) == ""


def test_exactly_one_answer_per_edit() -> None:
    class Scoring(WhiskPlugin):
        def __init__(self, answer: object) -> None:
            self.answer = answer

        @hookimpl
        def stepedit_scorer(self, edit: type[Edit]) -> object:
            return self.answer if edit is Whisk else None

        @hookimpl
        def stepedit_pair_builder(self, edit: type[Edit]) -> object:
            return self.answer

        @hookimpl
        def stepedit_cases(self, edit: type[Edit], suite: str) -> object:
            return [self.answer] if suite == "default" else None

    registry = empty()
    registry.register(Scoring("first"), "one")
    assert registry.scorer(Whisk) == "first"
    assert registry.pair_builder(Whisk) == "first"
    assert registry.cases(Whisk) == ["first"]
    with pytest.raises(PluginError, match=r"no plugin brings a scorer for 'gain'"):
        registry.scorer(Gain)
    with pytest.raises(PluginError, match=r"no plugin brings a case set 'hard' for 'whisk'"):
        registry.cases(Whisk, "hard")
    registry.register(Scoring("second"), "two")
    with pytest.raises(PluginError, match=r"scorer for 'whisk' .*'one'.* and .*'two'"):
        registry.scorer(Whisk)
    assert registry.scorer(Whisk, pick="two") == "second"
    with pytest.raises(PluginError, match=r"plugin 'three' brings no scorer"):
        registry.scorer(Whisk, pick="three")


def test_a_failing_scorer_hook_names_its_plugin() -> None:
    class Failing:
        @hookimpl
        def stepedit_scorer(self, edit: type[Edit]) -> object:
            raise RuntimeError("cannot load")

    registry = empty()
    registry.register(Failing(), "failing")
    with pytest.raises(PluginError, match=r"plugin 'failing' .* stepedit_scorer failed: cannot"):
        registry.scorer(Whisk)


def test_named_collections_refuse_the_same_name_twice() -> None:
    class Judge:
        name = "ear"

    class Judges:
        @hookimpl
        def stepedit_judges(self) -> list[type]:
            return [Judge]

    registry = empty()
    registry.register(Judges(), "one")
    assert registry.named("stepedit_judges", lambda judge: judge.name) == {"ear": Judge}
    registry.register(Judges(), "two")
    with pytest.raises(PluginError, match=r"'ear' is brought by"):
        registry.named("stepedit_judges", lambda judge: judge.name)


def test_the_process_has_one_registry(toys: Registry) -> None:
    assert get_registry() is toys
    assert get_edit("gain") is Gain
    register(WhiskPlugin(), "whisk")
    assert get_edit("whisk") is Whisk


def test_without_one_the_entry_points_are_loaded() -> None:
    set_registry(None)
    assert get_registry() is get_registry()
    assert {info.name for info in get_registry().plugins()} >= {"speed", "masked"}
    set_registry(None)


def test_an_unregistered_class_is_local() -> None:
    assert empty().origin(Whisk).distribution == "(local)"


def test_hooks_of_a_plugin() -> None:
    registry = empty()
    registry.register(toy_edits, "toys")
    assert registry.hooks_of("toys") == [
        "stepedit_commands",
        "stepedit_edits",
        "stepedit_load_engine",
    ]
    assert registry.hooks_of("absent") == []


def test_load_order_does_not_matter(installed: Installed) -> None:
    rows = [("toys", "a", toy_edits), ("whisk", "b", WhiskPlugin())]
    installed(*rows)
    first = list(empty().load().edits())
    installed(*reversed(rows))
    assert list(empty().load().edits()) == first


def test_real_entry_points() -> None:
    entry = EntryPoint("x", "tests.toy_edits", "stepedit")
    assert loading.distribution_of(entry) == ("(local)", "0")


@pytest.mark.parametrize("answer", [5, [int], ["gain"], [Gain()], [None]])
def test_answer_without_edit_classes(answer: object) -> None:
    class Nonsense:
        @hookimpl
        def stepedit_edits(self) -> object:
            return answer

    registry = empty()
    registry.register(toy_edits, "toys")
    registry.register(Nonsense(), "nonsense")
    assert registry.edit_class("gain") is Gain
    by_name = {info.name: info for info in registry.plugins()}
    assert by_name["toys"].error is None
    assert "edit class" in (by_name["nonsense"].error or "")
