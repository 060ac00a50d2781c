"""A real server with the embedded model: clients leave, and the engine is killed, in generation."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serve.serve_kit import form, sound, speech
from tests.serve.test_kills import children, free_port, start, wait_for_all

pytestmark = pytest.mark.slow
SLOWER = {"edit": "speed", "rate": "slower"}
KILLS, JOBS = 2, 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    port = free_port()
    process = start(tmp_path, port, "--engine", "embedded")
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def engines(pid: int) -> list[int]:
    """Return the service's processes that have torch: those of engines."""
    found = []
    for child in children(pid):
        try:
            if "libtorch_cpu" in Path(f"/proc/{child}/maps").read_text():
                found.append(child)
        except OSError:
            continue
    return found


def figure(base: str, name: str) -> float:
    """Return a figure of the service."""
    lines = httpx.get(f"{base}/metrics", timeout=30).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def wait_for(base: str, name: str, least: float, most: float, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not least <= figure(base, name) <= most:
        assert time.monotonic() < until, (name, figure(base, name))
        time.sleep(0.05)


GENERATED = 'stepedit_engine_seconds_total{stage="generate"}'


def test_an_engine_that_is_killed_while_it_generates(server: tuple[str, int]) -> None:
    base, pid = server
    draw = random.Random(3)
    content, text = speech("wind")
    jobs = []
    for number in range(JOBS):
        answer = httpx.post(
            f"{base}/v1/jobs",
            files={"file": ("a.wav", content)},
            data=form(chain=SLOWER, route="llm", transcript=text, seed=number),
            headers={"Idempotency-Key": f"job-{number}"},
            timeout=60,
        )
        assert answer.status_code == 202, answer.text
        jobs.append(str(answer.json()["id"]))
    for _ in range(KILLS):
        before = figure(base, GENERATED)
        wait_for(base, GENERATED, before + draw.uniform(0.01, 0.5), 1e9, 120)
        for engine in engines(pid):
            os.kill(engine, signal.SIGKILL)
        if figure(base, "stepedit_jobs_total") == JOBS:
            break
    finished = wait_for_all(base, jobs)
    assert {job["state"] for job in finished} == {"done"}, finished
    assert len(httpx.get(f"{base}/v1/jobs").json()["jobs"]) == JOBS
    assert figure(base, "stepedit_jobs_total") == JOBS
    lengths = []
    for job in jobs:
        samples, rate = sound(httpx.get(f"{base}/v1/jobs/{job}/result").content)
        lengths.append(len(samples) / rate)
    assert min(lengths) > 5.4  # spoken slower than the 5.4 s of the source


def test_a_client_that_leaves_while_its_answer_is_generated(server: tuple[str, int]) -> None:
    base, _ = server
    content, text = speech("typography")
    request = httpx.Request(
        "POST",
        f"{base}/v1/edit",
        files={"file": ("a.wav", content)},
        data=form(chain=SLOWER, route="llm", transcript=text),
    )
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"POST /v1/edit HTTP/1.1\r\n{head}\r\n".encode() + body)
        wait_for(base, GENERATED, 0.05, 1e9, 120)
    wait_for(base, "stepedit_running ", 0, 0, 30)
    generated = figure(base, GENERATED)
    time.sleep(0.5)
    assert figure(base, GENERATED) == generated  # nothing is generated for nobody
    decoded = figure(base, 'stepedit_batch_items_count{stage="decode_keeping"}')
    assert decoded == 0
    answer = httpx.post(
        f"{base}/v1/edit",
        files={"file": ("a.wav", content)},
        data=form(chain=SLOWER, route="llm", transcript=text),
        timeout=120,
    )
    assert answer.status_code == 200
