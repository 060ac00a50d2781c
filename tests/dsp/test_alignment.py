"""Forced alignment: words in order, and one clear line where it cannot be told."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from stepedit_paralinguistic import alignment as by_plugin

from stepedit_core.dsp import alignment as forced_alignment
from stepedit_core.dsp.alignment import align_words, guessed_words
from stepedit_core.dsp.letter_to_sound import guessed_phones, spelled_out
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import AlignmentError, MissingDependencyError
from stepedit_core.recordings import packaged_speech
from stepedit_core.utterance import Utterance

SPEECH = packaged_speech("garden")
TEXT = SPEECH.transcript or ""


def test_words_lie_in_order_within_the_recording() -> None:
    pytest.importorskip("pocketsphinx")
    words = split_words(TEXT)
    times = align_words(SPEECH, words)
    assert len(times) == len(words)
    edges = [edge for span in times for edge in span]
    assert edges == sorted(edges)
    assert edges[0] >= 0 and edges[-1] <= SPEECH.seconds + 0.02
    # The same again after another recording: nothing is carried over.
    other = packaged_speech("surpassed")
    align_words(other, split_words(other.transcript or ""))
    assert align_words(SPEECH, words) == times


def test_threads_take_turns_with_the_one_aligner() -> None:
    pytest.importorskip("pocketsphinx")
    voices = [SPEECH, packaged_speech("surpassed")] * 4
    asked = [(voice, split_words(voice.transcript or "")) for voice in voices]
    alone = [align_words(*one) for one in asked[:2]] * 4
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: align_words(*one), asked)) == alone


def test_a_late_beginning_moves_all_words() -> None:
    pytest.importorskip("pocketsphinx")
    words = split_words(TEXT)
    rate = SPEECH.sample_rate
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    late = Utterance(np.concatenate([quiet, SPEECH.samples]), rate)
    moved = np.array(align_words(late, words)) - np.array(align_words(SPEECH, words))
    assert np.median(np.abs(moved - 1)) < 0.03


@pytest.mark.parametrize(
    ("text", "seconds", "message"),
    [
        ("", 1.0, "no words"),
        ("a xqzzt strč prst", 1.0, "knows 1 of 4 words, not 'xqzzt'"),
        (TEXT, 0.05, "pocketsphinx (failed|could not align)"),
    ],
)
def test_what_cannot_be_aligned_is_said(text: str, seconds: float, message: str) -> None:
    pytest.importorskip("pocketsphinx")
    short = Utterance(SPEECH.samples[: round(seconds * SPEECH.sample_rate)], SPEECH.sample_rate)
    with pytest.raises(AlignmentError, match=message):
        align_words(short, split_words(text))


def test_without_the_aligner_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    forced_alignment._decoder.cache_clear()
    # Other tests align this recording, and neither may keep the other's answer.
    monkeypatch.setattr(by_plugin, "_aligned", by_plugin._aligned.__wrapped__)
    words = split_words(TEXT)
    with pytest.raises(MissingDependencyError, match=r"stepedit\[align\]"):
        align_words(SPEECH, words)
    # The plugin goes by pauses instead, and says why.
    made = by_plugin.align(SPEECH, words, TEXT)
    assert made.aligner == "pauses" and "stepedit[align]" in (made.why or "")


@pytest.mark.parametrize("name", ["garden", "doubt", "office", "hardware"])
def test_one_unknown_word_moves_no_other(name: str) -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech(name)
    text = speech.transcript or ""
    words = split_words(text)
    times = np.array(align_words(speech, words))
    place = max(range(1, len(words) - 1), key=lambda at: len(words[at].text))
    one = words[place]
    misspelt = one.text[:-1] + "kr" + one.text[-1]
    other = split_words(text[: one.start] + misspelt + text[one.end :])
    assert guessed_words(other) == [misspelt]
    around = np.array(align_words(speech, other))
    assert around.shape == times.shape
    assert np.abs(around - times).max() <= 0.15
    assert np.median(np.abs(np.delete(around - times, place, axis=0))) <= 0.02


def test_digits_and_accents_are_known_words() -> None:
    pytest.importorskip("pocketsphinx")
    speech = packaged_speech("surpassed")
    words = split_words((speech.transcript or "") + " 1 2034 1997 00419 café naïve")
    assert guessed_words(words) == []
    assert guessed_words(split_words("9" * 5000)) == ["9" * 5000]


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("xylophane", "K S IY L AA F AE N"),
        ("Łódź", "L AA D Z"),
        ("字", "HH AH HH AH"),
        ("q" * 200_000, "K"),
        ("ab" * 100, " ".join(["AE", "B"] * 30)),
    ],
)
def test_letters_suggest_phones(word: str, phones: str) -> None:
    assert " ".join(guessed_phones(word, 2)) == phones


def test_numbers_are_spelled_out() -> None:
    said = {"7": "seven", "42": "forty two", "1997": "nineteen ninety seven", "007": "zero zero"}
    for digits, start in said.items():
        assert " ".join(spelled_out(digits)).startswith(start)
    assert len(spelled_out("1" * 12)) == 12
