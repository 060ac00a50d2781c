"""Live use: sentences cut at pauses, edited audio back in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from stepedit_serve.live import SentenceCutter

from stepedit_core.recordings import packaged_speech
from tests.serve.serve_kit import serving

CHAIN = {"edit": "volume", "db": -6.0}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("live")) as found:
        yield found


def two_sentences() -> tuple[Any, int]:
    found = packaged_speech("garden")
    pause = np.zeros(found.sample_rate, np.float32)
    return np.concatenate([found.samples, pause, found.samples, pause]), found.sample_rate


def test_sentences_are_cut_at_pauses() -> None:
    samples, rate = two_sentences()
    cutter, found = SentenceCutter(rate), []
    for at in range(0, len(samples), rate // 10):
        cutter.add(samples[at : at + rate // 10])
        if cutter.is_due:
            found += cutter.cut()
    found += cutter.cut(last=True)
    joined = np.concatenate([one for _, one in found])
    assert len(found) >= 2
    assert np.sum(joined**2) > 0.95 * np.sum(samples**2)


def test_audio_in_and_out(client: TestClient) -> None:
    samples, rate = two_sentences()
    data = np.round(samples * 32767).astype("<i2").tobytes()
    heard, numbers = b"", []
    with client.websocket_connect("/v1/live") as socket:
        socket.send_json({"chain": CHAIN, "sample_rate": rate, "route": "dsp"})
        assert socket.receive_json()["type"] == "ready"
        for at in range(0, len(data), rate // 4 * 2):
            socket.send_bytes(data[at : at + rate // 4 * 2])
        socket.send_json({"type": "end"})
        while True:
            message = socket.receive()
            if message.get("bytes"):
                heard += message["bytes"]
                continue
            import json

            told = json.loads(message["text"])
            if told["type"] == "sentence":
                numbers.append(told["number"])
            if told["type"] == "done":
                break
            assert told["type"] != "error", told
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 2
    made = np.frombuffer(heard, "<i2") / 32768
    ratio = np.sqrt(np.sum(made**2) / np.sum(samples.astype(np.float64) ** 2))
    assert ratio == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "first",
    [
        "nonsense",
        "{}",
        '{"chain": {"edit": "sped"}, "sample_rate": 16000}',
        '{"chain": {"edit": "volume", "db": -6}, "sample_rate": 1}',
        '{"chain": {"edit": "clone", "text": "hi"}, "sample_rate": 16000}',
    ],
)
def test_refusals(client: TestClient, first: str) -> None:
    with client.websocket_connect("/v1/live") as socket:
        socket.send_text(first)
        told = socket.receive_json()
    assert told["type"] == "error"
    assert told["error"]["message"]
