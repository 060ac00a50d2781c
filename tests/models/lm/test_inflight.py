"""In-flight batching: what a request gives, whoever comes and goes meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from stepedit_core import Edit, Engine, GenerationPolicy, Plan, Prompt, SamplingConfig, Utterance
from stepedit_core.codes import DualCodes, FreeGroups
from stepedit_core.engine import GenerateRequest, InfillRequest, SpokenWord
from stepedit_core.errors import BudgetError, EngineError, StepeditError
from stepedit_core.llm_route.inflight import StreamRequest
from stepedit_core.models.reader import PhoneReader
from stepedit_core.testing import speech_like
from tests.models.clear_reader import ClearNetwork, write_dictionary
from tests.models.tiny_checkpoint import write_engine

SPEECH = speech_like(0.6, 16_000).replace(transcript="words")


class Preferring(PhoneReader):
    """A fake: prefers answers whose codes are high, and gives those up that begin low."""

    def score(self, codes: DualCodes, text: str) -> float | None:
        return float(codes.linguistic.mean())

    def scores(self, answers: Sequence[DualCodes], text: str) -> list[float | None]:
        return [self.score(codes, text) for codes in answers]

    def best_score(self, codes: DualCodes, text: str) -> float:
        return 1024.0 if codes.groups < 8 or codes.linguistic[0] > 300 else 0.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    sampling = SamplingConfig(
        max_length=1500, edits={"calm": {"temperature": 0.3}, "led": {"guidance": 1.5}}
    )
    policy = GenerationPolicy(
        min_length=0.5, max_growth=1.5, edits={"chosen": {"best_of": 5}, "free": {"best_of": 3}}
    )
    found = Engine.load(
        write_engine(tmp_path_factory.mktemp("engine")), sampling=sampling, generation=policy
    )
    words = write_dictionary(tmp_path_factory.mktemp("words"), "bee B IY\nsea S IY\n")
    found.parts = dataclasses.replace(found.parts, reader=Preferring(ClearNetwork(), words))
    return found


def asked(seed: int, groups: int, rules: str = "", **fields: object) -> GenerateRequest:
    rng = np.random.default_rng(seed)
    codes = DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))
    prompt = Prompt.edit(f"Make it {'very ' * (seed % 4)}so.\n")
    plan = Plan(uniform_tempo=True, rules=(rules,) if rules else ())
    return dataclasses.replace(
        GenerateRequest(prompt, codes, SPEECH, seed, plan, words="bee sea"), **fields
    )


MANY = [
    asked(1, 12),
    asked(2, 3),
    asked(3, 7, "calm"),
    asked(4, 9, "chosen"),
    asked(5, 4, "led"),
    asked(6, 10, free=(FreeGroups(2, 4, 3), FreeGroups(7, 7, 2))),
    asked(7, 6, "chosen"),
    asked(8, 8, "led"),
]


def ran(
    engine: Engine,
    requests: Sequence[GenerateRequest],
    comes: Sequence[int],
    between: Callable[[int, object], None] = lambda step, batch: None,
) -> dict[int, list[DualCodes] | StepeditError]:
    """Run requests that come at given steps; return what each gives."""
    batch, found, step = engine.inflight_batch(), {}, 0
    waiting = sorted(range(len(requests)), key=lambda at: comes[at])
    while waiting or len(batch):
        while waiting and comes[waiting[0]] <= step:
            batch.add(waiting[0], requests[waiting[0]])
            waiting.pop(0)
        between(step, batch)
        for key, answers in batch.step():
            assert key not in found
            found[key] = answers
        step += 1
        assert step < 5000
    return found


@pytest.mark.parametrize("seed", range(2))
def test_each_gives_what_it_gives_alone(engine: Engine, seed: int) -> None:
    comes = np.random.default_rng(seed).integers(0, 40, len(MANY)).tolist()
    found = ran(engine, MANY, comes)
    for at, request in enumerate(MANY):
        assert found[at] == engine.generate([request]), at


def test_short_ones_end_before_long_ones(engine: Engine) -> None:
    batch = engine.inflight_batch()
    batch.add(1, asked(1, 30))
    for _ in range(10):
        assert batch.step() == []
    batch.add(2, asked(2, 3))
    ended = batch.step(seconds=600)
    assert [key for key, _ in ended] == [2]
    assert len(batch) == 1
    assert [key for key, _ in batch.step(seconds=600)] == [1]
    assert (len(batch), batch.step(seconds=600)) == (0, [])


def test_one_of_several_that_began_together_ends_by_itself(engine: Engine) -> None:
    batch = engine.inflight_batch()
    batch.add(1, asked(1, 30))
    batch.add(2, asked(2, 3))
    assert [key for key, _ in batch.step(seconds=600)] == [2]
    assert [key for key, _ in batch.step(seconds=600)] == [1]


def test_several_answers_as_alone(engine: Engine) -> None:
    request = asked(9, 8)
    batch = engine.inflight_batch()
    batch.add(1, asked(1, 12))
    batch.add(2, request, draws=4, keep=3)
    found = {}
    while len(batch):
        found.update(batch.step())
    assert [found[2]] == engine.generate_several([request], draws=4, keep=3)
    assert len(found[2]) == 3


def test_those_that_are_given_up_leave(engine: Engine) -> None:
    def leaving(step: int, batch: object) -> None:
        if step == 6:
            batch.abort(3)  # of five draws, begun
            batch.abort(0)
            batch.abort(99)  # nobody
        if step == 12:
            batch.abort(7)  # waits, or has just begun

    comes = [0, 0, 0, 0, 3, 3, 3, 12]
    found = ran(engine, MANY, comes, leaving)
    assert sorted(found) == [1, 2, 4, 5, 6]
    for at, answers in found.items():
        assert answers == engine.generate([MANY[at]])


def test_the_guilty_one_fails_alone(engine: Engine) -> None:
    too_long = asked(10, 400)
    with pytest.raises(BudgetError):
        engine.generate([too_long])
    found = ran(engine, [MANY[0], too_long, MANY[1]], [0, 0, 0])
    assert isinstance(found[1], BudgetError)
    assert found[0] == engine.generate([MANY[0]])
    assert found[2] == engine.generate([MANY[1]])


def test_the_engine_works_between_steps(engine: Engine) -> None:
    batch = engine.inflight_batch()
    batch.add(1, MANY[0])
    batch.step()
    assert engine.encode([SPEECH])[0].groups > 0
    assert engine.generate([MANY[1]])
    ((key, answers),) = batch.step(seconds=600)
    assert (key, answers) == (1, engine.generate([MANY[0]]))


def test_vllm_has_none_and_generates_itself(engine: Engine) -> None:
    from stepedit_core.models.vllm_serving.engine import VllmEngine

    class Generator:
        def generate(self, requests: Sequence[GenerateRequest], rules: object) -> list[DualCodes]:
            return [request.codes for request in requests]

    served = VllmEngine(engine.parts, engine.config, Generator())
    assert served.generate([MANY[0], MANY[2]]) == [MANY[0].codes, MANY[2].codes]
    assert served.generate_several([MANY[3]], draws=4, keep=2) == [[MANY[3].codes]]
    assert not served.chooses("bee sea")
    with pytest.raises(EngineError, match="vLLM"):
        served.inflight_batch()


# Changed words and streams ---------------------------------------------------------------


class Brighter(Edit):
    """Ask for brighter speech."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Brighter: {utterance.transcript}\n")

    def plan(self, utterance: Utterance) -> Plan:
        return Plan(rules=("led",))


