"""Two replicas on a local Ray: requests reach both, jobs are one queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stepedit_serve.settings import ServeSettings

from tests.serve.serve_kit import SLOWER, form, sound, wav
from tests.serve.test_kills import free_port, wait_for_all

pytestmark = pytest.mark.slow
REPLICAS = 2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ray = pytest.importorskip("ray")
    serve = pytest.importorskip("ray.serve")
    from stepedit_serve.ray_app import deploy

    folder = tmp_path_factory.mktemp("ray")
    settings = ServeSettings(engine=None, data=folder / "data", workers=1, shared=True)
    port = free_port()
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        deploy(settings, "127.0.0.1", port, REPLICAS)
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def test_two_replicas_answer(base: str) -> None:
    begun = {httpx.get(f"{base}/health", timeout=60).json()["uptime"] for _ in range(40)}
    assert begun
    gauges = [httpx.get(f"{base}/v1/models", timeout=60).status_code for _ in range(10)]
    assert set(gauges) == {200}


def test_what_one_makes_the_other_sees(base: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=base, timeout=120) as client:
        made = client.post("/v1/sessions", files={"file": ("a.wav", wav())}).json()
        for _ in range(12):
            assert client.get(f"/v1/sessions/{made['id']}").status_code == 200


def test_one_queue(base: str) -> None:
    jobs = []
    for number in range(6):
        answer = httpx.post(
            f"{base}/v1/jobs",
            files={"file": ("a.wav", wav())},
            data=form(chain=SLOWER, route="dsp", seed=number),
            timeout=120,
        )
        assert answer.status_code == 202, answer.text
        jobs.append(answer.json()["id"])
    finished = wait_for_all(base, jobs)
    assert [job["state"] for job in finished] == ["done"] * 6
    assert {job["attempts"] for job in finished} == {1}
    samples, rate = sound(httpx.get(f"{base}/v1/jobs/{jobs[0]}/result").content)
    assert len(samples) / rate == pytest.approx(1.25, rel=0.03)
