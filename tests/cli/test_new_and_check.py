from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import EditContract
from tests.cli.calls import call, refused
from tests.conftest import TOYS

SHOUT = Path(__file__).parents[1] / "fixtures" / "stepedit_shout"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[Registry]:
    """An empty registry, and no trace of the projects that a test imports."""
    before, path = set(sys.modules), list(sys.path)
    registry = Registry(disabled=())
    set_registry(registry)
    yield registry
    set_registry(None)
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith(("stepedit_vocal_fry", "stepedit_shout")):
            del sys.modules[name]


def test_what_new_makes_passes_check_at_once(tmp_path: Path) -> None:
    made = call("new", "vocal_fry", "--into", tmp_path)
    assert made.exit_code == 0, made.output
    project = tmp_path / "stepedit-vocal-fry"
    names = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    files = [
        "__init__.py",
        "edit.py",
        "prompt.py",
        "pairs.py",
        "scorer.py",
        "cases.jsonl",
        "README.md",
    ]
    assert {f"stepedit_vocal_fry/{name}" for name in files} < names
    assert {"pyproject.toml", "README.md", "tests/test_vocal_fry.py"} < names
    for path in project.rglob("*"):
        assert "__name__" not in path.name
        assert path.is_dir() or "${" not in path.read_text()
    checked = call("check", project)
    assert checked.exit_code == 0, checked.output
    assert "0 failed" in checked.stdout


def test_the_tests_that_new_makes_need_no_installation(tmp_path: Path, fresh: Registry) -> None:
    call("new", "vocal_fry", "--into", tmp_path)
    sys.path.insert(0, str(tmp_path / "stepedit-vocal-fry"))
    module = import_module("stepedit_vocal_fry")

    class Contract(EditContract):
        edits = (module.VocalFry(to="more"),)

    for _ in range(2):
        Contract.subject()
        assert fresh.edit_class("vocal_fry") is module.VocalFry


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Vocal Fry", "; did you mean 'vocal_fry'?"), ("a__b", "; did you mean 'a_b'?")],
)
def test_new_suggests_a_name_only_where_it_would_do(tmp_path: Path, name: str, hint: str) -> None:
    assert hint in refused(call("new", name, "--into", tmp_path))
    for hopeless in ("", "class", "1x", "é"):
        assert "did you mean" not in refused(call("new", hopeless, "--into", tmp_path))


def test_new_says_where_it_cannot_write() -> None:
    assert "/proc/x" in refused(call("new", "vocal_fry", "--into", "/proc/x"))


def test_scaffold_is_linted_and_typed(tmp_path: Path) -> None:
    import ast

    call("new", "vocal_fry", "--into", tmp_path)
    for path in tmp_path.rglob("*.py"):
        tree = ast.parse(path.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert all(function.returns is not None for function in functions), path
        assert max(map(len, path.read_text().splitlines())) <= 100


@pytest.mark.parametrize("name", ["VocalFry", "vocal-fry", "2fast", "", "class", "a__b"])
def test_new_refuses_names_that_are_not_snake_case(tmp_path: Path, name: str) -> None:
    assert "is not a snake_case name" in refused(call("new", name, "--into", tmp_path))
    assert not list(tmp_path.iterdir())


def test_new_refuses_what_exists(tmp_path: Path, fresh: Registry) -> None:
    (tmp_path / "stepedit-fry").mkdir()
    assert "exists already" in refused(call("new", "fry", "--into", tmp_path))
    fresh.register_file(TOYS)
    assert "there is an edit 'gain' already" in refused(call("new", "gain", "--into", tmp_path))
    (tmp_path / "file").write_text("")
    assert "file" in refused(call("new", "fry", "--into", tmp_path / "file"))


def test_check_uninstalled_project() -> None:
    result = call("check", SHOUT, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["status"] for row in rows} == {"passed", "skipped"}
    passed = {row["check"] for row in rows if row["status"] == "passed"}
    assert {"builds_good_pairs", "scores_untouched_input_low", "runs_on_an_engine"} <= passed


def test_check_finds_what_is_wrong(tmp_path: Path) -> None:
    plugin = tmp_path / "careless.py"
    plugin.write_text(
        "import numpy as np\n"
        "from stepedit_core import Edit, Rendered, hookimpl\n"
        "class Careless(Edit):\n"
        "    'Break the rules.'\n"
        "    level: int = 3\n"
        "    def render(self, utterance, rng):\n"
        "        noise = np.random.standard_normal(len(utterance.samples))\n"
        "        return Rendered(utterance.replace(samples=utterance.samples + 9 * noise))\n"
        "@hookimpl\n"
        "def stepedit_edits():\n"
        "    return [Careless]\n"
    )
    result = call("check", plugin)
    assert result.exit_code == 1
    assert "careless.level has no description" in result.stdout
    assert "limit it to 1.000" in result.stdout


def test_check_shows_what_passed_when_asked(tmp_path: Path) -> None:
    result = call("check", SHOUT, "-v")
    assert "survives json" in result.stdout
    assert "passed" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no pyproject.toml"),
        ("not toml [", "not TOML"),
        ("[project]\nname = 'x'\n", "declares nothing under [project.entry-points.stepedit]"),
        ("[project.entry-points.stepedit]\nx = 'stepedit_absent'\n", "ModuleNotFoundError"),
    ],
)
def test_check_refuses_bad_projects(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    assert message in refused(call("check", tmp_path))


def test_check_refuses_unknown_names_and_empty_plugins(tmp_path: Path) -> None:
    assert "unknown edit 'nix'" in refused(call("check", "nix"))
    (tmp_path / "idle.py").write_text("x = 1\n")
    assert "brings nothing: it has no function" in refused(call("check", tmp_path / "idle.py"))
    phrases = "@hookimpl\ndef stepedit_phrases():\n    return []\n"
    (tmp_path / "talks.py").write_text(f"from stepedit_core import hookimpl\n\n\n{phrases}")
    assert "plugin talks brings no edit" in refused(call("check", tmp_path / "talks.py"))


def test_a_file_that_is_loaded_already_can_be_checked(fresh: Registry) -> None:
    fresh.register_file(TOYS)
    assert "has the name of" not in call("check", TOYS).output
