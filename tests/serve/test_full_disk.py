"""A server whose disk is full says so, keeps nothing partial, and works again with room."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from fastapi.testclient import TestClient
from stepedit_serve.errors import is_full
from stepedit_serve.sound_out import rewrite

from stepedit_core import StepeditError
from stepedit_core.atomic import write_atomically
from tests.full_disk import largest_file
from tests.serve.serve_kit import error_of, serving, wav

ROOM = 400_000
"""Bytes that files may have: more than the database takes."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("full"), long_seconds=20.0) as found:
        yield found


def spooled(client: TestClient) -> list[str]:
    settings = client.app.state.service.settings  # type: ignore[attr-defined]
    found = [*settings.data.rglob("*.partial"), *(settings.spool).rglob("*")]
    return [str(path) for path in found if path.is_file()]


def flac(seconds: float) -> bytes:
    """Return a tone that is small as FLAC and large as WAV."""
    out = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 250 * np.arange(round(seconds * 16_000)) / 16_000)
    sf.write(out, tone, 16_000, subtype="PCM_16", format="FLAC")
    assert len(out.getvalue()) < ROOM
    return out.getvalue()


UPLOADS = {"raw": wav(20.0), "flac": flac(15.0), "long": flac(60.0)}


@pytest.mark.parametrize("content", UPLOADS.values(), ids=UPLOADS)
def test_uploads_that_do_not_fit(client: TestClient, content: bytes) -> None:
    upload = {"file": ("a", content)}
    with largest_file(ROOM):
        answer = client.post("/v1/sessions", files=upload)
        assert (answer.status_code, error_of(answer)["code"]) == (507, "no_space"), answer.text
    assert not spooled(client)
    assert client.post("/v1/sessions", files=upload).status_code == 201


def test_an_edit_that_does_not_fit(client: TestClient) -> None:
    made = client.post("/v1/sessions", files={"file": ("a", wav(10.0))}).json()
    ask = {"chain": {"edits": [{"edit": "speed", "factor": 0.5}]}, "route": "dsp"}
    with largest_file(ROOM):
        answer = client.post(f"/v1/sessions/{made['id']}/edits", json=ask)
        assert (answer.status_code, error_of(answer)["code"]) == (507, "no_space"), answer.text
    assert not spooled(client)
    assert client.post(f"/v1/sessions/{made['id']}/edits", json=ask).status_code == 201


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "opus"])
def test_rewriting_that_does_not_fit(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.wav").write_bytes(wav(5.0))
    with largest_file(2_000), pytest.raises(OSError, match=r"large|space"):
        rewrite(tmp_path / "a.wav", tmp_path / f"b.{kind}", kind, "PCM_16")
    rewrite(tmp_path / "a.wav", tmp_path / f"c.{kind}", kind, "PCM_16")
    assert sf.info(tmp_path / f"c.{kind}").duration == pytest.approx(5.0, abs=0.1)


def test_causes_are_found(tmp_path: Path) -> None:
    with largest_file(100), pytest.raises(StepeditError) as found:
        write_atomically(tmp_path / "a", b"x" * 200)
    assert is_full(found.value)
    assert not is_full(StepeditError("another"))
