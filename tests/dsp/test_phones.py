"""Phones that are heard: likelihoods over paths, and joins of cuts."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Alignment, TimedWord
from stepedit_core.dsp.alignment import align_words
from stepedit_core.dsp.cutting import Cut, cut_out, plan_cut
from stepedit_core.dsp.phone_joins import TAKEN, PhoneOdds, PhonesAround, phones_around
from stepedit_core.dsp.phones import (
    log_likelihoods,
    phone_likelihood,
    spelled_phones,
    text_phones,
    timed_phones,
)
from stepedit_core.dsp.words import split_words
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Span


def test_likelihood_of_phones_sums_over_paths() -> None:
    scores = np.log(np.array([[0.6, 0.1, 0.3], [0.5, 0.2, 0.3]]))
    found = np.exp(log_likelihoods(scores, [[0], [], [0, 1], [0, 0]]))
    assert found[:3] == pytest.approx([0.6 * 0.5 + 0.6 * 0.3 + 0.3 * 0.5, 0.09, 0.6 * 0.2])
    assert found[3] == 0  # a blank has to lie between
    assert np.exp(log_likelihoods(scores, [[0]]))[0] == pytest.approx(found[0])


def test_phones_are_marked_where_they_are_surest() -> None:
    share = np.array([[0.1, 0.1, 0.8], [0.6, 0.1, 0.3], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    assert timed_phones(np.log(share), ["a", "b", "-"]) == [("a", 0.04), ("b", 0.06)]


def test_numbers_have_the_phones_of_their_words() -> None:
    pytest.importorskip("hama")
    # Telephones write an apostrophe of their own, sentences a capital.
    assert text_phones("Don\u2019t go.").tolist() == text_phones("don't go").tolist()
    assert text_phones("go 7").tolist() == [*spelled_phones("go"), *spelled_phones("seven")]
    assert spelled_phones("7") == spelled_phones("seven") != ()
    assert spelled_phones("21") == spelled_phones("twenty") + spelled_phones("one")
    assert spelled_phones("7" * 41) == spelled_phones("七") == ()


def test_what_is_said_is_likelier_than_other_words() -> None:
    pytest.importorskip("hama")
    speech = packaged_speech("doctor")
    assert speech.transcript is not None
    said = phone_likelihood(speech, speech.transcript)
    nearly = phone_likelihood(speech, speech.transcript.rpartition(" ")[0])
    other = phone_likelihood(speech, packaged_speech("books").transcript or "")
    assert said is not None and nearly is not None and other is not None
    assert 0 > said > nearly > other
    assert phone_likelihood(speech, "七 ...") is None


def test_readings_name_each_rest_and_each_loss() -> None:
    around = PhonesAround(Span(0, 1), ("a", "b"), ("c", "d"), ("e",))
    found = [(kind, "".join(phones)) for kind, phones in around.readings()]
    assert found[0] == ("right", "abe")
    assert sorted(found[1:]) == [
        ("rest", "abcde"),
        ("rest", "abce"),
        ("rest", "abde"),
        ("taken", "ab"),
        ("taken", "ae"),
        ("taken", "e"),
    ]


def test_what_speaks_against_a_join() -> None:
    assert PhoneOdds(-2.0, TAKEN - 1).against == -1 and PhoneOdds(4.0, 9.0).against == 9 - TAKEN
    assert PhoneOdds(0.0, TAKEN).is_right and not PhoneOdds(0.1, 0.0).is_right


def test_phones_around_a_word_and_at_its_join() -> None:
    pytest.importorskip("hama")
    pytest.importorskip("pocketsphinx")
    doubt = packaged_speech("doubt")
    words = split_words(str(doubt.transcript))
    spans = align_words(doubt, words)
    timed = [TimedWord(w.text, s.start, s.end) for w, s in zip(words, spans, strict=True)]
    known = Alignment(str(doubt.transcript), tuple(timed), "pocketsphinx")
    word = [one.text for one in known.words].index("pleasant")
    around = phones_around(doubt, known, word, word + 1)
    assert around is not None and len(around.gone) >= 5
    own = known.words[word].span
    half = Cut(own.start, (own.start + own.end) / 2)
    right, rest = (
        around.odds(cut_out(doubt, cut), cut.seconds)
        for cut in (plan_cut(doubt, known, word, word + 1), half)
    )
    assert right.is_right and not rest.has_no_rest
    assert phones_around(doubt, known, 0, len(known.words)) is None
