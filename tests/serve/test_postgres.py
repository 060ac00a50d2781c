"""The stores on a real PostgreSQL server: sessions, jobs, two processes, one queue."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stepedit_serve.database import Database
from stepedit_serve.job_queue import JobQueue

from tests.serve.serve_kit import SLOWER, form, serving, wav
from tests.serve.test_jobs import ended, job
from tests.serve.test_kills import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    pytest.importorskip("psycopg")
    if shutil.which("initdb") is None:
        pytest.skip("PostgreSQL's server is not installed")
    as_postgres: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="stepedit-pg-"))
    if os.getuid() == 0:  # the server does not run as root
        as_postgres = ["runuser", "-u", "postgres", "--"]
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    port = free_port()
    data = folder / "db"
    run = [*as_postgres, "initdb", "-D", str(data), "-U", "stepedit", "-A", "trust", "--no-sync"]
    subprocess.run(run, check=True, capture_output=True, cwd=folder)
    server = subprocess.Popen(
        [*as_postgres, "postgres", "-D", str(data), "-p", str(port), "-k", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    address = f"postgresql+psycopg://stepedit@127.0.0.1:{port}/postgres"
    for _ in range(100):
        done = subprocess.run(
            ["pg_isready", "-h", "127.0.0.1", "-p", str(port)], capture_output=True, check=False
        )
        if done.returncode == 0:
            break
        time.sleep(0.1)
    yield address
    server.terminate()
    server.wait(20)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_service_on_it(url: str, tmp_path: Path) -> None:
    with serving(tmp_path, database=url) as client:
        made = client.post("/v1/sessions", files={"file": ("a.wav", wav())}).json()
        edit = {"chain": SLOWER, "route": "dsp"}
        first = client.post(f"/v1/sessions/{made['id']}/edits", json=edit)
        assert first.status_code == 201, first.text
        assert client.post(f"/v1/sessions/{made['id']}/undo", json={}).json()["can_redo"]
        asked = {"chain": SLOWER, "route": "dsp"}
        put = client.post(
            "/v1/jobs",
            files={"file": ("a.wav", wav())},
            data=form(**asked),
            headers={"Idempotency-Key": "one"},
        ).json()
        assert ended(client, put["id"])["state"] == "done"
        again = client.post(
            "/v1/jobs",
            files={"file": ("a.wav", wav())},
            data=form(**asked),
            headers={"Idempotency-Key": "one"},
        ).json()
        assert again["id"] == put["id"]
        assert client.delete(f"/v1/sessions/{made['id']}").status_code == 204


def test_no_job_is_taken_twice(url: str) -> None:
    databases = [Database(url) for _ in range(2)]
    queues = [JobQueue(one, f"p{n}", 60.0) for n, one in enumerate(databases)]
    put = [queues[0].put(job("many"))[0].id for _ in range(60)]
    taken: list[str] = []

    def take(queue: JobQueue) -> None:
        while (found := queue.claim()) is not None:
            taken.append(found.id)
            assert queue.finish(found.id, "done", result={})

    threads = [threading.Thread(target=take, args=(queues[n % 2],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(put)
    for one in databases:
        one.close()
