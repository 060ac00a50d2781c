"""Cuts of words, and what PocketSphinx hears at their joins."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Alignment, TimedWord, Utterance
from stepedit_core.dsp import cutting
from stepedit_core.dsp.alignment import align_words, grammar_scores, pronunciations
from stepedit_core.dsp.cutting import Cut, cut_out, plan_cut, possible_cuts
from stepedit_core.dsp.joins import readings_of
from stepedit_core.dsp.phone_joins import PhoneOdds
from stepedit_core.dsp.words import split_words
from stepedit_core.recordings import packaged_speech

pytest.importorskip("pocketsphinx")


@pytest.fixture(scope="module")
def doubt() -> Utterance:
    return packaged_speech("doubt")


@pytest.fixture(scope="module")
def known(doubt: Utterance) -> Alignment:
    words = split_words(str(doubt.transcript))
    spans = align_words(doubt, words)
    timed = [TimedWord(w.text, s.start, s.end) for w, s in zip(words, spans, strict=True)]
    return Alignment(str(doubt.transcript), tuple(timed), "pocketsphinx")


def place(known: Alignment, word: str) -> int:
    return [one.text for one in known.words].index(word)


def test_rests_and_losses_are_heard(doubt: Utterance, known: Alignment) -> None:
    word = place(known, "pleasant")
    readings = readings_of(doubt, known, word, word + 1)
    assert readings is not None
    own, before = known.words[word].span, known.words[word - 1].span
    middle = (own.start + own.end) / 2
    cuts = [
        plan_cut(doubt, known, word, word + 1),
        Cut(middle, middle),
        Cut(own.start, middle),
        Cut(middle, own.end),
        Cut((before.start + before.end) / 2, own.end),
    ]
    right, *wrong = readings.odds([(cut_out(doubt, cut), cut.seconds) for cut in cuts])
    assert right < 0 < min(wrong)


def test_words_at_the_ends_have_neighbours_on_one_side(doubt: Utterance, known: Alignment) -> None:
    last = len(known.words) - 1
    for word in (0, last):
        readings = readings_of(doubt, known, word, word + 1)
        assert readings is not None and len(readings.right) == 2
    assert readings_of(doubt, known, 0, last + 1) is None


def test_the_first_possible_cut_is_the_cheapest(doubt: Utterance, known: Alignment) -> None:
    word = place(known, "pleasant")
    cuts = possible_cuts(doubt, known, word, word + 1)
    costs = [cost for _, cost in cuts]
    assert costs == sorted(costs) and 1 < len(cuts) <= 25
    ends = [(cut.start, cut.end) for cut, _ in cuts]
    assert len(set(ends)) == len(ends)


@pytest.mark.parametrize("second", [0.0, 0.7, 5.0])
def test_words_that_have_no_time_leave_all_but_nothing(doubt: Utterance, second: float) -> None:
    at = min(second, doubt.seconds)
    words = (TimedWord("um", at, at, 0.0), TimedWord("doubt", at, at, 0.0))
    known = Alignment("um doubt", words, "whisper")
    for first in (0, 1):
        cut = plan_cut(doubt, known, first, first + 1)
        made = cut_out(doubt, cut)
        assert 0 <= cut.start < cut.end and doubt.seconds - made.seconds < 0.1


def test_only_what_pocketsphinx_timed_is_listened_to(
    doubt: Utterance, known: Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(*given: object) -> None:
        raise AssertionError("nobody is to listen")

    monkeypatch.setattr(cutting, "readings_of", deaf)
    monkeypatch.setattr(cutting, "phones_around", deaf)
    word = place(known, "pleasant")
    given = Alignment(known.text, known.words, "subtitles")
    first, _ = possible_cuts(doubt, given, word, word + 1)[0]
    assert plan_cut(doubt, given, word, word + 1) == first


def test_what_cannot_be_listened_to_is_cut_by_level(
    doubt: Utterance, known: Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.dsp.joins.pronunciations", lambda word: [("QQ",)])
    word = place(known, "pleasant")
    first, _ = possible_cuts(doubt, known, word, word + 1)[0]
    assert plan_cut(doubt, known, word, word + 1) == first


def test_words_are_said_as_the_dictionary_has_them() -> None:
    (the, year, name) = split_words("the 1984 Zorblax")
    assert ("DH", "AH") in pronunciations(the) and len(pronunciations(the)) > 1
    assert len(pronunciations(year)) == 1 and len(pronunciations(year)[0]) > 8
    assert pronunciations(name)[0][0] == "Z"


def test_alignment_is_the_same_after_grammars(doubt: Utterance) -> None:
    words = split_words(str(doubt.transcript))
    before = align_words(doubt, words)
    ways = [pronunciations(word) for word in words[:2]]
    (scores,) = grammar_scores([doubt], [ways, ways[:1]])
    assert np.isfinite(scores[0])
    assert align_words(doubt, words) == before


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_steps_are_measured_where_they_are(rate: int) -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(20 * rate).astype(np.float32) * 0.1
    samples[15 * rate :] *= 0.1
    level, _ = cutting.join_steps(Utterance(samples, rate), 15.0)
    assert level == pytest.approx(20, abs=3)
    levels = cutting._features(Utterance(samples, rate))
    assert abs(int(np.argmax(levels[:, 0] < -28)) * 0.002 - 15) < 0.02


def test_a_border_that_is_moved_keeps_its_reach(doubt: Utterance, known: Alignment) -> None:
    word = place(known, "pleasant")
    for cut, _ in possible_cuts(doubt, known, word, word + 1):
        assert cut.end <= known.words[word + 1].start + 0.04 + 0.006 + 1e-9


def test_cuts_that_cannot_be_the_best_are_not_listened_to() -> None:
    heard: list[int] = []

    class Around:
        def odds(self, made: int, less: float) -> PhoneOdds:
            heard.append(made)
            return PhoneOdds([4.0, -9.0, -9.0, -9.0][made], -9.0)

    made = [(n, 0.1) for n in range(4)]
    worth = np.array([0.0, 20.0, 40.0, 200.0])
    assert cutting._cheapest_by_phones(Around(), made, worth) == 1  # type: ignore[arg-type]
    assert heard == [0, 1]
