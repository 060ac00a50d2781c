from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest, GenerateRequest, SpeechEngine
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.batching import PromptFixed, run_together
from stepedit_core.llm_route.choosing import decodes_excerpts
from stepedit_core.prompt import Prompt
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.testing.signals import silence
from stepedit_core.utterance import Utterance


class Counting(FakeEngine):
    """Writes down the sizes of its batches; refuses seed 13."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[str, int]] = []

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        self.batches.append(("encode", len(utterances)))
        return super().encode(utterances)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        self.batches.append(("generate", len(requests)))
        if any(request.seed == 13 for request in requests):
            raise EngineError("seed 13")
        return super().generate(requests)


SPEECH = speech_like(1.2)


def answer(seed: int, engine: SpeechEngine) -> DualCodes:
    (codes,) = engine.encode([SPEECH])
    return engine.generate([GenerateRequest(Prompt.edit("Say it."), codes, SPEECH, seed)])[0]


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_requests_of_all_tasks_share_batches(one_at_a_time: bool) -> None:
    engine = Counting()
    tasks = [partial(answer, seed) for seed in range(3)]
    ran = run_together(engine, tasks, one_at_a_time=one_at_a_time)
    assert engine.batches == [("encode", 3), ("generate", 3)]
    for seed, one in enumerate(ran):
        alone = answer(seed, FakeEngine())
        assert one.value is not None
        np.testing.assert_array_equal(one.value.interleave(), alone.interleave())


def test_a_refused_request_ends_its_own_task_alone() -> None:
    engine = Counting()
    ran = run_together(engine, [partial(answer, seed) for seed in (1, 13, 2)])
    assert [str(one.error) for one in ran] == ["None", "seed 13", "None"]
    assert engine.batches[1:] == [
        ("generate", 3),
        ("generate", 1),
        ("generate", 1),
        ("generate", 1),
    ]


def test_a_task_that_fails_by_itself_holds_nobody_up() -> None:
    def fail(engine: SpeechEngine) -> DualCodes:
        raise ValueError("nothing to do with the engine")

    ran = run_together(Counting(), [fail, partial(answer, 1)])
    assert isinstance(ran[0].error, ValueError) and ran[1].value is not None


def test_no_tasks() -> None:
    assert run_together(Counting(), []) == []


def test_a_fixed_prompt_is_every_reference() -> None:
    heard: list[Utterance] = []

    class Listening(FakeEngine):
        def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
            heard.extend(request.reference for request in requests)
            return super().decode(requests)

    engine, other = Listening(), speech_like(0.9, f0=180.0)
    (codes,) = engine.encode([SPEECH])
    PromptFixed(engine, other).decode([DecodeRequest(codes, SPEECH)])
    assert heard == [other]


class Excerpting(FakeEngine):
    """Decodes excerpts as silence; writes down what it was asked."""

    excerpt_context = 0.36

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[tuple[int, int]]] = []
        self.references: list[Utterance] = []

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        self.asked.append(list(excerpts))
        self.references += [request.reference for request in requests]
        return [silence(0.12 * (stop - first)) for first, stop in excerpts]


def test_excerpts_share_a_batch_and_hear_the_fixed_prompt() -> None:
    engine, voice = Excerpting(), speech_like(0.9, seed=4)

    def part(place: int, seat: SpeechEngine) -> float:
        fixed: SpeechEngine = PromptFixed(seat, voice)
        (codes,) = fixed.encode([SPEECH])
        assert decodes_excerpts(fixed) and not decodes_excerpts(PromptFixed(FakeEngine(), voice))
        asked = [DecodeRequest(codes, SPEECH, 0)]
        return fixed.decode_excerpts(asked, [(place, place + 2)])[0].seconds

    ran = run_together(engine, [partial(part, place) for place in range(3)])
    assert [one.value for one in ran] == [pytest.approx(0.24)] * 3
    assert engine.asked == [[(0, 2), (1, 3), (2, 4)]]
    assert engine.references == [voice] * 3
