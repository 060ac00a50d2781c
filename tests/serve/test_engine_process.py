"""An engine in a process of its own gives what it gives here; one that dies is replaced."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
from stepedit_serve.batched_engine import batched_engine
from stepedit_serve.batching import Batcher
from stepedit_serve.engine_process import FACTS, EngineProcess
from stepedit_serve.processes import large_pages

from stepedit_core import (
    Chain,
    CheckpointError,
    DecodeRequest,
    DualCodes,
    EngineConfig,
    EngineError,
    SpeechEngine,
    Utterance,
    edit_from_data,
    load_engine,
    packaged_speech,
)
from stepedit_core.llm_route.choosing import decodes_excerpts
from stepedit_core.models.engine import Engine
from stepedit_core.testing import FakeEngine
from tests.serve.streaming_engine import CHUNKS, load

EMOTION = edit_from_data({"edit": "emotion", "to": "happy"})
HAPPY = Chain([EMOTION])
EMBEDDED = EngineConfig(name_or_path="embedded", device="cpu")


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess]:
    found = EngineProcess(EngineConfig(name_or_path="other"), load=load)
    yield found
    found.close()


def samples(engine: Any, seed: int = 1) -> Any:
    return HAPPY(packaged_speech("garden"), engine, route="llm", seed=seed).utterance.samples


def test_the_same_as_here(engine: EngineProcess) -> None:
    np.testing.assert_array_equal(samples(engine), samples(FakeEngine()))


@pytest.mark.slow
def test_the_embedded_model() -> None:
    engine = EngineProcess(EMBEDDED)
    try:
        np.testing.assert_allclose(samples(engine), samples(load_engine(EMBEDDED)), atol=2e-4)
        assert (engine.name, engine.sample_rate) == ("embedded", 24_000)
        assert engine.knows(EMOTION) is True
        assert hasattr(engine, "infill")
        stream = engine.stream(packaged_speech("garden"), EMOTION, seed=1)
        assert len(next(stream)) > 0
        stream.close()
        assert engine.encode([packaged_speech("garden")])[0].groups > 10
    finally:
        engine.close()


def test_it_offers_what_the_engine_offers(engine: EngineProcess) -> None:
    assert engine.name == "other"
    assert engine.sample_rate == 24_000
    assert engine.describe()["device"] == "cpu"
    assert engine.knows(EMOTION) is True
    assert hasattr(engine, "stream")
    assert not hasattr(engine, "bake")
    assert decodes_excerpts(cast(SpeechEngine, engine)) and engine.excerpt_context == 0.25


def test_all_that_an_engine_says_of_itself_is_known_here() -> None:
    said = {name for name, what in vars(Engine).items() if isinstance(what, property)}
    assert said - {"times"} <= set(FACTS)  # times change


@pytest.mark.slow
def test_sounds_between_words_are_those_of_the_library() -> None:
    engine = EngineProcess(EMBEDDED)
    kinds: list[str] = []
    batcher = Batcher(cast(SpeechEngine, engine), on_batch=lambda kind, *_: kinds.append(kind))
    speech = packaged_speech("garden")
    words = str(speech.transcript)
    chain = Chain([edit_from_data({"edit": "paralinguistic", "text": f"{words} [laugh]"})])
    try:
        chained = cast(SpeechEngine, batched_engine(batcher))
        found = chain(speech, chained, route="llm", seed=3)
        expected = chain(speech, load_engine(EMBEDDED), route="llm", seed=3)
        assert found.steps[0].details["draws"] == expected.steps[0].details["draws"] == 8
        np.testing.assert_array_equal(found.utterance.samples, expected.utterance.samples)
        assert kinds.count("decode_excerpts") == 1 and kinds.count("decode_keeping") <= 2
    finally:
        batcher.close()


def test_its_errors_are_raised_here(engine: EngineProcess) -> None:
    with pytest.raises(AttributeError, match="'str'"):
        engine.encode(cast(Any, ["no utterance"]))
    assert engine.encode([packaged_speech("garden")])[0].groups > 10


def test_a_stream_that_is_given_up_ends(engine: EngineProcess) -> None:
    before = engine.count()
    stream = engine.stream(packaged_speech("garden"), EMOTION, seed=1)
    assert len(next(stream)) > 0
    stream.close()
    assert engine.encode([packaged_speech("garden")])[0].groups > 10
    assert engine.count() - before < CHUNKS


def test_the_error_of_a_stream_is_raised_here(engine: EngineProcess) -> None:
    silence = packaged_speech("garden")
    silence = silence.replace(samples=np.zeros_like(silence.samples))
    with pytest.raises(EngineError, match="nothing to hear"):
        next(engine.stream(silence, EMOTION))
    assert engine.encode([packaged_speech("garden")])[0].groups > 10


def test_questions_do_not_wait_for_work(engine: EngineProcess) -> None:
    stream = engine.stream(packaged_speech("garden"), EMOTION, seed=1)
    next(stream)  # the work's pipe is taken until the stream ends
    answer: list[bool] = []
    asking = threading.Thread(target=lambda: answer.append(engine.knows(EMOTION)))
    asking.start()
    asking.join(timeout=20)
    assert answer == [True]
    stream.close()


def test_one_that_dies_is_replaced(engine: EngineProcess) -> None:
    batcher = Batcher(cast(SpeechEngine, engine))
    try:
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        speech = packaged_speech("garden")
        chained = batched_engine(batcher)
        try:
            found = chained.encode([speech])
        except EngineError as error:  # the call came before the death was seen
            assert "died" in str(error)
            found = chained.encode([speech])
        assert found[0].groups > 10
    finally:
        batcher.close()
        with pytest.raises(EngineError, match="closed"):
            engine.encode([speech])


def test_what_cannot_be_loaded_says_so() -> None:
    with pytest.raises((EngineError, CheckpointError), match="no-such-engine"):
        EngineProcess(EngineConfig(name_or_path="./no-such-engine"))


def test_batches_go_to_engines_that_are_free() -> None:
    class Held(FakeEngine):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def generate(self, requests: Any) -> Any:
            self.seen.append(len(requests))
            together.wait(timeout=20)
            return super().generate(requests)

    together = threading.Barrier(2)  # passes where both engines work at the same time
    engines = [Held(), Held()]
    batcher = Batcher([cast(SpeechEngine, one) for one in engines])
    slower = Chain([edit_from_data({"edit": "speed", "rate": "slower"})])

    def one(seed: int) -> None:
        with batcher.request():
            chained = cast(SpeechEngine, batched_engine(batcher))
            slower(packaged_speech("garden"), chained, route="llm", seed=seed)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    assert [len(held.seen) for held in engines] == [1, 1]


FAULTS = """
import resource
import numpy as np
from stepedit_serve.processes import keep_freed_memory
keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(2**21, np.uint8) for _ in range(20)]  # NumPy asks no large pages for them
    del blocks
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep their way")
def test_freed_memory_is_kept() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 100  # of 10,000 pages


