"""What the READMEs say is run: Python blocks on the fake engine, command lines through click."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stepedit_core import hookspecs
from stepedit_core.chain.notation import parse_edit
from stepedit_core.cli.root import cli
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import FakeEngine

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in [
        ROOT / "README.md",
        ROOT / "stepedit_core" / "README.md",
        ROOT / "benchmarks" / "RESULTS.md",
        ROOT / "plugins" / "FEATURES.md",
        *sorted((ROOT / "plugins").rglob("README.md")),
        *sorted((ROOT / "benchmarks").rglob("README.md")),
    ]
    if page.is_file()
]
# Commands that take minutes, or do not end: `bench` runs with -m slow, stages of training in
# tests/train, `serve` in tests/serve.
COSTLY = ("bench", "train", "demo", "serve")
# These need a package that an earlier line installs with pip; test_packaging.py does.
INSTALLED = "vocal_fry"
# Limits are heard by a recogniser, rated by DNSMOS and compared by a speaker model.
HEARD = "--accept"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in some languages."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the stepedit command lines of a page's shell blocks, comments and prompts left out."""
    for text in blocks(page, "", "sh", "bash", "console", "shell"):
        for line in text.replace("\\\n", " ").splitlines():
            bare = line.strip().removeprefix("$ ")
            if bare.startswith("stepedit ") and "..." not in bare:
                words = shlex.split(bare, comments=True)
                cut = [at for at, word in enumerate(words) if word in ("&&", "|", ">", ";")]
                yield words[1 : cut[0] if cut else None]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the recording that the pages speak of; engines are the fake one."""
    from stepedit_core.models import engine as engines

    speech = packaged_speech("garden")
    speech.write(tmp_path / "in.wav")
    for name in ("voice.wav", "talk.wav"):
        speech.write(tmp_path / name)
    (tmp_path / "in.txt").write_text(speech.transcript or "")
    (tmp_path / "stepedit_core").symlink_to(ROOT / "stepedit_core")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines.Engine, "load", lambda *args, **options: FakeEngine())
    monkeypatch.setattr(engines.Engine, "from_config", lambda config: FakeEngine())
    set_registry(Registry(disabled=()).load())
    yield tmp_path
    set_registry(None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, workplace: Path) -> None:
    for text in blocks(page, "python"):
        exec(compile(text, str(page), "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_json_blocks_are_json(page: Path) -> None:
    for text in blocks(page, "json"):
        try:
            json.loads(text)
        except ValueError:
            for line in text.splitlines():
                json.loads(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines_are_valid(page: Path, workplace: Path) -> None:
    for words in command_lines(page):
        context = click.Context(cli, info_name="stepedit")
        while words and words[0].startswith("-"):
            words = words[2:] if words[0] in ("-p", "--plugin") else words[1:]
        if not words:
            continue
        name, command, rest = cli.resolve_command(context, words)
        assert command is not None
        if "--help" in rest or isinstance(command, click.Group):
            continue
        parsed = command.make_context(name, list(rest), parent=context)
        edits = parsed.params.get("edits")
        for text in edits if isinstance(edits, tuple) else ():
            if isinstance(text, str):
                parse_edit(text)


@pytest.mark.parametrize("name", ["README.md", "stepedit_train/README.md"])
def test_command_lines_of_training_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora and models that these pages speak of are not here; commands and settings are."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    page = ROOT / "training" / name
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    indented = [
        shlex.split(line.partition(" > ")[0], comments=True)
        for line in re.findall(r"^ {4}(stepedit .*)$", text, re.M)
    ]
    lines = [*command_lines(page), *(words[1:] for words in indented)]
    assert lines
    for words in lines:
        assert all((ROOT / word).is_file() for word in words if word.endswith(".toml"))
        rest = [word for word in words if not word.startswith("$")]
        parent: click.Context | None = click.Context(cli, info_name="stepedit")
        command: click.Command | None = cli
        while isinstance(command, click.Group):
            assert parent is not None
            found, command, rest = command.resolve_command(parent, rest)
            if isinstance(command, click.Group):
                parent = click.Context(command, info_name=found, parent=parent)
            else:
                assert command is not None
                command.make_context(found, list(rest), parent=parent)


def run(words: list[str]) -> None:
    """Run a command line as a user would, on the fake engine and in this process alone.

    Each worker loads everything anew; tests/cli/test_recordings.py has what several do.
    """
    if "--workers" in words:
        at = words.index("--workers")
        words = [*words[:at], *words[at + 2 :]]
    done = CliRunner().invoke(cli, words, prog_name="stepedit")
    assert done.exit_code == 0, f"stepedit {shlex.join(words)}: {done.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_run(page: Path, workplace: Path) -> None:
    for words in command_lines(page):
        needs_install = INSTALLED in words and words[0] != "new"
        if words[0] not in COSTLY and not needs_install and HEARD not in words:
            run(words)


@pytest.mark.slow
def test_commands_with_limits_run(workplace: Path) -> None:
    lines = [words for page in PAGES for words in command_lines(page) if HEARD in words]
    assert lines
    for words in lines:
        run(words)


@pytest.mark.slow
def test_the_first_pages_benchmark_runs(workplace: Path) -> None:
    lines = [words for words in command_lines(ROOT / "README.md") if words[0] == "bench"]
    assert lines
    for words in lines:
        run(words)


def test_every_feature_has_its_command() -> None:
    page = ROOT / "plugins" / "FEATURES.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in lines if row[:1] == "|"]
    ours = {row[0] for row in rows[2:] if row[-1] != "-"}
    shown = {line.rpartition("# ")[2].strip() for line in "".join(blocks(page, "sh")).splitlines()}
    assert ours == shown


def test_the_first_page_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        file, _, part = target.partition("#")
        if "://" in target:
            continue
        other = (page.parent / file) if file else page
        assert other.exists(), f"{page.relative_to(ROOT)}: {target}"
        if part:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
            assert part in slugs, f"{page.relative_to(ROOT)}: {target}"


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("stepedit_")]
    assert len(hooks) >= 11
    for name in hooks:
        arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
        assert f"`{name}({arguments})`" in text


def test_every_plugin_has_a_page() -> None:
    folders = [path for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").is_file()]
    assert len(folders) >= 10
    assert [path.name for path in folders if not (path / "README.md").is_file()] == []
