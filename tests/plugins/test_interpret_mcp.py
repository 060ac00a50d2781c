from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from stepedit_core import Chain, Utterance, packaged_speech
from stepedit_core.cli.root import cli
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import speech_like

pytest.importorskip("mcp")
import anyio
import jsonschema
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from stepedit_interpret.mcp_server.folder import Folder
from stepedit_interpret.mcp_server.server import make_server

MAIN = ("-c", "from stepedit_core.cli import main; main()")
TOOLS = ["list_edits", "align", "interpret", "edit", "undo", "measure"]
FASTER = {"edits": [{"edit": "speed", "factor": 2.0}], "schema_version": 1}


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    set_registry(Registry(disabled=()).load())
    yield
    set_registry(None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with one recording, beside a file that nobody may read."""
    folder = tmp_path / "root"
    folder.mkdir()
    speech_like().write(folder / "in.wav")
    speech_like().write(tmp_path / "secret.wav")
    return folder


@pytest.fixture
def folder(root: Path) -> Iterator[Folder]:
    """Return the folder as the tools see it."""
    made = Folder(root)
    yield made
    made.close()


def using(server: Any, work: Callable[[Client], Awaitable[Any]]) -> Any:
    """Run some work with the SDK's client."""

    async def run() -> Any:
        with anyio.fail_after(60):
            async with Client(server) as client:
                return await work(client)

    return anyio.run(run)


def asked(folder: Folder, tool_name: str, /, **arguments: Any) -> Any:
    """Return the structured content of a call, held against the tool's output schema."""

    async def work(client: Client) -> Any:
        tool = {one.name: one for one in (await client.list_tools()).tools}[tool_name]
        found = await client.call_tool(tool_name, arguments)
        assert not found.is_error, found.content
        assert tool.output_schema is not None
        jsonschema.validate(found.structured_content, tool.output_schema)
        return found.structured_content

    return using(make_server(folder), work)


def refused(folder: Folder, tool_name: str, /, **arguments: Any) -> str:
    """Return the line with which a call is refused."""

    async def work(client: Client) -> Any:
        return await client.call_tool(tool_name, arguments)

    found = using(make_server(folder), work)
    assert found.is_error
    (line,) = [one.text for one in found.content]
    assert "Traceback" not in line
    return str(line)


def test_tools_are_described(folder: Folder) -> None:
    async def work(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = using(make_server(folder), work)
    assert [one.name for one in tools] == TOOLS
    for one in tools:
        assert one.description
        assert one.output_schema["type"] == "object"
        jsonschema.Draft202012Validator.check_schema(one.input_schema)
        assert one.annotations.read_only_hint is (one.name not in ("edit", "undo"))
        assert one.annotations.open_world_hint is False


def test_list_edits(folder: Folder) -> None:
    every = asked(folder, "list_edits")["edits"]
    assert {"speed", "volume", "replace"} <= {one["name"] for one in every}
    (speed,) = asked(folder, "list_edits", name="speed")["edits"]
    assert speed["parameters"]["properties"]["factor"]
    assert "speed it up" in speed["examples"]
    assert "no edit 'sing'" in refused(folder, "list_edits", name="sing")


def test_interpret(folder: Folder) -> None:
    found = asked(folder, "interpret", requests=["slower", "a little less"], recording="in.wav")
    assert found["explanation"] == [
        {"edit": "speed:factor=0.9", "where": None, "read_from": "slower"}
    ]
    choices = asked(folder, "interpret", requests=["lower it"])
    assert choices["chain"] is None
    assert len(choices["alternatives"]) == 2
    assert "no installed edit" in refused(folder, "interpret", requests=["play it backwards"])


def test_edit_and_undo(folder: Folder, root: Path) -> None:
    before = sf.info(str(root / "in.wav")).duration
    done = asked(folder, "edit", recording="in.wav", output="out.wav", requests=["twice as fast"])
    assert abs(done["seconds_after"] - before / 2) < 0.1
    assert done["steps"][0]["route"] == "dsp"
    first = (root / "out.wav").read_bytes()
    again = {"recording": "out.wav", "output": "out.wav", "chain": FASTER}
    assert "exists; set overwrite" in refused(folder, "edit", **again)
    asked(folder, "edit", **again, overwrite=True)
    assert (root / "out.wav").read_bytes() != first
    assert asked(folder, "undo", output="out.wav")["restored"] is True
    assert (root / "out.wav").read_bytes() == first
    assert asked(folder, "undo", output="out.wav")["restored"] is False
    assert sorted(one.name for one in root.iterdir()) == ["in.wav"]
    assert "no edit of this session" in refused(folder, "undo", output="out.wav")
    assert "no edit of this session" in refused(folder, "undo", output="in.wav")


def test_undo_keeps_foreign_changes(folder: Folder, root: Path) -> None:
    asked(folder, "edit", recording="in.wav", output="out.wav", chain=FASTER)
    speech_like().write(root / "out.wav")
    assert "has changed" in refused(folder, "undo", output="out.wav")
    assert (root / "out.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "either requests or chain"),
        ({"requests": ["faster"], "chain": FASTER}, "either requests or chain"),
        ({"requests": ["faster and slower"]}, "contradict"),
        ({"requests": ["lower it"]}, "several things"),
        ({"chain": {"edits": [{"edit": "sing"}], "schema_version": 1}}, "sing"),
        ({"chain": {"edits": [], "schema_version": 1}}, "empty"),
        ({"chain": FASTER, "output": "out.txt"}, "out.txt"),
        ({"chain": FASTER, "output": "no/out.wav"}, "its folder does not exist"),
        ({"chain": FASTER, "output": "out.txt"}, "out.txt: its suffix is none of .wav"),
        ({"chain": FASTER, "seed": -1}, "seed"),
    ],
)
def test_wrong_edits_write_nothing(
    folder: Folder, root: Path, arguments: dict[str, Any], why: str
) -> None:
    assert why in refused(
        folder, "edit", **{"recording": "in.wav", "output": "out.wav", **arguments}
    )
    assert [one.name for one in root.iterdir()] == ["in.wav"]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "sub/../../secret.wav",
        "/etc/passwd",
        "..",
        ".",
        "",
        "~/secret.wav",
        "in.wav\0.txt",
        "link.wav",
        "linked/secret.wav",
        "fifo.wav",
        "sub",
        "absent.wav",
        "a" * 5000,
    ],
)
def test_only_plain_files_below_the_root(folder: Folder, root: Path, name: str) -> None:
    (root / "sub").mkdir()
    (root / "link.wav").symlink_to(root.parent / "secret.wav")
    (root / "linked").symlink_to(root.parent)
    os.mkfifo(root / "fifo.wav")
    before = sorted(root.rglob("*"))
    refused(folder, "measure", recording=name)
    refused(folder, "align", recording=name, text="hello")
    if name != "absent.wav":
        refused(folder, "edit", recording="in.wav", output=name, chain=FASTER, overwrite=True)
    assert sorted(root.rglob("*")) == before
    assert (root / "link.wav").is_symlink()


