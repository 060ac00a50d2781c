"""One edit at once: audio and JSON, sentences, streams, consent, what is refused."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fastapi.testclient import TestClient
from stepedit_serve.errors import Busy

from stepedit_core import Chain, Edit, Utterance, edit_from_data
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing import FakeEngine
from tests import toy_edits
from tests.serve.serve_kit import SLOWER, error_of, form, serving, sound, speech, wav

SAID_SLOWER = {"edit": "speed", "rate": "slower"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("edits")) as found:
        yield found


def edit(client: TestClient, content: bytes = b"", **fields: object) -> Any:
    headers: Any = fields.pop("headers", {})
    return client.post(
        "/v1/edit",
        files={"file": ("a.wav", content or wav())},
        data=form(**fields),
        headers=headers,
    )


def test_an_edit_of_a_plugin_file_runs_inside_another_one(tmp_path: Path) -> None:
    """Workers do not know plugin files, nor edits that have one of theirs inside."""
    set_registry(registry := Registry(disabled=()).load())
    try:
        registry.register(toy_edits, "toy_edits")
        inside = {"edit": "masked", "inner": {"edit": "gain", "db": -12}, "spans": [[0.2, 0.6]]}
        with serving(tmp_path) as client:
            answer = edit(client, chain=inside, route="dsp")
    finally:
        set_registry(None)
    assert answer.status_code == 200, answer.text
    before, after = sound(wav())[0], sound(answer.content)[0]
    assert np.abs(after[4800:8000]).max() < 0.5 * np.abs(before[4800:8000]).max()


def test_health_and_models(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/v1/models").json()["data"][0]["id"] == "fake"
    assert b"stepedit_requests_total" in client.get("/metrics").content


def test_the_page_of_routes_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("</", "")
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/edit", "/v1/jobs/{job}/events", "/v1/audio/speech"} <= set(paths)


def test_edits_have_schemas_and_phrases(client: TestClient) -> None:
    found = {one["name"]: one for one in client.get("/v1/edits").json()["edits"]}
    assert found["speed"]["parameters"]["properties"]["factor"]
    assert found["speed"]["phrases"]["does"]["zh"]
    named = found["emotion"]["phrases"]["fields"]["to"]
    assert named["name"] == {"zh": "情绪"}
    assert named["values"]["happy"] == {"zh": "开心"}
    assert found["clone"]["consent"]
    assert found["denoise"]["route"] in ("dsp", "llm")


def test_audio_is_what_the_chain_gives(client: TestClient) -> None:
    content, _ = speech()
    answer = edit(client, content, chain=SLOWER, route="dsp", seed=3)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-stepedit-steps"] == "speed/dsp"
    made, rate = sound(answer.content)
    chain = Chain([edit_from_data(SLOWER)])
    expected = chain(Utterance.from_bytes(content), seed=3, route="dsp").utterance
    assert rate == expected.sample_rate
    np.testing.assert_allclose(made, expected.samples, atol=1 / 32768)


def test_json_has_audio_and_report(client: TestClient) -> None:
    headers = {"accept": "application/json"}
    found = edit(client, chain=SAID_SLOWER, route="llm", headers=headers, transcript="a b c").json()
    assert found["report"]["steps"][0]["engine"] == "fake"
    assert len(base64.b64decode(found["audio"])) > 1000
    assert found["transcript"] == "a b c"


def test_a_sentence_becomes_a_chain(client: TestClient) -> None:
    headers = {"accept": "application/json"}
    found = edit(client, say="20 percent slower", route="dsp", headers=headers).json()
    assert found["chain"]["edits"][0]["edit"] == "speed"


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "opus", "pcm"])
def test_formats(client: TestClient, kind: str) -> None:
    answer = edit(client, chain=SLOWER, route="dsp", format=kind)
    assert answer.status_code == 200
    if kind == "pcm":
        assert len(answer.content) == 2 * 20_000
        return
    samples, rate = sound(answer.content)
    assert 1.15 < len(samples) / rate < 1.4


def test_clone_asks_for_consent(client: TestClient) -> None:
    clone = {"edit": "clone", "text": "good morning"}
    refused = edit(client, chain=clone, transcript="hello there")
    assert (refused.status_code, error_of(refused)["code"]) == (403, "consent_required")
    agreed = edit(
        client, chain=clone, transcript="hello there", consent_attestation="Ann agreed on Monday"
    )
    assert agreed.status_code == 200


@pytest.mark.parametrize("reference", ["/etc/passwd", "a.wav", "../x", "C:a"])
def test_files_of_the_server_are_not_opened(client: TestClient, reference: str) -> None:
    voice = {"edit": "voice", "reference": reference}
    inside = {"edit": "masked", "inner": voice, "spans": [[0.1, 0.5]]}
    for chain in (voice, inside):
        refused = edit(client, chain=chain, consent_attestation="Ann agreed on Monday")
        assert (refused.status_code, error_of(refused)["code"]) == (403, "not_permitted")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"chain": "{"}, 400, "invalid_chain"),
        ({"chain": {"edit": "sped"}}, 400, "invalid_chain"),
        ({"chain": {"edits": []}}, 400, "invalid_chain"),
        ({"chain": {"edit": "speed", "factor": 99}}, 400, "invalid_chain"),
        ({"chain": {"edits": [SLOWER], "iterations": 65}}, 400, "invalid_chain"),
        ({}, 400, "invalid_request"),
        ({"chain": SLOWER, "say": "slower"}, 400, "invalid_request"),
        ({"chain": SLOWER, "seed": -1}, 400, "invalid_request"),
        ({"chain": SLOWER, "route": "up"}, 400, "invalid_request"),
        ({"chain": SLOWER, "nonsense": 1}, 400, "invalid_request"),
        ({"chain": SLOWER, "transcript": "a\x00b"}, 400, "invalid_request"),
        ({"chain": SLOWER, "language": "no language"}, 400, "invalid_request"),
        ({"say": "juggle three oranges"}, 400, "invalid_sentence"),
        ({"chain": {"edit": "emotion", "to": "happy"}, "route": "llm"}, 400, "invalid_chain"),
        ({"chain": SLOWER, "stream": "true", "format": "mp3"}, 400, "unsupported"),
    ],
)
def test_refusals(client: TestClient, fields: dict[str, object], status: int, code: str) -> None:
    answer = edit(client, **fields)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    "content", [b"x", b"RIFF", wav()[:60], bytes(4000), wav()[:44] + bytes(16_000)]
)
def test_damaged_audio(client: TestClient, content: bytes) -> None:
    answer = edit(client, content, chain=SLOWER)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_audio")
    assert "/" not in error_of(answer)["message"].replace("and/or", "")


def test_too_long(tmp_path: Path) -> None:
    with serving(tmp_path, max_seconds=2.0) as client:
        answer = edit(client, wav(3.0), chain=SLOWER)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too_long")


# Words, streams ----------------------------------------------------------------------------


def test_words_are_timed(client: TestClient) -> None:
    content, words = speech()
    asked = {
        "files": {"file": ("a.wav", content)},
        "data": form(transcript=words, aligner="pauses"),
    }
    found = client.post("/v1/align", **asked).json()
    assert found["text"] == words
    assert [one["start"] for one in found["words"]] == sorted(
        one["start"] for one in found["words"]
    )
    asked["data"]["format"] = "vtt"
    assert client.post("/v1/align", **asked).text.startswith("WEBVTT")
    asked["data"] |= {"format": "json", "aligner": "nobody"}
    refused = client.post("/v1/align", **asked)
    assert refused.status_code == 400
    assert "nobody" in error_of(refused)["message"]


def test_a_sentence_is_read_and_not_run(client: TestClient) -> None:
    asked = {"say": ["take out the noise, then slow it down a little", "undo that"]}
    found = client.post("/v1/interpret", json=asked).json()
    assert [one["edit"] for one in found["chain"]["edits"]] == ["denoise"]
    assert found["explanation"][0]["read_from"] == "take out the noise"


class Streaming(FakeEngine):
    """Gives what it makes in three chunks; the second and third wait to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def stream(self, utterance: Utterance, edit: Edit, *, seed: int = 0) -> Iterator[Any]:
        made = Chain([edit])(utterance, cast(Any, FakeEngine()), route="llm", seed=seed).utterance
        for number, part in enumerate(np.array_split(made.samples, 3)):
            if number:
                assert self.go.wait(30)
            yield part


