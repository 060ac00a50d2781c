"""Audio in an object store: a local server that speaks S3, and fsspec's store in memory.

The former needs `moto[server]` and the extra s3, and is skipped without them: botocore holds
python-dateutil below the version that the suite is tested with.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from stepedit_serve.audio_store import AudioStore

from stepedit_core import StepeditError
from tests.serve.serve_kit import SLOWER, form, serving, sound, wav

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Run a server that speaks S3 and give the URL of a bucket in it."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    import fsspec

    server = server_of.ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, "us-east-1" if "REGION" in name else "testing")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        fsspec.filesystem("s3").mkdir("speech")
        yield "s3://speech/audio"
    server.stop()


@pytest.fixture(params=["s3", "memory"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("s3")) if request.param == "s3" else "memory://speech/audio"


def test_files_by_key(url: str, tmp_path: Path) -> None:
    store, other = AudioStore(url), AudioStore(url)
    source = tmp_path / "a.wav"
    source.write_bytes(wav())
    assert not other.exists("one/a.wav")
    store.put("one/a.wav", source)
    store.put("one/b.wav", source)
    assert other.exists("one/a.wav")  # a replica that looked before sees it
    found = other.fetch("one/a.wav", tmp_path / "copy.wav")
    assert found.read_bytes() == source.read_bytes()
    store.remove("one")
    assert not other.exists("one/a.wav") and not other.exists("one/b.wav")
    store.remove("one")
    with pytest.raises(StepeditError, match="no longer"):
        other.fetch("one/a.wav", tmp_path / "copy.wav")
    with pytest.raises(StepeditError, match="no key"):
        store.put("../a.wav", source)


def test_a_session_and_a_job(url: str, tmp_path: Path) -> None:
    with serving(tmp_path, audio=url) as client:
        begun = client.post("/v1/sessions", files={"file": ("a.wav", wav())}).json()
        asked = {"chain": SLOWER, "route": "dsp"}
        node = client.post(f"/v1/sessions/{begun['id']}/edits", json=asked).json()["node"]
        where = f"/v1/sessions/{begun['id']}/nodes/{node['id']}/audio"
        for kind in ("wav", "flac"):
            samples, rate = sound(client.get(where, params={"format": kind}).content)
            assert len(samples) / rate == pytest.approx(1.25, abs=0.05)
        job = client.post(
            "/v1/jobs", files={"file": ("a.wav", wav())}, data=form(chain=SLOWER, route="dsp")
        ).json()
        result = _result(client, job["id"])
        assert np.isfinite(sound(result.content)[0]).all()
        assert client.delete(f"/v1/sessions/{begun['id']}").status_code == 204
        assert client.get(where).status_code == 404


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="nowhere"):
        AudioStore("nowhere://bucket")
    with pytest.raises(StepeditError, match="'s3:/bucket/a': write s3://bucket/a"):
        AudioStore("s3:/bucket/a")


def _result(client: httpx.Client, job: str) -> httpx.Response:
    """Wait for a job and return its result."""
    for _ in range(600):
        if client.get(f"/v1/jobs/{job}").json()["state"] not in ("queued", "running"):
            break
        time.sleep(0.1)
    return client.get(f"/v1/jobs/{job}/result")