BAD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("edit", {}),
    ("edit", {"recording": 3, "output": "out.wav", "chain": FASTER}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": "speed"}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": {"edits": float("nan")}}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": FASTER, "seed": float("nan")}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": FASTER, "seed": 2**63}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": FASTER, "seed": "one"}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": FASTER, "sed": 1}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "requests": "faster" * 9000}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "requests": ["a"] * 17}),
    ("edit", {"recording": "in.wav", "output": "\ud800.wav", "chain": FASTER}),
    ("edit", {"recording": "\ud800.wav", "output": "out.wav", "chain": FASTER}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": FASTER, "text": "a\0b"}),
    ("edit", {"recording": "in.wav", "output": "out.wav", "chain": FASTER, "language": "?" * 999}),
    ("align", {"recording": ["in.wav"]}),
    ("align", {"recording": "in.wav", "text": "?!"}),
    ("interpret", {"requests": []}),
    ("interpret", {"requests": ["\x1b[31m faster \n" * 2000]}),
    ("interpret", {"requests": [None]}),
    ("list_edits", {"name": "x" * 5000}),
    ("measure", {"recording": "in.wav", "reference": 0}),
    ("undo", {"output": None}),
]


@pytest.mark.parametrize(("name", "arguments"), BAD_ARGUMENTS)
def test_bad_arguments(folder: Folder, root: Path, name: str, arguments: dict[str, Any]) -> None:
    line = refused(folder, name, **arguments)
    assert line and "\n" not in line and "pydantic" not in line and len(line) <= 450
    assert [one.name for one in root.iterdir()] == ["in.wav"]