def test_the_first_audio_comes_before_the_last_is_made(tmp_path: Path) -> None:
    engine = Streaming()
    content, words = speech()
    with serving(tmp_path, cast(Any, engine)) as client:
        asked = {
            "files": {"file": ("a.wav", content)},
            "data": form(chain=SAID_SLOWER, transcript=words, stream="true", seed=2),
        }
        threading.Timer(1.0, engine.go.set).start()
        with client.stream("POST", "/v1/edit", **asked) as answer:
            assert answer.status_code == 200
            whole = b"".join(answer.iter_bytes())
        plain = client.post(
            "/v1/edit",
            files=asked["files"],
            data=asked["data"] | {"stream": "false", "route": "llm"},
        )
    assert whole[:4] == b"RIFF"
    samples = np.frombuffer(whole[44:], "<i2") / 32768
    np.testing.assert_allclose(samples, sound(plain.content)[0], atol=2 / 32768)


def test_no_engine_no_stream(client: TestClient) -> None:
    answer = edit(client, chain=SAID_SLOWER, stream="true", transcript="a")
    assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")


def test_a_chain_ends_when_its_client_goes(tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    class Held(FakeEngine):
        def encode(self, utterances: Any) -> Any:
            began.set()
            assert go_on.wait(timeout=20)
            return super().encode(utterances)

    engine = Held()
    data = form(chain=SAID_SLOWER, route="llm", transcript="a b c")
    sent: list[Any] = []
    with serving(tmp_path, engine) as client:
        asked = client.build_request(
            "POST", "/v1/edit", files={"file": ("a.wav", wav())}, data=data
        )
        bodies = [asked.read()]

        async def receive() -> Any:
            if bodies:
                return {"type": "http.request", "body": bodies.pop(), "more_body": False}
            await asyncio.to_thread(began.wait, 20)
            asyncio.get_running_loop().call_later(0.3, go_on.set)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/edit", "raw_path": b"/v1/edit", "root_path": "", "query_string": b"",
            "headers": [(k.lower().encode(), v.encode()) for k, v in asked.headers.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        assert client.portal is not None
        client.portal.call(client.app, scope, receive, send)
    assert sent[0]["status"] == 499
    assert engine.requests == []


def test_a_worker_that_dies_is_not_the_requests_fault(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*given: object) -> None:
        raise Busy("a worker process died")

    monkeypatch.setattr("stepedit_serve.working.Workers.call", dies)
    answer = edit(client, chain=SLOWER, route="dsp")
    assert (answer.status_code, error_of(answer)["code"]) == (503, "busy")
