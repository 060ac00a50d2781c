"""Who comes in: keys, limits, sizes; what is logged; what decoders may take."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from stepedit_serve.decoding import Bounds, decode_utterance
from stepedit_serve.errors import ApiError
from stepedit_serve.keys import Key, Keys, new_key
from stepedit_serve.marking import Marker

from stepedit_core import StepeditError, Utterance
from stepedit_core.cli.root import cli
from tests.serve.serve_kit import SLOWER, error_of, form, serving, wav


@pytest.fixture
def secrets(tmp_path: Path) -> tuple[Path, str, str]:
    file = tmp_path / "keys.toml"
    return file, new_key("ann", file), new_key("bob", file)


@pytest.fixture
def client(secrets: tuple[Path, str, str], tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path, keys=secrets[0]) as found:
        yield found


def by(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_no_secret_is_in_the_file(secrets: tuple[Path, str, str]) -> None:
    file, ann, bob = secrets
    text = file.read_text()
    assert ann not in text and bob not in text
    assert oct(os.stat(file).st_mode)[-3:] == "600"
    with pytest.raises(StepeditError, match="already"):
        new_key("ann", file)


def test_a_key_is_asked_for_before_the_body_is_read(client: TestClient) -> None:
    for headers in ({}, by("wrong"), {"Authorization": "Basic abc"}):
        answer = client.post("/v1/edit", content=b"x" * 10_000, headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_key")
    assert client.get("/health").status_code == 200
    assert client.get("/metrics").status_code == 401


def test_what_one_key_makes_another_does_not_see(
    client: TestClient, secrets: tuple[Path, str, str]
) -> None:
    _, ann, bob = secrets
    made = client.post("/v1/sessions", files={"file": ("a.wav", wav())}, headers=by(ann)).json()
    assert client.get(f"/v1/sessions/{made['id']}", headers=by(ann)).status_code == 200
    assert client.get(f"/v1/sessions/{made['id']}", headers=by(bob)).status_code == 404
    assert client.delete(f"/v1/sessions/{made['id']}", headers=by(bob)).status_code == 404
    assert client.get("/v1/sessions", headers=by(bob)).json() == {"sessions": []}
    where = f"/v1/sessions/{made['id']}/nodes/{made['root']}/audio"
    assert client.get(where, headers=by(bob)).status_code == 404


def limited(tmp_path: Path, **limits: object) -> tuple[Path, str]:
    file = tmp_path / "limited.toml"
    secret = new_key("ann", file)
    lines = "".join(f"{name} = {str(value).lower()}\n" for name, value in limits.items())
    file.write_text(file.read_text().rstrip() + "\n" + lines)
    return file, secret


def test_rate(tmp_path: Path) -> None:
    file, secret = limited(tmp_path, requests_per_minute=3)
    with serving(tmp_path, keys=file) as client:
        answers = [client.get("/v1/models", headers=by(secret)) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert error_of(answers[-1])["code"] == "rate_limited"


def test_seconds_of_audio(tmp_path: Path) -> None:
    file, secret = limited(tmp_path, audio_seconds_per_hour=2.5)
    with serving(tmp_path, keys=file) as client:
        answers = [
            client.post(
                "/v1/edit",
                files={"file": ("a.wav", wav(2.0))},
                data=form(chain={"edit": "speed", "rate": "slower"}, route="llm", transcript="a"),
                headers=by(secret),
            )
            for _ in range(2)
        ]
    assert [one.status_code for one in answers] == [200, 429]
    assert error_of(answers[1])["code"] == "audio_quota"


def test_parallel_jobs(tmp_path: Path) -> None:
    file, secret = limited(tmp_path, jobs=0)
    with serving(tmp_path, keys=file) as client:
        answer = client.post(
            "/v1/jobs",
            files={"file": ("a.wav", wav())},
            data=form(chain=SLOWER),
            headers=by(secret),
        )
    assert (answer.status_code, error_of(answer)["code"]) == (429, "too_many_jobs")


def test_redaction_that_cannot_be_had(tmp_path: Path) -> None:
    file, secret = limited(tmp_path, redact=True)
    with serving(tmp_path, keys=file) as client:
        known = {one["name"] for one in client.get("/v1/edits", headers=by(secret)).json()["edits"]}
        answer = client.post(
            "/v1/edit",
            files={"file": ("a.wav", wav())},
            data=form(chain=SLOWER),
            headers=by(secret),
        )
    if "redact" not in known:
        assert (answer.status_code, error_of(answer)["code"]) == (403, "not_permitted")


@pytest.mark.parametrize(
    "text",
    ["[[key]]\nname = 1\n", "nonsense", "[other]\n", '[[key]]\nname = "a"\nhash = "md5:abc"\n'],
)
def test_damaged_key_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(StepeditError, match=r"keys\.toml"):
        Keys(file)


def test_a_key_that_is_taken_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_serve.keys._REREAD_SECONDS", 0.0)
    file = tmp_path / "keys.toml"
    secret = new_key("ann", file)
    keys = Keys(file)
    assert keys.find(secret).name == "ann"
    file.write_text("")
    os.utime(file, (1, 1))
    with pytest.raises(ApiError, match="not known"):
        keys.find(secret)


def test_an_allowance_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    keys = Keys(None)
    key = Key(name="a", hash="sha256:" + "0" * 64, requests_per_minute=60)
    for _ in range(60):
        keys.count_request(key)
    with pytest.raises(ApiError) as caught:
        keys.count_request(key)
    assert caught.value.status == 429
    now = 2.0
    keys.count_request(key)


# Sizes -----------------------------------------------------------------------------------


def test_announced_and_real_sizes(tmp_path: Path) -> None:
    with serving(tmp_path, max_edit_body=20_000, max_json_body=2000) as client:
        big = client.post("/v1/edit", files={"file": ("a.wav", wav(2.0))}, data=form(chain=SLOWER))
        assert (big.status_code, error_of(big)["code"]) == (413, "too_large")

        def chunks() -> Iterator[bytes]:
            yield b'{"say": "'
            for _ in range(10):
                yield b"a" * 1000
            yield b'"}'

        headers = {"content-type": "application/json"}
        streamed = client.post("/v1/interpret", content=chunks(), headers=headers)
        assert (streamed.status_code, error_of(streamed)["code"]) == (413, "too_large")


def test_a_decoder_has_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "long.wav"
    file.write_bytes(wav(280.0, 96_000))
    with pytest.raises(ApiError) as caught:
        decode_utterance(file, Bounds(300.0, 64 << 20, 30.0))
    assert caught.value.code == "invalid_audio"
    assert "64 MB" in caught.value.message
    assert decode_utterance(file, Bounds(300.0, 1 << 30, 30.0)).seconds == 280.0


def test_a_decoder_has_little_time(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(wav(1.0))
    with pytest.raises(ApiError, match="busy") as caught:
        decode_utterance(file, Bounds(300.0, 1 << 30, 1e-4))
    # It had no time to use any: that is the machine's fault and not the file's.
    assert (caught.value.status, caught.value.retry_after) == (503, 10)
    assert list(tmp_path.iterdir()) == [file]


# Logs, addresses -------------------------------------------------------------------------


def test_logs_hold_no_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path) as client:
        client.post(
            "/v1/edit",
            files={"file": ("secretname.wav", wav())},
            data=form(chain={"edit": "speed", "rate": "slower"}, transcript="secretword"),
        )
        client.post("/v1/interpret", json={"say": "secretword secretword"})
        client.get("/v1/sessions/secretword")
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("stepedit")]
    assert any("/v1/edit 200" in line for line in ours)
    assert not [line for line in ours if "secret" in line]


def test_other_origins_are_not_answered(tmp_path: Path) -> None:
    ask = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    with serving(tmp_path) as client:
        answer = client.options("/v1/edit", headers=ask)
        assert "access-control-allow-origin" not in answer.headers
        sent = client.post(
            "/v1/edit",
            files={"file": ("a.wav", wav())},
            data=form(chain=SLOWER),
            headers={"Origin": "https://elsewhere.example"},
        )
        assert (sent.status_code, error_of(sent)["code"]) == (403, "not_permitted")
        own = client.get("/v1/models", headers={"Origin": "http://testserver"})
        assert own.status_code == 200
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/v1/live", headers={"Origin": "https://elsewhere.example"}),
        ):
            pass
    with serving(tmp_path, cors=("https://elsewhere.example",)) as client:
        answer = client.options("/v1/edit", headers=ask)
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("[::1]", 200),
        ("evil.example:1", 403),
        ("", 403),
    ],
)
def test_names_bent_to_this_address(tmp_path: Path, host: str, status: int) -> None:
    with serving(tmp_path, hosts=("localhost", "[::1]")) as client:
        assert client.get("/v1/models", headers={"Host": host}).status_code == status


def test_an_open_address_needs_keys() -> None:
    done = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0"])
    assert done.exit_code == 2
    assert "--keys" in done.output


def test_one_service_for_one_folder(tmp_path: Path) -> None:
    with (
        serving(tmp_path),
        pytest.raises(StepeditError, match="another service"),
        serving(tmp_path),
    ):
        pass


def test_no_mark_of_that_name(tmp_path: Path) -> None:
    with (
        pytest.raises(StepeditError, match="no mark 'nonsense'"),
        serving(tmp_path, mark="nonsense"),
    ):
        pass


def test_a_mark_that_does_not_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        marks_sound = True
        hint: str | None = None

        @classmethod
        def missing(cls) -> str | None:
            return cls.hint

        def in_sound(self, edited: Utterance, spans: object) -> Utterance:
            raise StepeditError("its network cannot be loaded")

    monkeypatch.setattr("stepedit_serve.marking._known", lambda: {"broken": Broken})
    found = Marker("auto")
    assert found.name == "broken"
    found.check()
    assert found.name == "none"
    assert found.why_none == ("failed", "broken: its network cannot be loaded")
    assert Marker("none").why_none is not None
    assert "without a mark: its network" in caplog.text
    speech = Utterance(np.ones(8000, np.float32) * 0.1, 8000)
    assert found.marked(speech, None) is speech
    with pytest.raises(StepeditError, match="its network"):
        Marker("broken").check()
    Broken.hint = "its library is not installed"
    unset = Marker("auto")
    unset.check()
    assert unset.why_none == ("missing", "broken: its library is not installed")
    assert "without a mark: broken: its library" in caplog.text
