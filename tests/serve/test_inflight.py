"""Requests join what an engine generates already, and leave when nobody wants them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import pytest
from stepedit_serve.batched_engine import batched_engine
from stepedit_serve.batching import DRAWN_AT_ONCE, MOST_DEATHS, Batcher
from stepedit_serve.engine_process import EngineDied, EngineProcess
from stepedit_serve.errors import Cancelled

from stepedit_core import (
    Edit,
    EngineConfig,
    EngineError,
    GenerateRequest,
    SpeechEngine,
    StreamRequest,
    packaged_speech,
)
from stepedit_core.engine import InfillRequest, SpokenWord
from stepedit_core.prompt import Prompt
from stepedit_core.testing import FakeEngine
from tests.serve.inflight_engine import CHUNK_STEPS, STEPS, InflightEngine, load

SPEECH = packaged_speech("garden")
CODES = FakeEngine().encode([SPEECH])[0]
PROMPT = Prompt.edit("Say it.\n")


class Slower(Edit):
    """Ask for slower speech."""


def request(words: str, seed: int = 0) -> GenerateRequest:
    return GenerateRequest(PROMPT, CODES, SPEECH.replace(transcript=words), seed)


def infilling(words: str, seed: int = 0) -> InfillRequest:
    places = (SpokenWord(0, 0.0), SpokenWord(4))
    speech = SPEECH.replace(transcript=words)
    return InfillRequest(PROMPT, CODES, speech, words, 2, 4, 3.0, places, seed)


def streaming(words: str, seed: int = 0) -> StreamRequest:
    return StreamRequest(SPEECH.replace(transcript=words), Slower(), seed)


@pytest.fixture
def engine() -> InflightEngine:
    return InflightEngine()


@pytest.fixture
def batcher(engine: InflightEngine) -> Iterator[Batcher]:
    found = Batcher(cast(SpeechEngine, engine))
    yield found
    found.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(80) as found:
        yield found


def asks(threads: ThreadPoolExecutor, batcher: Batcher, *words: str, **options: Any) -> Future[Any]:
    asked = [request(one) for one in words]
    return threads.submit(batcher.ask, "generate", asked, **options)


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_short_one_ends_before_a_long_one(batcher: Batcher, threads: ThreadPoolExecutor) -> None:
    long = asks(threads, batcher, "long words")
    wait_until(lambda: batcher._flights[0].rows == 1)
    for _ in range(3):
        short = asks(threads, batcher, "short words", "more words")
        assert short.result(20) == FakeEngine().generate([request("short"), request("more")])
        assert batcher.ask("encode", [SPEECH])[0] == CODES  # other work takes turns
    assert not long.done()
    assert long.result(60) == FakeEngine().generate([request("long")])


def test_changed_words_let_others_in(batcher: Batcher, threads: ThreadPoolExecutor) -> None:
    chained: Any = batched_engine(batcher)
    long = threads.submit(chained.infill, infilling("long words"))
    wait_until(lambda: len(batcher._flights[0]) == 1)
    second = threads.submit(chained.infill, infilling("second words"))  # one at a time
    assert asks(threads, batcher, "short").result(20)
    assert batcher.ask("encode", [SPEECH])[0] == CODES
    assert not long.done()
    assert len(batcher._flights[0]) == 1
    assert long.result(60) == FakeEngine().infill(infilling("long words"))
    assert second.result(20) == FakeEngine().infill(infilling("second words"))
    with pytest.raises(EngineError, match="wrong"):
        asks(threads, batcher, "wrong").result(20)


def test_streams_let_others_in(batcher: Batcher, threads: ThreadPoolExecutor) -> None:
    first = batcher.stream(streaming("endless sound", 7), threading.Event())
    assert [next(first)[0] for _ in range(3)] == [7.0, 8.0, 9.0]
    assert asks(threads, batcher, "short").result(20)
    chunks = list(batcher.stream(streaming("streamed sound", 1), threading.Event()))
    assert [chunk[0] for chunk in chunks] == list(range(1, STEPS["streamed"] // CHUNK_STEPS + 1))
    assert batcher._flights[0].rows == 1
    cast(Any, first).close()
    wait_until(lambda: batcher._flights[0].rows == 0)


def test_a_stream_that_is_given_up_ends(batcher: Batcher, engine: InflightEngine) -> None:
    gone = threading.Event()
    chunks = batcher.stream(streaming("endless sound"), gone)
    assert next(chunks)[0] == 0
    gone.set()
    with pytest.raises(Cancelled):
        list(chunks)
    assert engine.aborted == 1


def test_rows_are_bounded(
    batcher: Batcher, engine: InflightEngine, threads: ThreadPoolExecutor
) -> None:
    found = [asks(threads, batcher, "few words") for _ in range(DRAWN_AT_ONCE + 30)]
    for one in found:
        one.result(60)
    assert 1 < engine.most <= DRAWN_AT_ONCE


def test_those_that_nobody_wants_leave(
    batcher: Batcher, engine: InflightEngine, threads: ThreadPoolExecutor
) -> None:
    gone = threading.Event()
    unwanted = asks(threads, batcher, "endless words", "short words", cancelled=gone)
    waits = asks(threads, batcher, "long words")
    wait_until(lambda: batcher._flights[0].rows == 3)
    gone.set()
    with pytest.raises(Cancelled):
        unwanted.result(20)
    assert waits.result(60)
    assert engine.aborted == 1
    # One that is given up before it began is never begun.
    late = asks(threads, batcher, "endless words", cancelled=gone)
    with pytest.raises(Cancelled):
        late.result(20)


def test_a_chain_that_is_cancelled_while_it_generates(
    batcher: Batcher, threads: ThreadPoolExecutor
) -> None:
    gone = threading.Event()
    chained = batched_engine(batcher, gone)
    assert not hasattr(chained, "inflight_batch")
    call = threads.submit(chained.generate, [request("endless words")])
    wait_until(lambda: batcher._flights[0].rows == 1)
    gone.set()
    with pytest.raises(Cancelled):
        call.result(20)
    assert batched_engine(batcher).generate([request("short words")])


def test_the_guilty_one_fails_alone(batcher: Batcher, threads: ThreadPoolExecutor) -> None:
    long = asks(threads, batcher, "long words")
    wait_until(lambda: batcher._flights[0].rows == 1)
    bad, wrong = asks(threads, batcher, "bad words"), asks(threads, batcher, "fine", "wrong words")
    with pytest.raises(EngineError, match="wrong words"):
        wrong.result(20)
    with pytest.raises(RuntimeError, match="out of memory"):
        bad.result(20)
    assert long.result(60) == FakeEngine().generate([request("long")])
    assert asks(threads, batcher, "short").result(20)


def test_several_answers_share_the_batch(batcher: Batcher, threads: ThreadPoolExecutor) -> None:
    asks(threads, batcher, "long words")
    chained: Any = batched_engine(batcher)
    found = chained.generate_several([request("short"), request("more")], draws=4, keep=2)
    assert [len(answers) for answers in found] == [2, 2]
    assert found[0][0] == FakeEngine().generate([request("short")])[0]


def test_calls_under_way_fail_when_the_service_ends(threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(cast(SpeechEngine, InflightEngine()))
    call = asks(threads, batcher, "endless words")
    wait_until(lambda: batcher._flights[0].rows == 1)
    batcher.close()
    with pytest.raises(Exception, match="shutting down"):
        call.result(20)


def test_engines_share_the_requests(threads: ThreadPoolExecutor) -> None:
    engines = [InflightEngine(), InflightEngine()]
    batcher = Batcher([cast(SpeechEngine, one) for one in engines])
    try:
        calls = [asks(threads, batcher, "long words") for _ in range(8)]
        wait_until(lambda: sum(one.rows for one in batcher._flights) == 8)
        assert {one.rows for one in batcher._flights} == {4}
        assert all(call.result(60) for call in calls)
    finally:
        batcher.close()


def test_an_engine_process_that_is_killed(threads: ThreadPoolExecutor) -> None:
    process = EngineProcess(EngineConfig(name_or_path="other"), load=load)
    batcher = Batcher(cast(SpeechEngine, process))
    try:
        assert batcher.admits
        short = asks(threads, batcher, "short").result(30)
        assert short == FakeEngine().generate([request("short")])
        calls = [asks(threads, batcher, "long words", "short") for _ in range(3)]
        wait_until(lambda: batcher._flights[0].rows == 6)
        first = process.pid
        os.kill(cast(int, first), signal.SIGKILL)
        wanted = FakeEngine().generate([request("long"), request("short")])
        assert [call.result(60) for call in calls] == [wanted] * 3
        assert process.pid != first
        assert len(batcher._flights[0]) == batcher._flights[0].rows == 0
        gone = threading.Event()
        unwanted = asks(threads, batcher, "endless words", cancelled=gone)
        wait_until(lambda: batcher._flights[0].rows == 1)
        gone.set()
        with pytest.raises(Cancelled):
            unwanted.result(20)
        assert asks(threads, batcher, "short").result(30) == short
        wrong = asks(threads, batcher, "wrong words")
        with pytest.raises(EngineError, match="wrong words"):
            wrong.result(20)
        assert asks(threads, batcher, "short").result(30) == short
        assert cast(Any, process).figures()[1] >= 1
    finally:
        batcher.close()


def test_a_stream_outlives_an_engine_process(threads: ThreadPoolExecutor) -> None:
    process = EngineProcess(EngineConfig(name_or_path="other"), load=load)
    batcher = Batcher(cast(SpeechEngine, process))
    try:
        chunks = batcher.stream(streaming("long sound", 3), threading.Event())
        found = [next(chunks)[0] for _ in range(4)]
        long = threads.submit(cast(Any, batched_engine(batcher)).infill, infilling("long words"))
        wait_until(lambda: len(batcher._flights[0]) == 2)
        os.kill(cast(int, process.pid), signal.SIGKILL)
        found += [chunk[0] for chunk in chunks]
        assert found == list(range(3, 3 + STEPS["long"] // CHUNK_STEPS))
        assert long.result(60) == FakeEngine().infill(infilling("long words"))
    finally:
        batcher.close()


def test_one_over_which_engines_die_fails(threads: ThreadPoolExecutor) -> None:
    class Dying(InflightEngine):
        tries = 0

        def generate(self, requests: Any) -> Any:
            if "bad" in str(requests[0].utterance.transcript):
                self.tries += 1
                raise EngineDied("died")
            return super().generate(requests)

    engine = Dying()
    batcher = Batcher(cast(SpeechEngine, engine))
    try:
        long, bad = asks(threads, batcher, "long words"), asks(threads, batcher, "bad words")
        with pytest.raises(EngineDied):
            bad.result(20)
        assert engine.tries == MOST_DEATHS
        assert long.result(60)
    finally:
        batcher.close()
