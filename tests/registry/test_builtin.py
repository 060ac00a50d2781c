from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from stepedit_core.chain.running import carry_out
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Rendered
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.llm_route.planning import free_groups, span_ratio
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.signals import speech_like
from stepedit_core.utterance import Span, Utterance


class Sample(Edit):
    """Say the same inside some spans."""

    spans: tuple[Span, ...] | None = None
    grow: float = 1.0

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit("Say it again.\n")

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=-utterance.samples), {"backend": "minus"})

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(spans=self.spans, length_ratio=self.grow)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


class LateEngine(FakeEngine):
    """Codes begin 0.3 s into the audio and are played at half the level."""

    start = 0.3

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        late = [item.slice((self.start, item.seconds)) for item in utterances]
        return [dataclasses.replace(codes, start=self.start) for codes in super().encode(late)]

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        audio = super().decode(requests)
        return [item.replace(samples=item.samples * np.float32(0.5)) for item in audio]


class LooseEngine(FakeEngine):
    """Changes codes that it was told to copy."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        out = super().generate(requests)
        return [DualCodes(codes.linguistic, (codes.semantic + 1) % 4096) for codes in out]


class ShortEngine(FakeEngine):
    """Ignores where generation is confined to."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        return [request.codes.slice_groups(0, 2) for request in requests]


def test_dsp_runs_render() -> None:
    source = speech_like()
    outcome = carry_out(Sample(), source, None, rng(), "dsp", None)
    assert outcome.route == "dsp"
    assert outcome.details == {"backend": "minus"}


def test_llm_without_an_engine_is_refused() -> None:
    with pytest.raises(RouteError, match="needs an engine"):
        carry_out(Sample(), speech_like(), None, rng(), "llm", None)


def test_unconfined_generation() -> None:
    engine = FakeEngine()
    outcome = carry_out(Sample(grow=1.5), speech_like(), engine, rng(), "llm", None)
    assert engine.requests[0].free is None
    assert engine.requests[0].length_ratio == 1.5
    assert outcome.codes is not None
    assert outcome.details["groups"] == outcome.codes.groups


@pytest.mark.parametrize("engine", [FakeEngine(), LateEngine()])
@pytest.mark.parametrize("grow", [1.0, 1.2])
def test_confined_generation(engine: FakeEngine, grow: float) -> None:
    source = speech_like(seconds=3.0)
    spans = (Span(0.5, 1.0), Span(1.7, 2.3))
    edit = Sample(spans=spans, grow=grow)
    outcome = carry_out(edit, source, engine, rng(), "llm", None)
    rate = source.sample_rate
    out = outcome.utterance.samples
    first, last = round(spans[0].start * rate), round(spans[1].end * rate)
    assert np.array_equal(out[:first], source.samples[:first])
    tail = len(source.samples) - last
    assert np.array_equal(out[-tail:], source.samples[last:])
    assert not np.array_equal(out[first : first + rate], source.samples[first : first + rate])
    # The spans take all the growth, as far as whole groups go.
    grown = outcome.utterance.seconds - source.seconds
    assert grown == pytest.approx((grow - 1) * source.seconds, abs=0.25)
    codes = engine.encode([source])[0]
    assert outcome.codes is not None
    assert outcome.codes.start == codes.start
    free = outcome.details["free_groups"][0]
    head = outcome.codes.slice_groups(0, free["start"])
    assert head == codes.slice_groups(0, free["start"])


def test_generated_parts_get_the_level_of_the_source() -> None:
    source = speech_like(seconds=3.0)
    edit = Sample(spans=(Span(1.0, 2.0),))
    outcome = carry_out(edit, source, LateEngine(), rng(), "llm", None)
    assert outcome.details["gain_db"] == pytest.approx(6.0, abs=1.0)


def test_an_engine_that_changes_other_codes_is_refused() -> None:
    edit = Sample(spans=(Span(1.0, 2.0),))
    with pytest.raises(EngineError, match="changed codes outside"):
        carry_out(edit, speech_like(seconds=3.0), LooseEngine(), rng(), "llm", None)


def test_an_engine_that_ignores_the_length_is_refused() -> None:
    edit = Sample(spans=(Span(1.0, 2.0),))
    with pytest.raises(EngineError, match="returned 2 groups for a confined generation of 25"):
        carry_out(edit, speech_like(seconds=3.0), ShortEngine(), rng(), "llm", None)


def test_free_groups_lie_wholly_inside_the_spans() -> None:
    codes = DualCodes(np.zeros(40, dtype=int), np.zeros(60, dtype=int), start=0.05)
    (free,) = free_groups((Span(0.2, 0.8),), codes, 1.5)
    assert (free.start, free.stop, free.length) == (2, 6, 6)
    (edge,) = free_groups((Span(0.05 + 0.12, 0.05 + 0.36),), codes, 1.0)
    assert (edge.start, edge.stop) == (1, 3)


@pytest.mark.parametrize("span", [Span(0.01, 0.1), Span(0.2, 0.3), Span(9.0, 9.5)])
def test_a_span_without_a_whole_group_is_refused(span: Span) -> None:
    codes = DualCodes(np.zeros(40, dtype=int), np.zeros(60, dtype=int), start=0.15)
    with pytest.raises(EngineError, match="no whole group"):
        free_groups((span,), codes, 1.0)


def test_span_ratio_puts_all_growth_inside() -> None:
    source = speech_like(seconds=4.0)
    assert span_ratio((Span(1.0, 2.0),), source, 1.25) == pytest.approx(2.0)
    assert span_ratio((Span(1.0, 2.0),), source, 1.0) == 1.0
