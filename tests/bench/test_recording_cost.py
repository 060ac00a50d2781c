"""Timing a long recording goes on where it was cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from stepedit_bench.speed.long import measure_long, recording_of

from stepedit_core import EngineError, StepeditError
from stepedit_core.cli.root import cli

SECONDS, RATE, EDITS = 5.0, 8_000, ["volume:db=-3"]
BENCH = ["bench", "recording", "--seconds", str(SECONDS), "--rate", str(RATE), "-e", EDITS[0]]


def test_recording_is_joined_once(tmp_path: Path) -> None:
    first, count = recording_of(tmp_path / "long", (), SECONDS, RATE, EDITS)
    made = first.stat().st_mtime_ns
    assert recording_of(tmp_path / "long", (), SECONDS, RATE, EDITS) == (first, count)
    assert first.stat().st_mtime_ns == made and count >= 1
    for seconds, edits in ((SECONDS + 1, EDITS), (SECONDS, ["volume:db=3"])):
        with pytest.raises(StepeditError, match="other clips, seconds or edits"):
            recording_of(tmp_path / "long", (), seconds, RATE, edits)


def test_attempts_that_were_cut_off_are_counted(tmp_path: Path) -> None:
    recording, _ = recording_of(tmp_path, (), SECONDS, RATE, EDITS)
    before = {"wall": 100.0, "cpu": 50.0, "peak": 4000.0, "processes": 3}
    (tmp_path / "attempts.json").write_text(json.dumps({"attempts": [before]}))
    found = measure_long(recording, EDITS, 1)
    assert found.attempts == 2 and found.wall > 100 and found.cpu > 50
    assert (found.peak, found.processes) == (4000.0, 3)
    assert found.output_seconds == pytest.approx(SECONDS, abs=0.01)
    assert not (tmp_path / "attempts.json").exists()
    (tmp_path / "attempts.json").write_text('{"attempts": [{"walls": 1}]}')
    with pytest.raises(StepeditError, match="is damaged; delete it"):
        measure_long(recording, EDITS, 1)


def test_what_a_failed_edit_took_is_noted(tmp_path: Path) -> None:
    recording, _ = recording_of(tmp_path, (), SECONDS, RATE, ["nothing"])
    with pytest.raises(EngineError, match="stepedit edit failed"):
        measure_long(recording, ["nothing"], 1)
    (one,) = json.loads((tmp_path / "attempts.json").read_text())["attempts"]
    assert one["wall"] > 0


@pytest.mark.slow
def test_terminated_command_keeps_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from stepedit_core.cli import main; main()", *BENCH]
    running = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (out / "attempts.json").exists() and running.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(30) != 0 and (out / "recording.wav").exists()
    done = CliRunner().invoke(cli, [*BENCH, "--out", str(out)])
    assert done.exit_code == 0 and "in 2 calls" in done.output
