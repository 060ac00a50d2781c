"""A real server on a free port: kill -9 loses and doubles nothing; 500 malformed requests."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.serve_kit import SLOWER, form, sound, wav

pytestmark = pytest.mark.slow
MAIN = "from stepedit_core.cli import main; main()"
KILLS = 10
JOBS = 12


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(folder: Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers."""
    command = [
        sys.executable, "-c", MAIN, "serve", "--engine", "none",
        "--workers", "1", "--mark", "none",
        "--data", str(folder / "data"), "--port", str(port), *more,
    ]  # fmt: skip
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            command, stderr=log, stdout=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    until = time.monotonic() + 300  # a busy machine takes long to load an engine
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError((folder / "log").read_text())
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=1)
            return process
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError("the server does not answer")


@contextmanager
def server(folder: Path) -> Iterator[str]:
    port = free_port()
    process = start(folder, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def put(base: str, number: int) -> str | None:
    """Put a job down, as a client that repeats itself does; None where the server was away."""
    try:
        answer = httpx.post(
            f"{base}/v1/jobs",
            files={"file": ("a.wav", wav(1.0 + 0.1 * number))},
            data=form(chain=SLOWER, route="dsp", seed=number),
            headers={"Idempotency-Key": f"job-{number}"},
            timeout=20,
        )
    except httpx.HTTPError:
        return None
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_no_job_is_lost_or_done_twice(tmp_path: Path) -> None:
    draw = random.Random(5)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = start(tmp_path, port)
    accepted: dict[int, str] = {}
    kills = 0
    try:
        while kills < KILLS:
            killed_at = time.monotonic() + draw.uniform(0.05, 2.5)
            while time.monotonic() < killed_at:
                missing = [n for n in range(JOBS) if n not in accepted]
                if not missing:
                    time.sleep(0.05)
                    continue
                job = put(base, missing[0])
                if job is not None:
                    accepted[missing[0]] = job
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            process = start(tmp_path, port)
        for number in range(JOBS):
            again = put(base, number)
            assert again is not None
            assert accepted.setdefault(number, again) == again
        finished = wait_for_all(base, list(accepted.values()))
        assert {job["state"] for job in finished} == {"done"}, finished
        listed = httpx.get(f"{base}/v1/jobs").json()["jobs"]
        assert sorted(job["id"] for job in listed) == sorted(accepted.values())
        for number, job in accepted.items():
            samples, rate = sound(httpx.get(f"{base}/v1/jobs/{job}/result").content)
            assert len(samples) / rate == pytest.approx((1.0 + 0.1 * number) / 0.8, rel=0.03)
    finally:
        process.terminate()
        process.wait(30)


def test_workers_end_with_the_service(tmp_path: Path) -> None:
    port = free_port()
    process = start(tmp_path, port)
    job = put(f"http://127.0.0.1:{port}", 1)
    wait_for_all(f"http://127.0.0.1:{port}", [str(job)])
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
        assert time.monotonic() < until, workers
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    """Return the processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def wait_for_all(base: str, jobs: list[str]) -> list[dict[str, Any]]:
    """Return the jobs when all have ended."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = [dict(httpx.get(f"{base}/v1/jobs/{job}").json()) for job in jobs]
        if all(job["state"] in ("done", "failed", "cancelled") for job in found):
            return found
        time.sleep(0.3)
    raise AssertionError("jobs did not end")


# Malformed requests ----------------------------------------------------------------------

ROUTES = [
    ("POST", "/v1/edit"),
    ("POST", "/v1/jobs"),
    ("POST", "/v1/align"),
    ("POST", "/v1/transcribe"),
    ("POST", "/v1/interpret"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/sessions/{id}/edits"),
    ("POST", "/v1/sessions/{id}/branch"),
    ("POST", "/v1/sessions/{id}/undo"),
    ("PUT", "/v1/sessions/{id}/nodes/{id}/transcript"),
    ("GET", "/v1/sessions/{id}/nodes/{id}/audio"),
    ("GET", "/v1/sessions/{id}/nodes/{id}/alignment"),
    ("GET", "/v1/jobs/{id}/events"),
    ("GET", "/v1/jobs/{id}/result"),
    ("DELETE", "/v1/jobs/{id}"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/audio/voices"),
    ("POST", "/v1/audio/voice_consents"),
    ("POST", "/v1/audio/transcriptions"),
    ("PATCH", "/v1/edit"),
    ("GET", "/v1/nothing"),
]
ODD: list[Any] = [
    None, "", "x", "\x00", "\ud800", "é" * 300, "../../etc/passwd", -1, 2**70, 1e400, [], {}, True,
    {"edit": "speed"}, {"edits": [{"edit": "speed", "factor": "fast"}]}, [[[[]]]], "NaN",
    {"edits": {"edit": "x"}}, {"edit": "masked", "inner": {"edit": "masked"}}, "[" * 5000,
]  # fmt: skip
FIELDS = (
    "chain", "say", "transcript", "language", "seed", "route", "accept", "format", "file", "node",
    "input", "voice", "model", "name", "sentences", "parent", "title", "nonsense", "segments",
    "speed", "consent",
)  # fmt: skip


def malformed(draw: random.Random, ids: list[str]) -> httpx.Request:
    """Return a request that is wrong in one way or several."""
    method, path = draw.choice(ROUTES)
    while "{id}" in path:
        path = path.replace("{id}", draw.choice([*ids, "x", "%00", "..%2f..", "a" * 300]), 1)
    url = f"http://server{path}"
    if method == "GET":
        query = {draw.choice(FIELDS): str(draw.choice(ODD))[:50].encode("utf-8", "replace")}
        return httpx.Request(method, url, params=query)
    kind = draw.choice(["json", "raw", "form", "form", "form", "empty", "boundary"])
    if kind == "json":
        body = {draw.choice(FIELDS): draw.choice(ODD) for _ in range(draw.randint(0, 4))}
        text = json.dumps(draw.choice([body, draw.choice(ODD)]))
        headers = {"content-type": "application/json"}
        return httpx.Request(method, url, content=text.encode(), headers=headers)
    if kind == "raw":
        return httpx.Request(
            method, url, content=draw.randbytes(draw.randint(0, 400)),
            headers={"content-type": draw.choice(["application/json", "audio/wav", "", "x/y"])},
        )  # fmt: skip
    if kind == "boundary":
        headers = {
            "content-type": draw.choice(["multipart/form-data", "multipart/form-data; boundary=x"])
        }
        return httpx.Request(method, url, content=b"--x\r\nno header\r\n\r\n--", headers=headers)
    if kind == "empty":
        return httpx.Request(method, url)
    data = {
        draw.choice(FIELDS): str(draw.choice(ODD)).encode("utf-8", "replace")
        for _ in range(draw.randint(0, 5))
    }
    name = draw.choice(["file", "file", "audio_sample", "recording", "subtitles"])
    files = {name: ("a.wav", draw.choice([b"", b"RIFF", draw.randbytes(200), wav(0.3)[:500]]))}
    return httpx.Request(method, url, data=data, files=files)


def test_malformed_requests(tmp_path: Path) -> None:
    draw = random.Random(11)
    with server(tmp_path) as base, httpx.Client(base_url=base, timeout=60) as client:
        session = client.post("/v1/sessions", files={"file": ("a.wav", wav())}).json()
        job = put(base, 1)
        ids = [session["id"], session["root"], str(job)]
        wait_for_all(base, [str(job)])
        seen: dict[int, int] = {}
        for number in range(500):
            asked = malformed(draw, ids)
            answer = client.request(
                asked.method, asked.url.raw_path.decode(), content=asked.read(),
                headers={k: v for k, v in asked.headers.items() if k != "host"},
            )  # fmt: skip
            seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
            about = (number, asked.method, str(asked.url), answer.text[:300])
            assert answer.status_code < 500 or answer.status_code == 503, about
            if answer.status_code >= 400:
                message = answer.json()["error"]["message"]
                assert message and "\n" not in message, about
        assert sum(count for status, count in seen.items() if status >= 400) > 400, seen
        assert client.get("/health").status_code == 200
