from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from stepedit_core import embedded
from stepedit_core.cli import doctor
from stepedit_core.hookspecs import hookimpl
from stepedit_core.registry.registry import Registry
from tests.cli.calls import call, refused
from tests.conftest import TOYS
from tests.toy_edits import Gain


class Twice:
    @hookimpl
    def stepedit_edits(self) -> list[type[Gain]]:
        return [Gain]


class Louder:
    @hookimpl
    def stepedit_edits(self) -> list[type[Gain]]:
        return [type("More", (Gain,), {"name": "more", "__doc__": "Make it louder."})]


class Broken:
    @hookimpl
    def stepedit_edits(self) -> list[type[Gain]]:
        raise ImportError("no module named zilch")


def test_edits_lists_parameters_routes_and_origin(toys: Registry) -> None:
    result = call("edits")
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("within"))
    assert "inner, spans?" in row
    assert "llm" in row
    assert "(local)" not in result.stdout


def test_edits_as_json_have_a_schema(toys: Registry) -> None:
    rows = {row["name"]: row for row in json.loads(call("edits", "--json").stdout)}
    gain = rows["gain"]
    assert gain["routes"] == ["dsp"]
    assert gain["parameters"]["properties"]["db"]["maximum"] == 12
    assert gain["plugin"] == {"name": "toys", "distribution": "(local)", "version": "0"}
    assert rows["recite"]["needs_transcript"] == ["llm"]


def test_one_edit_is_shown_with_all_its_values(toys: Registry) -> None:
    lines = call("edits", "gain").stdout.splitlines()
    assert lines[0].startswith("gain: ")
    assert "routes: dsp" in lines
    assert "plugin: toys (file or object, not installed)" in lines
    assert any(line.startswith("  values: number at least") and "12" in line for line in lines)
    assert json.loads(call("edits", "gain", "--json").stdout)["name"] == "gain"


def test_an_unknown_edit_is_refused_with_a_suggestion(toys: Registry) -> None:
    assert "did you mean 'gain'" in refused(call("edits", "gian"))


def test_values_without_a_dsp_route_are_named() -> None:
    shown = call("edits", "emotion").stdout
    values = re.search(r"values: (.*)", shown)
    alone = re.search(r"llm route alone: (.*)", shown)
    assert values and len(values[1].split(", ")) == 15
    assert alone and "happy" not in alone[1] and len(alone[1].split(", ")) >= 7


def test_clashes_and_an_empty_registry_are_said(toys: Registry) -> None:
    toys.register(Twice(), "twice")
    result = call("edits")
    assert "left out: edit 'gain' is brought by" in result.stderr
    assert "\ngain" not in result.stdout
    toys.unregister("twice")
    toys.unregister("toys")
    assert "no plugin is loaded" in call("edits").stderr


def test_plugins_shows_errors(toys: Registry) -> None:
    toys.register(Broken(), "broken")
    result = call("plugins")
    assert result.exit_code == 0
    assert "ImportError: no module named zilch" in result.stdout
    rows = {row["name"]: row for row in json.loads(call("plugins", "--json").stdout)}
    assert rows["toys"]["error"] is None
    assert rows["toys"]["edits"] == ["burst", "gain", "hiss", "recite", "vanish", "within"]
    assert "stepedit_load_engine" in rows["toys"]["hooks"]
    assert rows["broken"]["error"] == "ImportError: no module named zilch"


def test_plugins_add_commands(toys: Registry) -> None:
    from stepedit_core.cli import root

    root.cli._asked_plugins = False
    assert "toy-hello" in call("--help").stdout
    assert call("toy-hello").stdout == "hello from a plugin\n"
    root.cli.commands.pop("toy-hello")


def test_broken_plugin_command(toys: Registry) -> None:
    from stepedit_core.cli import root

    class Failing:
        @hookimpl
        def stepedit_commands(self, cli: object) -> None:
            raise RuntimeError("cannot")

    toys.register(Failing(), "failing")
    root.cli._asked_plugins = False
    assert call("--help").exit_code == 0
    assert [i.error for i in toys.plugins() if i.name == "failing"] == ["RuntimeError: cannot"]
    root.cli.commands.pop("toy-hello")


def test_a_plugin_file_is_loaded_before_the_command(toys: Registry) -> None:
    rows = json.loads(call("-p", TOYS, "plugins", "--json").stdout)
    assert "toy_edits" in {row["name"] for row in rows}


def test_the_version_is_the_distributions() -> None:
    assert call("--version").stdout == f"stepedit {metadata.version('stepedit')}\n"


def test_doctor_finds_what_is_here(toys: Registry) -> None:
    result = call("doctor", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["python"]["state"] == "ok"
    assert rows["numpy"]["found"] == metadata.version("numpy")
    assert rows["toys"]["topic"] in ("engine", "plugin")
    assert {"sox", "rubberband", "embedded", "torch"} <= set(rows)


def test_doctor_says_what_the_embedded_model_is(
    toys: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> str:
        rows = json.loads(call("doctor", "--json").stdout)
        return next(str(row["found"]) for row in rows if row["name"] == "embedded")

    assert found() == "no weights in this installation"
    (tmp_path / "config.json").write_text("{}" * 150_000)
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    assert found().startswith("0.3 MB in the package. The embedded model is experimental: ")


def test_doctor_names_the_cure(toys: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "_device", lambda: iter(()))
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["nosuch>=1", 'other; extra == "bench"']
    )
    toys.register(Broken(), "broken")
    result = call("doctor")
    assert result.exit_code == 1
    assert "apt-get install sox" in result.stdout
    assert "pip install 'nosuch'" in result.stdout
    assert "pip install 'stepedit[bench]'" in result.stdout
    assert "STEPEDIT_DISABLE=broken" in result.stdout
    assert "missing or broken: 2 needed things" in result.stdout


def test_doctor_is_short_and_names_each_thing_once(
    toys: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["click", 'click; extra == "bench"', "stepedit"]
    )
    text = call("doctor").stdout
    assert text.count(f"click {metadata.version('click')}") == 1
    assert len(text.splitlines()) < 20
    topics = [line.split()[0] for line in text.splitlines() if line[:1].isalpha()]
    assert topics[:3] == ["system", "device", "library"]


def test_edits_of_one_package_have_no_column_for_it(toys: Registry) -> None:
    lines = call("edits").stdout.splitlines()
    assert lines[0].strip() == "Edits, by toys (file or object, not installed)"
    assert "plugin" not in lines[1].split()
    toys.register(Louder(), "louder")
    lines = call("edits").stdout.splitlines()
    assert lines[0].strip() == "Edits" and "plugin" in lines[1].split()


def test_an_unexpected_error_is_one_line_too(
    toys: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.cli.listing.get_registry", lambda: 1 / 0)
    line = refused(call("edits"), code=1)
    assert "ZeroDivisionError: division by zero; --debug shows where" in line
