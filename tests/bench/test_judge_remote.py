"""Judges behind an API, against a server on this machine that speaks both protocols."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stepedit_bench.judges.gemini import GeminiJudge
from stepedit_bench.judges.openai_chat import OpenAIJudge
from stepedit_bench.judges.remote import RemoteJudge

from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Verdict
from stepedit_core.utterance import Utterance

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

KEY = "secret-key-4711"
Reply = tuple[int, Mapping[str, str], Any]
KINDS = ("gemini", "openai")


class Service:
    """Answers with queued replies in order; the last one repeats."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.delay = 0.0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                service.seen.append((self.path, headers, json.loads(body)))
                time.sleep(service.delay)
                many = len(service.replies) > 1
                code, extra, payload = service.replies.pop(0) if many else service.replies[0]
                data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                try:
                    self.send_response(code)
                    for name, value in {"Content-Type": "application/json", **extra}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the client has given up waiting

            def log_message(self, *_: Any) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "OPENAI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def make(kind: str, service: Service, cache: Path | str, **settings: Any) -> RemoteJudge:
    settings = {"per_minute": 0, "timeout": 5, "attempts": 3, **settings}
    judge: RemoteJudge
    if kind == "gemini":
        pytest.importorskip("google.genai")
        judge = GeminiJudge("gemini-x", base_url=service.url, cache=str(cache), **settings)
    else:
        pytest.importorskip("openai")
        address = f"{service.url}/v1"
        judge = OpenAIJudge("hearing-x", base_url=address, cache=str(cache), **settings)
    judge.waited = []  # type: ignore[attr-defined]
    judge.retries.sleep = judge.waited.append  # type: ignore[attr-defined]
    return judge


def said(kind: str, text: str | None, reason: str = "STOP") -> Reply:
    """Return a good response that holds a text."""
    if kind == "gemini":
        parts = [] if text is None else [{"text": text}]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason}
        usage = {"promptTokenCount": 300, "candidatesTokenCount": 7, "thoughtsTokenCount": 90}
        return 200, {}, {"candidates": [candidate], "usageMetadata": usage}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": reason.lower()}
    usage = {"prompt_tokens": 300, "completion_tokens": 97, "total_tokens": 397}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "hearing-x"}
    return 200, {}, {**body, "choices": [choice], "usage": usage}


def failed(code: int, **headers: str) -> Reply:
    error = {"code": code, "message": f"trouble {KEY}", "status": "TROUBLE"}
    return (
        code,
        {name.replace("_", "-"): value for name, value in headers.items()},
        {"error": error},
    )


def speech(seed: int = 0) -> Utterance:
    noise = np.random.default_rng(seed).normal(0, 0.1, 8000)
    return Utterance(noise.astype(np.float32), 16_000)


def ask(judge: RemoteJudge, audio: Utterance | None = None) -> Verdict:
    return judge.judge("emotion", audio or speech(), labels=("happy", "sad", "neutral"))


@pytest.mark.parametrize("kind", KINDS)
def test_request_content(kind: str, service: Service, tmp_path: Path) -> None:
    service.replies = [said(kind, '{"label": "sad"}')]
    judge = make(kind, service, tmp_path)
    assert ask(judge) == Verdict(label="sad")
    path, headers, body = service.seen[0]
    assert KEY not in path and KEY not in json.dumps(body)
    text = json.dumps(body)
    assert "happy" in text and "{{" not in text
    if kind == "gemini":
        assert headers["x-goog-api-key"] == KEY
        assert path.endswith("/models/gemini-x:generateContent")
        part = next(iter(body["contents"][0]["parts"][0].values()))
        assert "audio/wav" in part.values()
        data, temperature = part["data"], body["generationConfig"]["temperature"]
    else:
        assert headers["authorization"] == f"Bearer {KEY}"
        assert path == "/v1/chat/completions"
        data = body["messages"][1]["content"][0]["input_audio"]["data"]
        temperature = body["temperature"]
    assert base64.urlsafe_b64decode(data.replace("+", "-").replace("/", "_"))[:4] == b"RIFF"
    assert temperature == 0
    assert judge.counts["tokens_in"] == 300 and judge.counts["tokens_out"] == 97


@pytest.mark.parametrize("kind", KINDS)
def test_answer_cache(kind: str, service: Service, tmp_path: Path) -> None:
    service.replies = [said(kind, '{"label": "happy"}')]
    first = ask(make(kind, service, tmp_path))
    again = make(kind, service, tmp_path)
    assert ask(again) == first and again.counts["cached"] == 1
    assert len(service.seen) == 1
    ask(again, speech(1))
    again.judge("emotion", speech(), labels=("happy", "sad"))
    assert len(service.seen) == 3, "other samples and other labels are other questions"
    kept = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(kept) == 3 and not any(KEY in text for text in kept)
    next(tmp_path.rglob("*.json")).write_text("{half")
    ask(make(kind, service, tmp_path))
    ask(make(kind, service, tmp_path), speech(1))
    assert len(service.seen) <= 4, "a damaged file is asked for again, the others are not"


