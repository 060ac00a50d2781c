"""OpenAI's clients: voices, consents, speech; the `openai` package itself where it is there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.serve_kit import error_of, form, serving, sound, wav


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("speech")) as found:
        yield found


def voice(client: TestClient, **fields: Any) -> dict[str, Any]:
    data = {"name": "Ann", "transcript": "hello there", **fields}
    answer = client.post(
        "/v1/audio/voices",
        files={"audio_sample": ("a.wav", wav(1.5))},
        data=form(**{"consent_attestation": "Ann agreed on Monday", **data}),
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_voice_needs_consent(client: TestClient) -> None:
    answer = client.post(
        "/v1/audio/voices",
        files={"audio_sample": ("a.wav", wav(1.5))},
        data=form(name="Ann", transcript="hello"),
    )
    assert (answer.status_code, error_of(answer)["code"]) == (403, "consent_required")


@pytest.mark.parametrize("kind", ["mp3", "opus", "aac", "flac"])
def test_formats(client: TestClient, kind: str) -> None:
    made = voice(client)
    answer = client.post(
        "/v1/audio/speech",
        json={"model": "x", "input": "good day", "voice": made["id"], "response_format": kind},
    )
    assert answer.status_code == 200, answer.text
    if kind != "aac":
        assert len(sound(answer.content)[0])
    else:
        assert answer.content[:1] == b"\xff"


def test_speed_is_a_second_edit(client: TestClient) -> None:
    made = voice(client)
    asked = {"model": "x", "input": "good day", "voice": made["id"], "response_format": "flac"}
    plain = len(sound(client.post("/v1/audio/speech", json=asked).content)[0])
    slow = client.post("/v1/audio/speech", json={**asked, "speed": 0.25})
    assert len(sound(slow.content)[0]) == pytest.approx(4 * plain, rel=0.05)


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"voice": "alloy"}, 404, "voice"),
        ({"input": ""}, 400, "input"),
        ({"input": "..."}, 400, "input"),
        ({"speed": 9}, 400, "speed"),
        ({"response_format": "wma"}, 400, "response_format"),
        ({"instructions": "cheerful"}, 400, "instructions"),
        ({"input": "a\x00b"}, 400, None),
    ],
)
def test_refusals(client: TestClient, change: dict[str, Any], status: int, param: str) -> None:
    made = voice(client)
    asked = {"model": "x", "input": "good day", "voice": made["id"], **change}
    answer = client.post("/v1/audio/speech", json=asked)
    assert answer.status_code == status, answer.text
    assert error_of(answer)["param"] == param


def test_half_a_surrogate_pair(client: TestClient) -> None:
    answer = client.post(
        "/v1/audio/speech",
        content=b'{"model": "x", "input": "\\ud800", "voice": "v"}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400


def test_events(client: TestClient) -> None:
    made = voice(client)
    asked = {"model": "x", "input": "good day", "voice": made["id"], "stream_format": "sse"}
    text = client.post("/v1/audio/speech", json=asked).text
    assert "speech.audio.delta" in text and text.rstrip().splitlines()[-2].endswith("audio.done")


@pytest.fixture
def openai_client(client: TestClient) -> Any:
    """Return the `openai` package's client; the package comes with httpx or with httpx2."""
    openai = pytest.importorskip("openai")
    http = import_module(openai.DefaultHttpxClient.__bases__[0].__module__.partition(".")[0])
    return openai.OpenAI(
        api_key="x",
        base_url="http://testserver/v1",
        http_client=http.Client(transport=_Through(client, http)),
        max_retries=0,
    )


def test_the_openai_package(client: TestClient, openai_client: Any) -> None:
    import openai

    assert [one.id for one in openai_client.models.list()] == ["fake"]
    made = voice(client)
    spoken = openai_client.audio.speech.create(
        model="fake", voice=made["id"], input="good day", response_format="flac"
    )
    assert len(sound(spoken.content)[0])
    with pytest.raises(openai.NotFoundError, match="no voice"):
        openai_client.audio.speech.create(model="fake", voice="alloy", input="good day")


def test_voices_of_the_openai_package(openai_client: Any) -> None:
    ours = openai_client
    if not hasattr(ours.audio, "voice_consents"):
        pytest.skip("this openai package knows no voices")
    consent = ours.audio.voice_consents.create(
        name="Ann", language="en-US", recording=("c.wav", io.BytesIO(wav(1.0)))
    )
    made = ours.audio.voices.create(
        name="Ann",
        consent=consent.id,
        audio_sample=("a.wav", io.BytesIO(wav(1.5))),
        extra_body={"transcript": "hello there"},
    )
    assert made.object == "audio.voice"
    spoken = ours.audio.speech.create(
        model="fake", voice={"id": made.id}, input="good day", response_format="flac"
    )
    assert len(sound(spoken.content)[0])
    gone = ours.audio.voices.delete(made.id)
    assert gone.deleted


class _Through:
    """Carries the package's requests to the test client."""

    def __init__(self, client: TestClient, http: ModuleType) -> None:
        self._client, self._http = client, http

    def handle_request(self, request: Any) -> Any:
        answer = self._client.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.read(),
            headers=dict(request.headers),
        )
        return self._http.Response(
            answer.status_code, headers=dict(answer.headers), content=answer.content
        )

    def close(self) -> None:
        return

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *of: Any) -> None:
        return
