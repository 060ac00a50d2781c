"""The batcher: calls that come together are one batch; one that fails fails alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
from stepedit_serve.batched_engine import batched_engine
from stepedit_serve.batching import DRAWN_AT_ONCE, Batcher
from stepedit_serve.errors import Cancelled

from stepedit_core import (
    Chain,
    DecodeRequest,
    DualCodes,
    EngineError,
    GenerateRequest,
    SpeechEngine,
    StepeditError,
    Utterance,
    edit_from_data,
    packaged_speech,
)
from stepedit_core.llm_route.choosing import decodes_excerpts
from stepedit_core.testing import FakeEngine
from tests.serve.streaming_engine import StreamingEngine

CHAIN = Chain([edit_from_data({"edit": "speed", "rate": "slower"})])


class Slow(FakeEngine):
    """Takes a moment, and refuses the words that it is told to."""

    refused = ""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        time.sleep(0.05)
        if any(self.refused and self.refused in str(one.utterance.transcript) for one in requests):
            raise EngineError("refused")
        return super().generate(requests)


@pytest.fixture
def batcher() -> Iterator[tuple[Batcher, list[tuple[str, int]]]]:
    seen: list[tuple[str, int]] = []
    found = Batcher(
        cast(SpeechEngine, Slow()), 8, lambda kind, items, seconds: seen.append((kind, items))
    )
    yield found, seen
    found.close()


def speech(words: str) -> Utterance:
    return packaged_speech("garden").replace(transcript=words)


def run_all(batcher: Batcher, texts: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}

    def one(words: str) -> None:
        with batcher.request():
            engine = cast(SpeechEngine, batched_engine(batcher))
            try:
                made[words] = CHAIN(speech(words), engine, route="llm", seed=len(words)).utterance
            except StepeditError as error:
                made[words] = error

    threads = [threading.Thread(target=one, args=(words,)) for words in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made


def test_batched_is_what_each_gives_alone(batcher: tuple[Batcher, list[tuple[str, int]]]) -> None:
    texts = [f"say {'so ' * n}" for n in range(1, 17)]
    made = run_all(batcher[0], texts)
    for words in texts:
        alone = CHAIN(speech(words), FakeEngine(), route="llm", seed=len(words)).utterance
        np.testing.assert_array_equal(made[words].samples, alone.samples)
    sizes = [items for kind, items in batcher[1] if kind == "generate"]
    assert sum(sizes) == 16
    assert max(size for kind, size in batcher[1] if kind != "generate") <= 8
    assert max(sizes) <= DRAWN_AT_ONCE
    assert len(sizes) < 16  # how many come together depends on the machine's load


def test_the_guilty_one_fails_alone(batcher: tuple[Batcher, list[tuple[str, int]]]) -> None:
    cast(Slow, batcher[0].engine).refused = "bad"
    made = run_all(batcher[0], ["good one", "bad one", "good two"])
    assert isinstance(made["bad one"], StepeditError)
    assert all(isinstance(made[words], Utterance) for words in ("good one", "good two"))


class Decoding(FakeEngine):
    """Takes a fifth of a second for each recording; says in which order it encoded them."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        time.sleep(0.2 * len(utterances))
        self.order += [str(one.transcript) for one in utterances]
        return super().encode(utterances)


def test_who_asks_for_much_lets_others_in() -> None:
    engine = Decoding()
    batcher = Batcher(cast(SpeechEngine, engine))
    try:
        batcher.ask("encode", [speech("first")])  # says how long one takes
        many = [speech(f"many {n}") for n in range(8)]
        made: list[DualCodes] = []
        asking = threading.Thread(target=lambda: made.extend(batcher.ask("encode", many)))
        asking.start()
        time.sleep(0.1)
        assert batcher.ask("encode", [speech("one")]) == FakeEngine().encode([speech("one")])
        asking.join()
        assert made == FakeEngine().encode(many)
        assert engine.order.index("one") <= 6
        assert [one for one in engine.order if "many" in one] == [one.transcript for one in many]
    finally:
        batcher.close()


