"""Forced alignment: words in order, and one clear line where it cannot be told."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from stepedit_paralinguistic.alignment import align

from stepedit_core.dsp import alignment as forced_alignment
from stepedit_core.dsp.alignment import align_words
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
        ("a xqzzt", 1.0, "does not know 'xqzzt'"),
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
    words = split_words(TEXT)
    with pytest.raises(MissingDependencyError, match=r"stepedit\[align\]"):
        align_words(SPEECH, words)
    # The plugin goes by pauses instead, and says why.
    made = align(SPEECH, words, TEXT)
    assert made.aligner == "pauses" and "stepedit[align]" in (made.why or "")
