"""What is seen while a command works: on terminals, and nothing elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from stepedit_core.cli.waiting import progress
from stepedit_core.llm_route.progress import listening, report_tokens
from stepedit_core.testing import speech_like

_WORK = """
import time
from stepedit_core.cli.console import load_named_engine
from stepedit_core.cli.waiting import progress
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.progress import report_tokens
try:
    load_named_engine("/nowhere/big")
except StepeditError:
    pass
with progress(1) as advance:
    for done in range(1, 40):
        report_tokens(done, 50)
    time.sleep(0.3)
    print("a line")
    advance()
"""


def _on_a_terminal(*command: str) -> tuple[str, str]:
    """Run a command whose standard error is a terminal; return standard output and error."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env) as run:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        out = run.stdout.read() if run.stdout else b""
    os.close(ours)
    assert run.returncode == 0, seen
    return out.decode(), seen.decode()


def test_a_terminal_sees_loading_and_tokens() -> None:
    out, seen = _on_a_terminal(sys.executable, "-c", _WORK)
    assert out == "a line\n"
    assert "loading engine /nowhere/big" in seen and "tokens, at most" in seen and "39/50" in seen


def test_elsewhere_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3) as advance:
        report_tokens(1, 2)
        advance()
    assert capsys.readouterr() == ("", "")


def test_tokens_are_told_to_the_innermost_listener() -> None:
    heard: list[tuple[int, int]] = []
    report_tokens(1, 9)
    with listening(lambda done, most: heard.append((done, most))):
        report_tokens(2, 9)
    report_tokens(3, 9)
    assert heard == [(2, 9)]


def test_redirected_output_of_many_files_stays_output(tmp_path: Path) -> None:
    for name in "ab":
        speech_like(0.5, 16_000).write(tmp_path / f"{name}.wav")
    command = [sys.executable, "-c", "from stepedit_core.cli import main; main()", "edit"]
    command += [str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "-o", str(tmp_path / "out")]
    out, _ = _on_a_terminal(*command, "-e", "speed:factor=1.25")
    assert out.count("wrote ") == 2