class Burdened(FakeEngine):
    """Takes long for each call, as on a machine that has much else to do; can be held."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        self.sizes.append(len(utterances))
        assert self.goes_on.wait(20)
        time.sleep(0.6)
        return super().encode(utterances)


@pytest.mark.parametrize(("times", "sizes"), [(1, [1, 1, 4]), (7, [1, 1, 1, 1, 1, 1])])
def test_short_recordings_share_a_batch_on_a_burdened_machine(times: int, sizes: list[int]) -> None:
    engine = Burdened()
    batcher = Batcher(cast(SpeechEngine, engine))
    heard = packaged_speech("garden")

    def asked(number: int) -> Utterance:
        samples = np.tile(heard.samples, times) * (1 - number / 100)
        return heard.replace(samples=samples, alignment=None)

    def one(number: int) -> None:
        batcher.ask("encode", [asked(number)])

    try:
        one(0)  # says how long a call takes
        engine.goes_on.clear()
        threads = [threading.Thread(target=one, args=(number,)) for number in range(1, 6)]
        threads[0].start()
        while len(engine.sizes) < 2:
            time.sleep(0.01)
        for thread in threads[1:]:
            thread.start()
        while batcher.waiting < 4:
            time.sleep(0.01)
        engine.goes_on.set()
        for thread in threads:
            thread.join()
    finally:
        batcher.close()
    assert engine.sizes == sizes


def test_a_cancelled_chain_asks_no_more(batcher: tuple[Batcher, list[tuple[str, int]]]) -> None:
    wanted_no_more = threading.Event()
    engine = batched_engine(batcher[0], wanted_no_more)
    wanted_no_more.set()
    with pytest.raises(Cancelled):
        engine.encode([speech("a")])


def test_calls_fail_when_the_service_ends() -> None:
    batcher = Batcher(cast(SpeechEngine, FakeEngine()))
    batcher.close()
    with pytest.raises(StepeditError, match="shutting down"):
        batcher.ask("encode", [speech("a")])


def test_what_else_the_engine_offers(batcher: tuple[Batcher, list[tuple[str, int]]]) -> None:
    engine = batched_engine(batcher[0])
    assert engine.name == "fake"
    assert hasattr(engine, "infill") == hasattr(FakeEngine(), "infill")
    assert hasattr(engine, "decode_keeping") == hasattr(FakeEngine(), "decode_keeping")


class Excerpting(StreamingEngine):
    """Writes down how many excerpts it is asked for at once."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        self.asked.append(len(excerpts))
        time.sleep(0.05)  # others come meanwhile
        return super().decode_excerpts(requests, excerpts)


def test_the_excerpts_of_an_edit_are_a_batch_of_their_own() -> None:
    alone, shared = StreamingEngine(), Excerpting()
    batcher = Batcher(shared, 4)
    made: dict[int, list[Utterance]] = {}

    def asked(seed: int) -> tuple[list[DecodeRequest], list[tuple[int, int]]]:
        (codes,) = alone.encode([speech("so")])
        draws = [DecodeRequest(codes, speech("so"), seed + draw) for draw in range(6)]
        return draws, [(draw, draw + 2) for draw in range(6)]

    def one(seed: int) -> None:
        engine: Any = batched_engine(batcher)
        made[seed] = engine.decode_excerpts(*asked(seed))

    try:
        engine = cast(SpeechEngine, batched_engine(batcher))
        assert decodes_excerpts(engine) and engine.excerpt_context == alone.excerpt_context
        threads = [threading.Thread(target=one, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        batcher.close()
    assert shared.asked == [6, 6, 6, 6]
    assert made == {seed: alone.decode_excerpts(*asked(seed)) for seed in range(4)}


def test_an_engine_without_excerpts_offers_none(
    batcher: tuple[Batcher, list[tuple[str, int]]],
) -> None:
    assert not decodes_excerpts(cast(SpeechEngine, batched_engine(batcher[0])))
