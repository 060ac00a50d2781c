"""Regions by words, sentences and speakers, and times that are carried along."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Alignment, Chain, Span, TimedWord, Utterance, Where, align, get_edit
from stepedit_core.chain.notation import format_edit, parse_edit
from stepedit_core.dsp.splicing import Patch, splice
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import AlignmentError, InvalidChainError
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import speech_like

TEXT = "One two three. Four five six! Seven eight nine."


@pytest.fixture
def timed() -> Utterance:
    """Nine words of 0.3 s, with pauses of 0.1 s."""
    words = tuple(
        TimedWord(word.text, 0.4 * n + 0.05, 0.4 * n + 0.35)
        for n, word in enumerate(split_words(TEXT))
    )
    speakers = (*["A"] * 3, *["B"] * 3, *["A"] * 3)
    speech = speech_like(3.7).replace(transcript=TEXT)
    return speech.replace(alignment=Alignment(TEXT, words, "test", speakers))


@pytest.mark.parametrize(
    ("where", "around"),
    [
        (Where(words="two three"), [(0.35, 0.45, 1.15, 1.25)]),
        (Where(sentences=(2,)), [(1.15, 1.25, 2.35, 2.45)]),
        (Where(sentences=(-1, 1)), [(0.0, 0.06, 1.15, 1.25), (2.35, 2.45, 3.55, 3.7)]),
        (Where(speaker="B"), [(1.15, 1.25, 2.35, 2.45)]),
        (Where(spans=(Span(0.5, 0.9),)), [(0.5, 0.5, 0.9, 0.9)]),
    ],
)
def test_regions_lie_between_words(
    timed: Utterance, where: Where, around: list[tuple[float, float, float, float]]
) -> None:
    spans = where.resolve(timed)
    assert len(spans) == len(around)
    for span, (a, b, c, d) in zip(spans, around, strict=True):
        assert a <= span.start <= b and c <= span.end <= d


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (Where(words="fore"), "not said; the nearest is 'four'"),
        (Where(sentences=(4,)), "no sentence 4: there are 3"),
        (Where(sentences=(0,)), "no sentence 0"),
        (Where(speaker="C"), "no speaker 'C'; there is: A, B"),
    ],
)
def test_what_is_not_there_is_said(timed: Utterance, where: Where, says: str) -> None:
    with pytest.raises(AlignmentError, match=says):
        where.resolve(timed)


def test_words_that_are_not_timed_have_no_times_in_messages() -> None:
    assert Where(words="fore").problem(TEXT) == "'fore' is not said; the nearest is 'four'"
    twice = Where(words="one").problem("one and one")
    assert twice == "'one' is said 2 times (1, 2): give occurrence="
    assert Where(words="four").problem(TEXT) is None


def test_masked_by_words_keeps_all_other_samples(timed: Utterance) -> None:
    edit = parse_edit('masked:inner=(speed:factor=1.5),words="four five"')
    assert parse_edit(format_edit(edit)) == edit
    result = Chain([edit])(timed, route="dsp")
    start, end = result.steps[0].details["spans"][0]["span"]
    rate, out = timed.sample_rate, result.utterance.samples
    assert np.array_equal(out[: round(start * rate)], timed.samples[: round(start * rate)])
    after = len(timed.samples) - round(end * rate)
    assert np.array_equal(out[-after:], timed.samples[-after:])
    carried = result.utterance.alignment
    assert carried is not None
    shift = (end - start) / 3
    assert carried.words[-1].start == pytest.approx(
        timed.alignment.words[-1].start - shift, abs=0.02
    )  # type: ignore[union-attr]


def test_where_is_said_in_one_way() -> None:
    masked = get_edit("masked")
    inner = {"edit": "speed", "factor": 1.5}
    assert masked(inner=inner, where={"sentences": [2]}).sentences == (2,)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="exactly one of spans, words"):
        masked(inner=inner, words="a", sentences=[1])
    with pytest.raises(ValueError, match="exactly one of spans, words"):
        masked(inner=inner)
    with pytest.raises(ValueError, match="occurrence goes with words"):
        masked(inner=inner, sentences=[1], occurrence=2)


def test_a_chain_with_a_wrong_region_never_begins(timed: Utterance) -> None:
    chain = Chain(
        [parse_edit("speed:factor=1.2"), parse_edit("masked:inner=(denoise),words=eleven")]
    )
    with pytest.raises(InvalidChainError, match="step 2, masked: 'eleven' is not said"):
        chain(timed, route="dsp")


def test_times_are_carried_through_speed(timed: Utterance) -> None:
    faster = Chain([parse_edit("speed:factor=1.25")])(timed, route="dsp").utterance
    assert faster.alignment is not None and timed.alignment is not None
    for new, old in zip(faster.alignment.words, timed.alignment.words, strict=True):
        assert new.start == pytest.approx(old.start / 1.25, abs=0.01)


def test_times_are_carried_through_a_splice(timed: Utterance) -> None:
    longer = np.zeros(round(0.5 * timed.sample_rate), dtype=np.float32)
    edited, _ = splice(timed, [Patch(Span(1.15, 1.25), longer)])
    assert edited.alignment is not None and timed.alignment is not None
    assert edited.alignment.words[2].start == timed.alignment.words[2].start
    moved = edited.alignment.words[3].start - timed.alignment.words[3].start
    assert moved == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("edit", ["trim_silence", "speed:factor=0.8"])
def test_carried_times_equal_new_ones(edit: str) -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("wind")
    known = speech.replace(alignment=align(speech))
    edited = Chain([parse_edit(edit)])(known, route="dsp").utterance
    assert edited.alignment is not None
    anew = align(edited.replace(alignment=None))
    away = [abs(a.start - b.start) for a, b in zip(edited.alignment.words, anew.words, strict=True)]
    assert np.median(away) < 0.03
