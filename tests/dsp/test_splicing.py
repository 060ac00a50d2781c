from __future__ import annotations

import numpy as np
import pytest

from stepedit_core.codes import DualCodes, splice_codes
from stepedit_core.dsp.splicing import Patch, span_problem, splice
from stepedit_core.engine import FreeGroups
from stepedit_core.errors import AudioError
from stepedit_core.utterance import Span, Utterance

RATE = 8_000


def utterance(seconds: float = 1.0) -> Utterance:
    rng = np.random.default_rng(0)
    return Utterance(rng.normal(0, 0.1, round(seconds * RATE)).astype(np.float32), RATE, "words")


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.75])
def test_samples_outside_all_patches_are_bit_identical(factor: float) -> None:
    source = utterance()
    spans = [Span(0.5, 0.7), Span(0.1, 0.3)]
    new = np.ones(round(0.2 * factor * RATE), dtype=np.float32)
    edited, placed = splice(source, [Patch(span, new) for span in spans])
    grown = len(new) - 1600
    assert np.array_equal(edited.samples[:800], source.samples[:800])
    middle = edited.samples[800 + len(new) : 800 + len(new) + 1600]
    assert np.array_equal(middle, source.samples[2400:4000])
    assert np.array_equal(edited.samples[5600 + 2 * grown :], source.samples[5600:])
    assert placed[0] == pytest.approx((0.1, 0.1 + len(new) / RATE))
    assert edited.transcript == "words"


def test_spans_are_pairs_and_lie_apart_in_the_source() -> None:
    new = np.zeros(800, np.float32)
    assert splice(utterance(), [Patch((0.1, 0.2), new)])[1] == [Span(0.1, 0.2)]  # type: ignore[arg-type]
    for wrong in ([Span(0.1, 0.3), Span(0.2, 0.4)], [Span(0.9, 1.1)], [Span(-0.1, 0.1)]):
        with pytest.raises(AudioError, match="overlaps the one before it, is turned around or"):
            splice(utterance(), [Patch(span, new) for span in wrong])


def test_joins_fade_inside_the_span() -> None:
    source = Utterance(np.full(RATE, 0.5, dtype=np.float32), RATE)
    patch = Patch(Span(0.25, 0.75), np.full(4000, -0.5, dtype=np.float32))
    edited, _ = splice(source, [patch], fade_seconds=0.01)
    assert np.abs(np.diff(edited.samples)).max() < 0.03
    assert edited.samples[2000 + 80] == -0.5
    assert edited.samples[1999] == 0.5


@pytest.mark.parametrize(
    ("spans", "part"),
    [
        ([], "no span"),
        ([Span(-0.1, 0.5)], "before 0"),
        ([Span(0.5, 0.5)], "empty"),
        ([Span(float("nan"), 0.5)], "empty"),
        ([Span(0.5, 1.1)], "after the utterance"),
        ([Span(0.4, 0.8), Span(0.1, 0.5)], "overlap"),
    ],
)
def test_span_problem_names_the_trouble(spans: list[Span], part: str) -> None:
    problem = span_problem(spans, 1.0)
    assert problem is not None
    assert part in problem


def test_touching_spans_are_fine() -> None:
    assert span_problem([Span(0.0, 0.5), Span(0.5, 1.0)], 1.0) is None


def codes(groups: int, value: int, start: float = 0.0) -> DualCodes:
    linguistic = np.full(groups * 2, value) + np.arange(groups * 2)
    semantic = np.full(groups * 3, value) + np.arange(groups * 3)
    return DualCodes(linguistic, semantic, start)


def test_splice_codes_keeps_the_source_outside() -> None:
    source, output = codes(10, 0, start=0.25), codes(12, 500)
    free = [FreeGroups(6, 7, 2), FreeGroups(2, 4, 3)]
    mixed = splice_codes(source, output, free)
    assert mixed.groups == 12
    assert mixed.start == 0.25
    assert np.array_equal(mixed.linguistic[:4], source.linguistic[:4])
    assert np.array_equal(mixed.linguistic[4:10], output.linguistic[4:10])
    assert np.array_equal(mixed.linguistic[10:14], source.linguistic[8:12])
    assert np.array_equal(mixed.semantic[21:27], output.semantic[21:27])
    assert np.array_equal(mixed.semantic[27:], source.semantic[21:])


def test_splice_codes_refuses_an_output_that_ends_early() -> None:
    with pytest.raises(ValueError, match="wanted of an output of 4"):
        splice_codes(codes(10, 0), codes(4, 500), [FreeGroups(2, 4, 3)])
