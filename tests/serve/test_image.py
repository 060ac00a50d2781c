"""The Dockerfile, as far as it can be tried without Docker."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import stepedit_serve
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from stepedit_serve.command import serve

ROOT = Path(__file__).parents[2]
FILE = Path(stepedit_serve.__file__).parent / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, continued lines joined."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [
        (found[1], found[2])
        for line in text.splitlines()
        if (found := re.match(r"(\S+)\s+(.*)", line))
    ]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for one in instructions():
        if one[0] == "FROM":
            found.append([])
        found[-1].append(one)
    return found


def of(name: str, stage: int | None = None) -> list[str]:
    """Return the arguments of an instruction, of one stage or of all."""
    own = instructions() if stage is None else stages()[stage]
    return [rest for found, rest in own if found == name]


BUILD, RUN = 0, 1
"""Places of the two stages."""


def test_what_is_copied_is_there() -> None:
    for rest in of("COPY", BUILD):
        *sources, _ = shlex.split(rest)
        assert sources
        for source in sources:
            assert (ROOT / source).exists(), source


def test_what_runs_is_what_was_built_and_has_no_build_tools() -> None:
    assert len(stages()) == 2
    base, _, name = of("FROM", BUILD)[0].partition(" AS ")
    assert of("FROM", RUN) == [base]  # an environment of Python works where it was made for
    assert of("COPY", RUN) == [f"--from={name} /opt/stepedit /opt/stepedit"]
    assert "python -m venv /opt/stepedit" in of("RUN", BUILD)[-1]
    assert of("ENV", RUN) == ['PATH="/opt/stepedit/bin:$PATH"']
    assert "build-essential" in " ".join(of("RUN", BUILD))
    commands = " ".join(of("RUN", RUN))
    assert not {"build-essential", "gcc", "g++", "make", "pip"} & set(commands.split())


def test_files_that_its_commands_name() -> None:
    commands = " ".join(of("RUN"))
    for path in re.findall(r"-c (\S+)", commands):
        assert (ROOT / path).is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = re.search(r'"\.\[([\w,-]+)\]"', commands)
    assert asked is not None
    extras = project["optional-dependencies"]
    assert set(asked[1].split(",")) <= extras.keys()
    # One call of pip: a later one would not know of the index that torch came from.
    assert commands.count("pip install") == 1
    assert "--extra-index-url" in commands and "--index-url" not in commands.split()


def test_extras_that_the_service_needs() -> None:
    (asked,) = re.findall(r'"\.\[([\w,-]+)\]"', " ".join(of("RUN")))
    needed = {"serve", "listen", "align", "watermark"}  # answers are marked by default
    assert needed <= set(asked.split(","))
    # What it installs has one version each in the constraints: images of a commit are equal.
    pinned = {
        canonicalize_name(line.split("==")[0])
        for line in (ROOT / "tests/constraints.txt").read_text().splitlines()
        if "==" in line
    }
    pinned |= {canonicalize_name(name) for name in re.findall(r"([\w-]+)==", of("RUN", BUILD)[-1])}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in asked.split(","):
        lines += project["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    names = {
        canonicalize_name(one.name) for one in found if not one.marker or one.marker.evaluate()
    }
    assert names <= pinned, names - pinned


def test_programs_of_debian_that_edits_call() -> None:
    assert "rubberband-cli" in of("RUN", RUN)[0].split()


def test_it_serves_as_no_root_and_where_it_says() -> None:
    (user,) = of("USER", RUN)
    # By its number, a cluster can tell that it is not root.
    assert f"useradd --uid {user} " in of("RUN", RUN)[0] and int(user) > 0
    assert of("EXPOSE", RUN) == ["8765"]
    assert ":8765/health" in of("HEALTHCHECK", RUN)[0]
    asked = " ".join([*of("ENTRYPOINT", RUN), *of("CMD", RUN)])
    options = {name for option in serve.params for name in option.opts}
    assert set(re.findall(r"--[\w-]+", asked)) <= options
    port = next(option for option in serve.params if option.name == "port")
    assert port.default == 8765


def test_its_command_asks_for_keys_first(tmp_path: Path) -> None:
    runner = CliRunner()
    keys = tmp_path / "keys.toml"
    made = runner.invoke(serve, ["--keys", str(keys), "--new-key", "someone"])
    assert made.exit_code == 0, made.output
    assert keys.is_file()
    refused = runner.invoke(serve, ["--host", "0.0.0.0", "--data", str(tmp_path)])
    assert refused.exit_code == 2
    assert "--keys" in refused.output