def changed(seed: int, groups: int, start: int, stop: int) -> InfillRequest:
    codes = asked(seed, groups).codes
    words = (SpokenWord(0, 0.0), SpokenWord(4))
    return InfillRequest(
        Prompt.clone("bee bee", "bee sea"), codes, SPEECH, "bee sea", start, stop,
        float(max(2, stop - start)), words, seed,
    )  # fmt: skip


def ran_together(engine: Engine, comes: Sequence[tuple[int, object]]) -> dict[int, list[object]]:
    """Run requests of all kinds that come at given steps; return what each gives."""
    batch, news, step, waiting = engine.inflight_batch(), {}, 0, dict(enumerate(comes))
    while waiting or len(batch):
        for key in [key for key, (at, _) in waiting.items() if at <= step]:
            batch.add(key, waiting.pop(key)[1])  # type: ignore[arg-type]
        for key, found in batch.step():
            news.setdefault(key, []).append(found)
        step += 1
        assert step < 20_000
    return news


def test_changed_words_and_streams_as_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.models.lm.infilling.DRAWS", 3)
    comes: list[tuple[int, object]] = [
        (0, changed(1, 6, 2, 4)), (3, StreamRequest(SPEECH, Brighter(), 3)), (9, MANY[1]),
        (12, changed(2, 4, 4, 4)), (26, MANY[4]),
    ]  # fmt: skip
    news = ran_together(engine, comes)
    for key, (_, request) in enumerate(comes):
        if isinstance(request, StreamRequest):
            *chunks, end = news[key]
            assert end == []
            alone = list(engine.stream(SPEECH, Brighter(), seed=request.seed))
            assert len(chunks) == len(alone)
            for (chunk,), wanted in zip(chunks, alone, strict=True):
                np.testing.assert_array_equal(chunk, wanted)
        elif isinstance(request, InfillRequest):
            assert news[key] == [[engine.infill(request)]]
        else:
            assert news[key] == [engine.generate_several([request], draws=1, keep=1)[0]]


def test_changed_words_hold_nobody_up(engine: Engine) -> None:
    batch = engine.inflight_batch()
    batch.add(1, changed(1, 9, 1, 8))
    for _ in range(5):
        assert batch.step() == []
    batch.add(2, asked(2, 2))
    assert [key for key, _ in batch.step(seconds=600)] == [2]
    assert [key for key, _ in batch.step(seconds=600)] == [1]
    assert len(batch) == 0


def test_streams_that_are_given_up_leave(engine: Engine) -> None:
    batch = engine.inflight_batch()
    batch.add(1, StreamRequest(SPEECH, Brighter(), 1))
    batch.add(2, changed(1, 9, 3, 5))
    for _ in range(12):
        batch.step()
    batch.abort(1)
    batch.abort(2)
    assert (len(batch), batch.step()) == (0, [])
    assert engine.generate([MANY[0]])


def test_a_stream_that_cannot_begin_fails_alone(engine: Engine) -> None:
    class Again(Brighter):
        def plan(self, utterance: Utterance) -> Plan:
            return Plan(keeps_codes=True)

    news = ran_together(engine, [(0, StreamRequest(SPEECH, Again(), 1)), (0, MANY[1])])
    assert "generates nothing to stream" in str(news[0][0])
    assert news[1] == [engine.generate_several([MANY[1]], draws=1, keep=1)[0]]
