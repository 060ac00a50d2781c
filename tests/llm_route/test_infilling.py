"""New words by the llm route: versions listened to, samples and codes outside kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stepedit_core import Alignment, TimedWord, Utterance
from stepedit_core.alignment import Ear
from stepedit_core.engine import Infilled, InfillRequest
from stepedit_core.llm_route.infilling import HEARD, WIDER, replace_words
from stepedit_core.plan import Plan, Replacement
from stepedit_core.testing import FakeEngine

TEXT, AFTER = "one two three four five six", "one two three x five six"
RATE = 24_000


class Drawing(FakeEngine):
    """Hands on several draws of different lengths, and is given two seconds of speech."""

    def __init__(self, versions: int) -> None:
        super().__init__()
        self.versions = versions
        self.asked: list[InfillRequest] = []

    def infill_context(self, rules: tuple[str, ...]) -> float:
        return 2.0

    def infill(self, request: InfillRequest) -> Infilled:
        self.asked.append(request)
        made = [
            super(Drawing, self).infill(dataclasses.replace(request, expected=float(length)))
            for length in range(1, self.versions + 1)
        ]
        return dataclasses.replace(made[0], others=tuple(made[1:]))


@pytest.fixture
def talk() -> Utterance:
    rng = np.random.default_rng(0)
    words = [
        np.sin(2 * np.pi * 200 * (n + 2) * np.arange(round(0.9 * RATE)) / RATE) for n in range(6)
    ]
    samples = (0.2 * np.concatenate(words) + 1e-3 * rng.standard_normal(6 * 21_600)).astype("f4")
    timed = tuple(TimedWord(w, 0.9 * n, 0.9 * n + 0.9) for n, w in enumerate(TEXT.split()))
    return Utterance(samples, RATE, TEXT).replace(alignment=Alignment(TEXT, timed, "test"))


def plan(*ears: Ear) -> Plan:
    """Return the plan of one replacement."""
    return Plan(replacements=(Replacement(3, 4, "x", AFTER),), ears=ears)


def test_the_first_version_that_is_heard_is_kept(talk: Utterance) -> None:
    heard: list[float] = []

    def ear(utterance: Utterance) -> str:
        heard.append(utterance.seconds)
        return AFTER if len(heard) == 3 else TEXT

    engine = Drawing(5)
    outcome = replace_words(talk, plan(ear), engine, 0)
    (facts,) = outcome.details["replacements"]
    assert (facts["listened"], facts["heard_as_asked"], len(engine.asked)) == (3, True, 1)
    assert outcome.utterance.transcript == AFTER
    begin, end = (round(second * RATE) for second in facts["output_spans"][0])
    assert end - begin == round(3 * 0.12 * RATE)
    out, rest = outcome.utterance.samples, len(outcome.utterance.samples) - end
    assert np.array_equal(out[:begin], talk.samples[:begin])
    assert np.array_equal(out[end:], talk.samples[len(talk.samples) - rest :])


def test_what_nobody_understands_is_drawn_again_and_said(talk: Utterance) -> None:
    engine = Drawing(HEARD + 2)
    outcome = replace_words(talk, plan(lambda heard: TEXT), engine, 0)
    (facts,) = outcome.details["replacements"]
    assert (facts["listened"], facts["heard_as_asked"]) == (HEARD * len(WIDER), False)
    assert len({request.seed for request in engine.asked}) == len(WIDER)
    free = [request.codes.groups - (request.stop - request.start) for request in engine.asked]
    holes = [request.stop - request.start for request in engine.asked]
    assert [hole - holes[0] for hole in holes] == [sum(wider) for wider in WIDER]
    assert free[0] == free[1] + 1  # what is before is forced one group less


def test_without_an_ear_the_engine_chooses(talk: Utterance) -> None:
    outcome = replace_words(talk, plan(), Drawing(3), 0)
    (facts,) = outcome.details["replacements"]
    assert "heard" not in facts and facts["free_groups"][0]["length"] == 1


def test_codes_are_of_the_whole_recording(talk: Utterance) -> None:
    engine = Drawing(1)
    outcome = replace_words(talk, plan(), engine, 0)
    (codes,) = engine.encode([talk])
    (request,) = engine.asked
    gone = request.stop - request.start
    assert outcome.codes is not None and outcome.codes.groups == codes.groups - gone + 1
    assert outcome.codes.slice_groups(0, 22) == codes.slice_groups(0, 22)
    last = outcome.codes.groups
    assert outcome.codes.slice_groups(last - 10, last) == codes.slice_groups(
        codes.groups - 10, codes.groups
    )
    assert request.codes.groups <= 16 and request.text == "three x"