def test_edits_open_no_files(folder: Folder, root: Path) -> None:
    chain = {"edits": [{"edit": "voice", "reference": str(root / "in.wav")}]}
    refused(folder, "edit", recording="in.wav", output="out.wav", chain=chain)
    assert not (root / "out.wav").exists()


def test_cancelled_edits_write_nothing(
    folder: Folder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    carry_out = Chain.__call__

    def slow(*args: Any, **settings: Any) -> Any:
        running.set()
        go_on.wait(30)
        ended.set()
        return carry_out(*args, **settings)

    monkeypatch.setattr(Chain, "__call__", slow)

    async def work(client: Client) -> None:
        arguments = {"recording": "in.wav", "output": "out.wav", "chain": FASTER}
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "edit", arguments)
            while not running.is_set():
                await anyio.sleep(0.01)
            found = await client.call_tool("interpret", {"requests": ["make it louder"]})
            assert not found.is_error and not ended.is_set()  # not kept waiting by the edit
            threading.Timer(0.3, go_on.set).start()
            group.cancel_scope.cancel()
        found = await client.call_tool("measure", {"recording": "in.wav"})  # waits its turn
        assert not found.is_error and ended.is_set()

    using(make_server(folder), work)
    assert [one.name for one in root.iterdir()] == ["in.wav"]


def test_errors_name_no_folder(folder: Folder, root: Path) -> None:
    (root / "bad.wav").write_bytes(b"none")
    (root / "made").mkdir()
    for arguments in ({"recording": "bad.wav"}, {"recording": "made"}):
        assert str(root) not in refused(folder, "measure", **arguments)


def test_measure(folder: Folder, root: Path) -> None:
    speech = Utterance.read(root / "in.wav")
    speech.replace(samples=(speech.samples * np.float32(0.5))).write(root / "soft.wav")
    found = asked(folder, "measure", recording="soft.wav", reference="in.wav")
    whole = asked(folder, "measure", recording="in.wav")
    assert found["loudness_lufs"] == pytest.approx(whole["loudness_lufs"] - 6.02, abs=0.1)
    assert found["change"]["level"] == pytest.approx(-6.02, abs=0.1)
    assert whole["change"] is None


def test_align_and_edit_a_region(folder: Folder, root: Path) -> None:
    speech = packaged_speech("garden")
    speech.write(root / "garden.wav")
    about = {"recording": "garden.wav", "text": speech.transcript, "language": "en"}
    words = asked(folder, "align", **about)["words"]
    assert " ".join(one["text"] for one in words) == speech.transcript.rstrip(".")
    last = words[-1]
    louder = f'make the word "{last["text"]}" louder'
    asked(folder, "edit", **about, output="out.wav", requests=[louder])
    before, after = Utterance.read(root / "garden.wav"), Utterance.read(root / "out.wav")
    until = round((last["start"] - 0.1) * before.sample_rate)
    assert np.array_equal(before.samples[:until], after.samples[:until])
    assert not np.array_equal(before.samples, after.samples)


def test_over_http(folder: Folder) -> None:
    app = make_server(folder).streamable_http_app(host="127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def work(client: Client) -> Any:
        found = await client.call_tool("interpret", {"requests": ["a bit slower"]})
        return found.structured_content

    try:
        found = using(f"http://127.0.0.1:{port}/mcp", work)
    finally:
        server.should_exit = True
        thread.join(10)
    assert found["chain"]["edits"][0]["factor"] == 0.9


def test_over_stdio(root: Path) -> None:
    command = StdioServerParameters(
        command=sys.executable, args=[*MAIN, "mcp", "--root", str(root)]
    )

    async def work(client: Client) -> Any:
        names = [one.name for one in (await client.list_tools()).tools]
        call = {"recording": "in.wav", "output": "out.wav", "requests": ["make it louder"]}
        return names, await client.call_tool("edit", call)

    names, done = using(stdio_client(command), work)
    assert names == TOOLS
    assert done.structured_content["explanation"][0]["edit"] == "volume:db=6.0"
    assert (root / "out.wav").is_file()


def test_command_needs_a_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *MAIN, "mcp", "--root", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_command_needs_an_interpreter(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["mcp", "--root", str(tmp_path), "--interpreter", "gramar"])
    assert done.exit_code == 2
    assert "no interpreter 'gramar'; there is grammar, model" in done.output
