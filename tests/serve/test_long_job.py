"""A long recording as a job: others edit meanwhile, kill -9, going on, cancelling, memory.

``STEPEDIT_LONG_SECONDS=7200 pytest -m slow tests/serve/test_long_job.py`` takes two hours of it.
"""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf

from stepedit_core import packaged_speech
from tests.serve.serve_kit import SLOWER, form, wav
from tests.serve.test_kills import children, free_port, start

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("STEPEDIT_LONG_SECONDS", "1200"))
QUIETER = {"edit": "volume", "db": -6.0}
MOST_MB = 1500.0
"""Of memory of all the service's processes together, however long the recording is."""


def recording(path: Path, seconds: float) -> None:
    """Write packaged speech again and again as 16 kHz FLAC."""
    speech = packaged_speech("garden").resample(16_000).samples
    with sf.SoundFile(path, "w", 16_000, 1, "PCM_16", format="FLAC") as out:
        left = round(seconds * 16_000)
        while left > 0:
            out.write(speech[:left])
            left -= len(speech)


def memory(pid: int) -> float:
    """Return the memory in MB that a process and those below it have to themselves."""
    total = 0
    for one in (pid, *children(pid)):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def put(base: str, path: Path, key: str, chain: dict[str, Any]) -> str:
    """Put the recording down as a job."""
    with open(path, "rb") as file:
        answer = httpx.post(
            f"{base}/v1/jobs",
            files={"file": ("long.flac", file)},
            data=form(chain=chain, route="dsp", format="flac"),
            headers={"Idempotency-Key": key},
            timeout=600,
        )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_killed_midway_it_goes_on_while_others_edit(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    recording(path, SECONDS)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = start(tmp_path, port)
    greatest, begun = 0.0, time.monotonic()
    others: list[float] = []
    shares: list[float] = []
    killed_at: float | None = None
    try:
        job = put(base, path, "long", QUIETER)
        until = time.monotonic() + 3600
        while time.monotonic() < until:
            state = httpx.get(f"{base}/v1/jobs/{job}", timeout=60).json()
            if state["state"] not in ("queued", "running"):
                break
            greatest = max(greatest, memory(process.pid))
            done, total = state["progress"]["done"], state["progress"]["total"]
            shares.append(done / total if total else 0.0)
            if killed_at is None and shares[-1] > 0.3:
                killed_at = shares[-1]
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = start(tmp_path, port)
                shares.clear()
                continue
            asked = time.monotonic()
            edited = httpx.post(
                f"{base}/v1/edit",
                files={"file": ("a.wav", wav())},
                data=form(chain=SLOWER, route="dsp"),
                timeout=120,
            )
            assert edited.status_code == 200, edited.text
            others.append(time.monotonic() - asked)
        assert state["state"] == "done", state
        assert killed_at is not None, "it ended before it could be killed"
        # What was done before is not done again: but for the piece that was under way.
        assert max(shares, default=1.0) >= killed_at - 0.1
        assert shares == sorted(shares)
        content = httpx.get(f"{base}/v1/jobs/{job}/result", timeout=600).content
        found = sf.info(io.BytesIO(content))
        assert found.frames / found.samplerate == pytest.approx(SECONDS, abs=0.01)
        _is_quieter(content, path)
        assert greatest < MOST_MB
        print(
            f"{SECONDS:g} s of audio in {time.monotonic() - begun:.0f} s, {greatest:.0f} MB,"
            f" killed at {killed_at:.2f}, {len(others)} edits of others, median"
            f" {np.median(others):.2f} s, slowest {max(others):.2f} s"
        )
        cancelled = put(base, path, "second", {"edit": "denoise"})
        httpx.delete(f"{base}/v1/jobs/{cancelled}", timeout=60)
        until = time.monotonic() + 120
        while httpx.get(f"{base}/v1/jobs/{cancelled}").json()["state"] != "cancelled":
            assert time.monotonic() < until
            time.sleep(0.2)
        assert httpx.get(f"{base}/v1/jobs/{cancelled}/result").status_code == 410
        assert not any((tmp_path / "data" / "spool" / "jobs").glob(f"{cancelled}*"))
    finally:
        process.terminate()
        process.wait(60)


def _is_quieter(content: bytes, path: Path) -> None:
    """Check pieces of the whole length: none is lost, doubled or in another place."""
    with sf.SoundFile(io.BytesIO(content)) as made, sf.SoundFile(path) as source:
        for share in (0.0, 0.29, 0.31, 0.5, 0.99):
            at = int(share * len(source))
            made.seek(at)
            source.seek(at)
            found, wanted = made.read(4_000), source.read(4_000) * 10 ** (-6 / 20)
            np.testing.assert_allclose(found, wanted, atol=2e-3)