def test_the_users_own_tunables_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with large_pages():
        assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert "GLIBC_TUNABLES" not in os.environ
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    with large_pages():
        assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1"
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1"


class Met(FakeEngine):
    """Notes what it encodes and decodes, and can be held while it does so."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.began = threading.Event()

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        self.seen += [f"encode {one.transcript}" for one in utterances]
        self.began.set()
        assert self.goes_on.wait(10)
        return super().encode(utterances)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        self.seen += [f"decode {one.reference.transcript}" for one in requests]
        return super().decode(requests)


def of_words(words: str) -> Utterance:
    """Return a recording of its own for some words."""
    speech = packaged_speech("garden")
    return speech.replace(samples=speech.samples * (1 - len(words) / 100), transcript=words)


def test_recordings_go_to_the_engine_that_has_met_them() -> None:
    engines = [Met(), Met()]
    batcher = Batcher([cast(SpeechEngine, one) for one in engines])
    try:
        for round_ in range(6):
            speech = of_words("so " * round_)
            (codes,) = batcher.ask("encode", [speech])
            batcher.ask("decode", [DecodeRequest(codes, speech)])
            batcher.ask("encode", [speech])
        words = [{line.partition(" ")[2] for line in one.seen} for one in engines]
        assert not words[0] & words[1]
        assert sum(len(one.seen) for one in engines) == 18
    finally:
        batcher.close()


def test_an_engine_without_work_helps_one_that_has_too_much() -> None:
    engines = [Met(), Met()]
    batcher = Batcher([cast(SpeechEngine, one) for one in engines])
    try:
        known = of_words("known")
        (codes,) = batcher.ask("encode", [known])
        home = next(one for one in engines if one.seen)
        other = engines[1 - engines.index(home)]
        home.goes_on.clear()
        home.began.clear()
        held = threading.Thread(target=batcher.ask, args=("encode", [known]))
        held.start()
        assert home.began.wait(10)
        batcher.ask("decode", [DecodeRequest(codes, known)])
        assert other.seen == ["decode known"]
        home.goes_on.set()
        held.join()
    finally:
        batcher.close()
