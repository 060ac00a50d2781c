"""Jobs: long recordings in pieces, events, cancelling, expiry, once and only once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from stepedit_serve.database import Database, new_id
from stepedit_serve.job_queue import JobQueue
from stepedit_serve.tables import Job

from tests.serve.serve_kit import SLOWER, error_of, form, serving, sound, wav


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("jobs"), long_seconds=4.0) as found:
        yield found


def put(client: TestClient, content: bytes = b"", idem: str = "", **fields: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": idem} if idem else {}
    answer = client.post(
        "/v1/jobs",
        files={"file": ("a.wav", content or wav())},
        data=form(**{"chain": SLOWER, "route": "dsp", **fields}),
        headers=headers,
    )
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def ended(client: TestClient, job: str, seconds: float = 60.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = dict(client.get(f"/v1/jobs/{job}").json())
        if found["state"] in ("done", "failed", "cancelled"):
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def test_a_short_recording(client: TestClient) -> None:
    job = put(client, format="flac")
    found = ended(client, job["id"])
    assert (found["state"], found["progress"]["done"], found["attempts"]) == ("done", 1, 1)
    samples, rate = sound(client.get(f"/v1/jobs/{job['id']}/result").content)
    assert len(samples) / rate == pytest.approx(1.25, rel=0.03)
    assert client.get(f"/v1/jobs/{job['id']}/report").json()["steps"]


def test_a_long_recording_in_pieces(client: TestClient) -> None:
    job = put(client, wav(9.0))
    found = ended(client, job["id"])
    assert found["state"] == "done", found
    assert client.get(f"/v1/jobs/{job['id']}/report").json()["pieces"]
    samples, rate = sound(client.get(f"/v1/jobs/{job['id']}/result").content)
    assert len(samples) / rate == pytest.approx(9.0 / 0.8, rel=0.05)


def test_events_end_with_the_job(client: TestClient) -> None:
    job = put(client)
    text = client.get(f"/v1/jobs/{job['id']}/events").text
    kinds = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert kinds[-1] == "done"
    assert set(kinds[:-1]) <= {"progress"}


def test_the_same_key_gives_the_same_job(client: TestClient) -> None:
    first, second = put(client, idem="abc"), put(client, idem="abc")
    assert first["id"] == second["id"]
    assert put(client, idem="abd")["id"] != first["id"]


def test_a_failure_is_told(client: TestClient) -> None:
    job = put(client, chain={"edit": "emotion", "to": "happy"}, route="llm")
    found = ended(client, job["id"])
    assert (found["state"], found["error"]["code"]) == ("failed", "invalid_chain")
    answer = client.get(f"/v1/jobs/{job['id']}/result")
    assert answer.status_code == 409
    assert error_of(answer)


def test_removed_when_it_has_ended(client: TestClient) -> None:
    job = put(client)
    ended(client, job["id"])
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 404


def test_segments_are_numbers(client: TestClient) -> None:
    answer = client.post(
        "/v1/jobs", files={"file": ("a.wav", wav())}, data=form(chain=SLOWER, segments="1,x")
    )
    assert (answer.status_code, error_of(answer)["param"]) == (400, "segments")


def nothing() -> None:
    """Claim no job."""


def test_cancelled_while_it_waits(tmp_path: Path) -> None:
    with serving(tmp_path, job_workers=1) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        claim, service.queue.claim = service.queue.claim, nothing
        time.sleep(0.3)
        job = put(client)
        assert client.delete(f"/v1/jobs/{job['id']}").json()["state"] == "cancelled"
        service.queue.claim = claim
        assert client.get(f"/v1/jobs/{job['id']}/result").status_code == 410


def test_a_result_expires(tmp_path: Path) -> None:
    with serving(tmp_path, job_hours=1e-9) as client:
        job = put(client)
        ended(client, job["id"])
        service = client.app.state.service  # type: ignore[attr-defined]
        for one in service.queue.expired():
            service.queue.forget_result(one.id)
        assert client.get(f"/v1/jobs/{job['id']}/result").status_code == 410


# The queue -------------------------------------------------------------------------------


def job(owner: str = "a", idem: str | None = None) -> Job:
    return Job(
        id=new_id("job"), owner=owner, idempotency=idem, kind="edit", state="queued",
        request={}, created=time.time(), done=0, total=0, attempts=0, fruitless=0, cancel=False,
        notes=[],
    )  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'q.sqlite'}")
    yield found
    found.close()


def test_two_processes_take_no_job_twice(database: Database) -> None:
    queues = [JobQueue(database, name, 60.0) for name in ("one", "two")]
    for _ in range(40):
        queues[0].put(job())
    taken: list[str] = []

    def take(queue: JobQueue) -> None:
        while (found := queue.claim()) is not None:
            taken.append(found.id)
            assert queue.finish(found.id, "done", result={})

    threads = [threading.Thread(target=take, args=(queues[n % 2],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(set(taken))) == (40, 40)


def test_a_silent_holder_loses_the_job(database: Database) -> None:
    silent, other = JobQueue(database, "silent", 0.05), JobQueue(database, "other", 60.0)
    put_down, _ = silent.put(job())
    assert silent.claim() is not None
    assert other.claim() is None
    time.sleep(0.1)
    taken = other.claim()
    assert taken is not None
    assert (taken.id, taken.attempts) == (put_down.id, 2)
    assert not silent.finish(taken.id, "done")
    assert not silent.keep(taken.id)
    assert other.finish(taken.id, "done")


def test_idempotency_holds_for_each_key(database: Database) -> None:
    queue = JobQueue(database, "one", 60.0)
    first, is_new = queue.put(job(idem="x"))
    again, is_new_again = queue.put(job(idem="x"))
    assert (is_new, is_new_again, again.id) == (True, False, first.id)
    assert queue.put(job("b", "x"))[1]


def test_a_restart_puts_jobs_back(database: Database) -> None:
    queue = JobQueue(database, "one", 60.0)
    put_down, _ = queue.put(job())
    queue.claim()
    assert queue.release_all() == 1
    assert queue.get(put_down.id).state == "queued"
    assert json.dumps(queue.get(put_down.id).request) == "{}"
