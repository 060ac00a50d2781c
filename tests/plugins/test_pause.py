from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_masked import Masked
from stepedit_pause import Pause
from stepedit_pause.pairs import PausePairs, margin_of
from stepedit_pause.scorer import PauseScorer

from stepedit_core import (
    Alignment,
    BuildContext,
    Case,
    Chain,
    CorpusItem,
    EditPair,
    Prepared,
    Span,
    TimedWord,
    Utterance,
)
from stepedit_core.dsp.silences import frame_levels
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeMeasures

RATE = 16_000


@pytest.fixture
def two_words() -> Utterance:
    """Noise of speech's level from 0.2 to 0.8 s and from 1.2 to 1.8 s, room tone around it."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.001, 2 * RATE)
    for start, end in ((0.2, 0.8), (1.2, 1.8)):
        count = round((end - start) * RATE)
        samples[round(start * RATE) :][:count] += rng.normal(0, 0.1, count)
    words = (TimedWord("one", 0.2, 0.8), TimedWord("two", 1.2, 1.8))
    alignment = Alignment("One two.", words, "test")
    return Utterance(samples.astype(np.float32), RATE, "One two.", "en", alignment=alignment)


def _render(edit: Pause, speech: Utterance) -> Utterance:
    return edit.render(speech, np.random.default_rng(0)).utterance


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.7, 3.0])
@pytest.mark.parametrize("place", [{"after": "one"}, {"before": "two"}, {"at": 1.0}])
def test_length_samples_and_alignment(
    two_words: Utterance, seconds: float, place: dict[str, object]
) -> None:
    out = _render(Pause(seconds=seconds, **place), two_words)
    pause = Pause(seconds=seconds, **place).place(two_words, two_words.alignment).span
    assert pause.start == pytest.approx(0.8, abs=0.01)
    assert pause.end == pytest.approx(1.2, abs=0.01)
    assert out.seconds - two_words.seconds == pytest.approx(seconds - pause.seconds, abs=1e-4)
    start, rest = round(0.8 * RATE), round(0.8 * RATE)
    np.testing.assert_array_equal(out.samples[:start], two_words.samples[:start])
    np.testing.assert_array_equal(out.samples[-rest:], two_words.samples[-rest:])
    levels = frame_levels(out.slice((0.82, 0.78 + seconds)).samples, RATE)
    if seconds > 0.1:
        assert np.median(levels) == pytest.approx(-60, abs=3)
    assert out.alignment is not None
    assert out.alignment.words[0].span == pytest.approx((0.2, 0.8))
    moved = seconds - pause.seconds
    assert out.alignment.words[1].span == pytest.approx((1.2 + moved, 1.8 + moved), abs=1e-3)
    assert out.transcript == "One two."


@pytest.mark.parametrize(("place", "had"), [("start", 0.2), ("end", 0.2)])
def test_ends(two_words: Utterance, place: str, had: float) -> None:
    for seconds in (0.05, 1.0):
        out = _render(Pause(seconds=seconds, at=place), two_words)
        assert out.seconds - two_words.seconds == pytest.approx(seconds - had, abs=0.011)


def test_put_in_where_no_pause_is() -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    step = Chain([Pause(seconds=0.6, after="pleasant")])(speech).steps[0]
    out = step.utterance
    assert out.seconds - speech.seconds == pytest.approx(0.6, abs=0.001)
    place = round(step.details["pause_before"][0] * speech.sample_rate)
    added = len(out.samples) - len(speech.samples)
    kept = np.concatenate([out.samples[:place], out.samples[place + added :]])
    np.testing.assert_array_equal(kept, speech.samples)
    assert out.alignment is not None
    after = out.alignment.words[out.alignment.find("condition")[0]]
    assert after.start >= place / speech.sample_rate + 0.6 - 1e-6


def test_inside_a_mask(two_words: Utterance) -> None:
    edit = Masked(inner=Pause(seconds=0.9, at=0.3), spans=(Span(0.7, 1.3),))
    out = Chain([edit])(two_words.replace(alignment=None)).utterance
    head, rest = round(0.7 * RATE), round(0.7 * RATE)
    np.testing.assert_array_equal(out.samples[:head], two_words.samples[:head])
    np.testing.assert_array_equal(out.samples[-rest:], two_words.samples[-rest:])
    assert out.seconds > two_words.seconds + 0.4


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"seconds": 1}, "exactly one"),
        ({"seconds": 1, "after": "a", "at": 1}, "exactly one"),
        ({"seconds": 1, "at": "start", "occurrence": 2}, "occurrence goes with"),
        ({"seconds": -1, "at": 1}, "greater than or equal to 0"),
        ({"seconds": 1, "at": -1.0}, "not below 0"),
    ],
)
def test_bad_parameters(params: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Pause(**params)


def test_problems(two_words: Utterance) -> None:
    assert "is not said" in str(Pause(seconds=1, after="three").problem(two_words))
    assert "after the end" in str(Pause(seconds=1, at=9.0).problem(two_words))
    plan = Pause(seconds=1.4, after="one").plan(two_words)
    assert plan.length_ratio == pytest.approx(1.5, abs=0.01)
    assert plan.alignment == two_words.alignment


def test_scorer(two_words: Utterance) -> None:
    edit = Pause(seconds=1.0, after="one")
    case = Case(id="x", edit=edit, audio="speech:doubt")

    def reached(output: Utterance) -> bool | None:
        return PauseScorer().score(case, Prepared(two_words), output, FakeMeasures()).reached

    good = _render(edit, two_words)
    assert reached(good) is True
    assert reached(two_words) is False
    assert reached(_render(Pause(seconds=1.02, after="one"), two_words)) is False
    loud = good.samples.copy()
    loud[round(0.85 * RATE) : round(1.75 * RATE)] *= 10
    assert reached(good.replace(samples=loud)) is False
    zeros = good.samples.copy()
    zeros[round(0.85 * RATE) : round(1.75 * RATE)] = 0
    assert reached(good.replace(samples=zeros)) is False
    assert reached(good.replace(samples=good.samples * np.float32(0.99))) is False


def test_pairs(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("doubt")
    path = speech.write(tmp_path / "doubt.wav", subtype="FLOAT")
    item = CorpusItem("doubt", str(path), speech.transcript, language="en")
    (job,) = PausePairs().jobs([item], {"each": "2"})
    context = BuildContext(np.random.default_rng(0), {"each": "2"})
    pairs = list(PausePairs().build(job, context))
    assert len(pairs) == 4
    for pair in pairs:
        assert isinstance(pair, EditPair)
        change = pair.target.seconds - pair.source.seconds
        assert pair.margin == pytest.approx(margin_of(change), abs=0.01)
