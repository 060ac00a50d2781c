"""What an installation brings: names, data files, entry points, and third parties' plugins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stepedit_core
from stepedit_core import embedded

ROOT = Path(__file__).parents[1]
SHOUT = Path(__file__).parent / "fixtures" / "stepedit_shout"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_public_name_can_be_imported() -> None:
    assert len(set(stepedit_core.__all__)) == len(stepedit_core.__all__)
    for name in stepedit_core.__all__:
        assert getattr(stepedit_core, name) is not None
    assert set(stepedit_core.__all__) <= set(dir(stepedit_core))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        stepedit_core.Nonsense  # noqa: B018


def test_the_version_is_written_once_and_again() -> None:
    assert stepedit_core.__version__ == PROJECT["project"]["version"]


def test_declared_entry_points_are_installed() -> None:
    """An editable installation is to be renewed after an entry point is added."""
    declared = PROJECT["project"]["entry-points"]["stepedit"]
    installed = {
        entry.name: entry.value
        for entry in entry_points(group="stepedit")
        if entry.dist is not None and entry.dist.name == "stepedit"
    }
    assert installed == declared


def pinned() -> dict[str, str]:
    """Return the versions of the constraints file, by canonical name."""
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def needs(*groups: str) -> list[Requirement]:
    """Return what the project asks for in some extras, "" for its dependencies."""
    project = PROJECT["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    found = [Requirement(text) for group in groups for text in lists[group]]
    return [need for need in found if need.name != "stepedit"]


def test_constraints() -> None:
    (own,) = [need for need in map(Requirement, PROJECT["project"]["optional-dependencies"]["test"])
              if need.name == "stepedit"]  # fmt: skip
    versions = pinned()
    for need in needs("", "test", *own.extras):
        version = versions.get(canonicalize_name(need.name))
        cure = "install it, then python tests/constraints.py > tests/constraints.txt"
        assert version is not None, f"{need.name} is not in tests/constraints.txt: {cure}"
        assert need.specifier.contains(version), f"{need}, but {version} is tested"


def test_tools_are_pinned() -> None:
    loose = [str(need) for need in needs("test") if not str(need.specifier).startswith("==")]
    assert loose == []


def test_the_light_tier_has_no_heavy_package() -> None:
    lines = (ROOT / "tests" / "light.txt").read_text(encoding="utf-8").splitlines()
    light = {canonicalize_name(line) for line in lines if not line.startswith("#")}
    assert not light & {"torch", "torchaudio", "transformers", "ray", "faster-whisper", "datasets"}
    assert light <= pinned().keys()


def test_data_files_are_there() -> None:
    core = files("stepedit_core")
    for place in ("demo/page.html", "demo/demo.json", "recordings/manifest.jsonl", "py.typed"):
        assert core.joinpath(place).is_file(), place
    names = [item.name for item in core.joinpath("template").iterdir()]
    assert "pyproject.toml.tmpl" in names


def test_the_embedded_model_is_small() -> None:
    assert embedded.shipped_bytes() <= embedded.MAX_BYTES


def run(*command: object, **environment: str) -> str:
    """Run a program and return what it prints; its errors are shown when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd="/",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_third_partys_plugin_is_installed_and_found(tmp_path: Path) -> None:
    """Install the fixture with pip into a fresh environment that sees this one's libraries."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*")) / "site-packages"
    # A .pth line lends this environment's packages, stepedit among them, without copying torch.
    ours = [path for path in sys.path if path.endswith("site-packages")]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in ours)
    (site / "lent.pth").write_text(lines)
    source = shutil.copytree(SHOUT, tmp_path / "stepedit_shout")
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, "--no-deps", "--no-build-isolation", "--quiet", source)
    main = "from stepedit_core.cli import main; main()"
    plugins = json.loads(run(python, "-c", main, "plugins", "--json"))
    shout = next(row for row in plugins if row["name"] == "shout")
    assert (shout["distribution"], shout["version"]) == ("stepedit-shout", "0.3.0")
    assert shout["error"] is None
    checked = run(python, "-c", main, "check", "shout", "--json")
    entry = [r for r in json.loads(checked) if r["check"] == "is_found_by_entry_point"]
    assert entry[0]["status"] == "passed"
    out = tmp_path / "out.wav"
    recording = files("stepedit_core").joinpath("recordings/office.ogg")
    edit = run(python, "-c", main, "edit", recording, "-o", out, "-e", "shout:level=2")
    assert "stepedit-shout 0.3.0" in edit
    assert out.is_file()
    blocked = run(python, "-c", main, "edits", "--json", STEPEDIT_DISABLE="shout")
    assert "shout" not in [row["name"] for row in json.loads(blocked)]


@pytest.mark.slow
def test_a_wheel_holds_code_and_data(tmp_path: Path) -> None:
    import zipfile

    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=unwanted)
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
        "-w", tmp_path, source,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("stepedit-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for path in embedded.FOLDER.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    for place in (
        "stepedit_core/hookspecs.py",
        "stepedit_core/demo/page.html",
        "stepedit_core/demo/demo.json",
        "stepedit_core/recordings/manifest.jsonl",
        "stepedit_core/template/pyproject.toml.tmpl",
        "stepedit_core/template/stepedit___name__/edit.py.tmpl",
        "stepedit_speed/cases.jsonl",
        "stepedit_speed/README.md",
    ):
        assert place in names, place
    assert not [name for name in names if name.startswith(("tests/", "plugins/"))]
