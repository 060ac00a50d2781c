"""Long recordings with the real recogniser and aligner: words by a job, one sentence edited."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from fastapi.testclient import TestClient

from stepedit_core.recordings import packaged_speech
from tests.serve.serve_kit import form, serving, sound
from tests.serve.test_jobs import ended

pytestmark = pytest.mark.slow
NAMES = ("garden", "office", "doctor", "wind", "doubt", "romance", "hardware")
LOUD = {"edit": "volume", "db": -9.0}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    pytest.importorskip("faster_whisper")
    with serving(tmp_path_factory.mktemp("long"), long_seconds=20.0) as found:
        yield found


def talk() -> tuple[bytes, str]:
    """Return several packaged recordings with pauses between them, and their words."""
    parts, words = [], []
    for name in NAMES:
        found = packaged_speech(name).resample(16_000)
        parts += [found.samples, np.zeros(12_000, np.float32)]
        words.append(found.transcript or "")
    out = io.BytesIO()
    sf.write(out, np.concatenate(parts), 16_000, subtype="PCM_16", format="WAV")
    return out.getvalue(), " ".join(words)


def test_words_by_a_job_and_one_sentence_edited(client: TestClient) -> None:
    content, words = talk()
    made = client.post("/v1/sessions", files={"file": ("talk.wav", content)}).json()
    where = f"/v1/sessions/{made['id']}/nodes/{made['root']}"
    waiting = client.get(f"{where}/alignment")
    assert waiting.status_code == 202
    again = client.get(f"{where}/alignment")
    assert again.json()["job"]["id"] == waiting.json()["job"]["id"]
    job = ended(client, waiting.json()["job"]["id"], 400)
    assert job["state"] == "done", job
    found: dict[str, Any] = client.get(f"{where}/alignment").json()
    assert len(found["words"]) > 0.8 * len(words.split())
    starts = [word["start"] for word in found["words"]]
    assert starts == sorted(starts)
    sentence = found["sentences"][1]
    edit = client.post(
        f"/v1/sessions/{made['id']}/edits",
        json={"chain": LOUD, "route": "dsp", "sentences": [2]},
    )
    assert edit.status_code == 201, edit.text
    node = edit.json()["node"]["id"]
    before, rate = sound(content)
    after, _ = sound(client.get(f"/v1/sessions/{made['id']}/nodes/{node}/audio").content)
    assert len(after) == len(before)
    changed = np.flatnonzero(before != after) / rate
    assert len(changed)
    assert changed[0] > sentence["start"] - 1.0
    assert changed[-1] < sentence["end"] + 1.0


def test_a_job_with_words(client: TestClient) -> None:
    content, _ = talk()
    srt = "1\n00:00:00,100 --> 00:00:04,000\nSome words are said.\n"
    answer = client.post(
        "/v1/jobs",
        files={"file": ("talk.wav", content), "subtitles": ("talk.srt", srt.encode())},
        data=form(chain={"edit": "speed", "factor": 0.8}, route="dsp", segments="1"),
    )
    assert answer.status_code == 202, answer.text
    job = ended(client, answer.json()["id"], 200)
    assert job["state"] == "done", job
    text = client.get(f"/v1/jobs/{job['id']}/subtitles?format=srt").text
    assert "Some words are said." in text
    assert "00:00:04,9" in text or "00:00:05,0" in text
