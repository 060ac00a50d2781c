from __future__ import annotations

from itertools import pairwise

import pytest

from stepedit_core.dsp.pauses import align_by_pauses
from stepedit_core.dsp.words import split_words
from stepedit_core.utterance import Span


def aligned(text: str, *spans: tuple[float, float]) -> tuple[Span, ...]:
    return align_by_pauses([Span(*span) for span in spans], split_words(text), text)


def test_a_pause_ends_the_word_before_the_comma() -> None:
    times = aligned("one two, three four", (0.2, 1.0), (1.5, 2.3))
    assert times[0].start == pytest.approx(0.2) and times[-1].end == pytest.approx(2.3)
    assert times[1].end == pytest.approx(1.0)
    assert times[2].start == pytest.approx(1.5)


def test_words_come_in_order_and_lie_in_the_speech() -> None:
    spans = ((0.0, 0.7), (0.9, 1.3), (2.0, 3.1))
    times = aligned("今天天气很好，我们去公园。", *spans)
    assert len(times) == 11
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(times))
    assert all(any(a - 1e-9 <= t.start and t.end <= b + 1e-9 for a, b in spans) for t in times)


def test_a_pause_inside_the_only_word() -> None:
    (time,) = aligned("well", (0.1, 0.4), (0.6, 0.9))
    assert (time.start, time.end) == (pytest.approx(0.1), pytest.approx(0.9))


def test_longer_words_take_longer() -> None:
    short, long = aligned("a constitutional", (0.0, 1.0))
    assert long.seconds > 2 * short.seconds