@pytest.mark.parametrize("kind", KINDS)
def test_waits_as_long_as_the_server_asks(kind: str, service: Service, tmp_path: Path) -> None:
    service.replies = [failed(429, Retry_After="7"), said(kind, '{"label": "sad"}')]
    judge = make(kind, service, tmp_path)
    assert ask(judge).label == "sad"
    (waited,) = judge.waited  # type: ignore[attr-defined]
    assert 7.0 <= waited <= 8.0
    assert judge.retries.made == 1


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_are_limited(kind: str, service: Service, tmp_path: Path) -> None:
    service.replies = [failed(500)]
    judge = make(kind, service, tmp_path)
    verdict = ask(judge)
    assert verdict.label is None and verdict.refused
    assert "500" in verdict.refused and KEY not in verdict.refused
    assert len(service.seen) == 3 and judge.counts["failed"] == 1
    assert not list(tmp_path.rglob("*.json")), "a failure is not kept"
    service.replies = [said(kind, '{"label": "sad"}')]
    assert ask(judge).label == "sad"


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_out_is_repeated(kind: str, service: Service, tmp_path: Path) -> None:
    service.replies, service.delay = [said(kind, '{"label": "sad"}')], 1.0
    judge = make(kind, service, tmp_path, timeout=0.2, attempts=2)
    verdict = ask(judge)
    assert verdict.refused and "attempt 2" in verdict.refused
    assert len(judge.waited) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_no_server_is_a_refusal_not_a_crash(kind: str, service: Service, tmp_path: Path) -> None:
    judge = make(kind, service, tmp_path, attempts=2)
    service.server.shutdown()
    service.server.server_close()
    assert ask(judge).refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["I think it is sad.", '{"label": 3}', '{"label": '])
def test_unreadable_answers(kind: str, text: str, service: Service, tmp_path: Path) -> None:
    service.replies = [said(kind, text), said(kind, '```json\n{"label": "Sad."}\n```')]
    judge = make(kind, service, tmp_path / "a")
    assert ask(judge).label == "sad" and judge.counts["malformed"] == 1
    service.replies = [said(kind, text)]
    judge = make(kind, service, tmp_path / "b")
    assert ask(judge).refused and judge.counts["unreadable"] == 1
    assert not list((tmp_path / "b").rglob("*.json"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_no_json_is_repeated(kind: str, service: Service, tmp_path: Path) -> None:
    service.replies = [(200, {}, b"<html>proxy"), said(kind, '{"label": "sad"}')]
    judge = make(kind, service, tmp_path)
    assert ask(judge).label == "sad"


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_are_counted_and_not_repeated(kind: str, service: Service, tmp_path: Path) -> None:
    if kind == "gemini":
        blocked: Reply = (200, {}, {"promptFeedback": {"blockReason": "SAFETY"}})
        empty = said(kind, None, "SAFETY")
    else:
        blocked = said(kind, None)
        blocked[2]["choices"][0]["message"]["refusal"] = "I cannot judge voices."
        empty = said(kind, None, "CONTENT_FILTER")
    for reply in (blocked, empty):
        service.seen.clear()
        service.replies = [reply]
        judge = make(kind, service, tmp_path)
        verdict = ask(judge)
        assert verdict.refused and "refused" in verdict.refused
        assert judge.counts["refused"] == 1 and len(service.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_rejected_key_stops_at_once_in_one_line(
    kind: str, service: Service, tmp_path: Path
) -> None:
    service.replies = [failed(401)]
    with pytest.raises(StepeditError, match="HTTP 401") as caught:
        ask(make(kind, service, tmp_path))
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)
    assert len(service.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_rates_sounds_and_tells_labels_outside_the_set(
    kind: str, service: Service, tmp_path: Path
) -> None:
    judge = make(kind, service, tmp_path)
    items = [{"tag": "laugh", "heard": True, "in_place": True, "flaw": "weak"}]
    service.replies = [said(kind, json.dumps({"items": items, "score": "2"}))]
    event = {"tag": "laugh", "after_words": ["so", "late"], "before_words": []}
    question = {"text": "You are so late [laugh]", "events": [event]}
    verdict = judge.judge("paralinguistic", speech(), question=question)
    assert verdict.score == 2.0 and verdict.scores == {"laugh": 1.0}
    assert 'after \\"so late\\", at the end' in json.dumps(service.seen[-1][2])
    service.replies = [said(kind, '{"label": "act_cute"}')]
    offered = ("act_coy", "whisper", "neutral")
    assert judge.judge("style", speech(), labels=offered).label == "act_coy"
    service.replies = [said(kind, '{"label": "serious"}')]
    assert judge.judge("style", speech(1), labels=offered).label == "serious", "wrong, not dropped"
    service.replies = [said(kind, '{"label": null}')]
    assert judge.judge("style", speech(2), labels=offered).label == "neutral"


def test_no_key_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(StepeditError, match="GEMINI_API_KEY or GOOGLE_API_KEY"):
        GeminiJudge()
    with pytest.raises(StepeditError, match="OPENAI_API_KEY"):
        OpenAIJudge()
    pytest.importorskip("openai")
    OpenAIJudge(base_url="http://127.0.0.1:9/v1", cache="off")


def test_the_estimate_knows_prices(service: Service, tmp_path: Path) -> None:
    judge = make("openai", service, tmp_path, price_input="2", price_output=10)
    # 1000 x 450 + 6000 s x 10 = 0.51 M in at 2, 1000 x 80 = 0.08 M out at 10.
    assert "about 1.82" in judge.estimate(1000, 6000.0)
    assert "set price_input" in make("openai", service, tmp_path).estimate(1, 1.0)
    with pytest.raises(StepeditError, match="price_input='much'"):
        make("openai", service, tmp_path, price_input="much")
