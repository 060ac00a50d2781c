"""Words that nobody gave, and words that do not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import soundfile as sf

from stepedit_core import (
    Aligner,
    Recogniser,
    Registry,
    StepeditError,
    TimedWord,
    Transcription,
    Utterance,
    align,
    hookimpl,
)
from stepedit_core.dsp.words import Word
from stepedit_core.recording.hearing import load_aligner, load_recogniser, transcribe
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import silence, speech_like
from tests.cli.calls import call, refused

RATE = 16_000


class Ears(Recogniser):
    """A fake that hears two words in all but silence."""

    name: ClassVar[str] = "ears"

    def transcribe(self, utterance: Utterance) -> Transcription:
        return Transcription("hello world", "en", "Ears 1.0", ())

    @classmethod
    def title(cls, model: str | None = None) -> str:
        return "Ears 1.0"


class Unsure(Aligner):
    """A fake that gives each word an equal share and hardly believes it."""

    name: ClassVar[str] = "unsure"

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        step = utterance.seconds / len(words)
        return [TimedWord(w.text, n * step, (n + 1) * step, 0.01) for n, w in enumerate(words)]


@pytest.fixture
def heard(toys: Registry) -> Registry:
    plugin = SimpleNamespace(
        stepedit_recognisers=hookimpl(lambda: [Ears]), stepedit_aligners=hookimpl(lambda: [Unsure])
    )
    toys.register(plugin, "fakes")
    return toys


def test_words_are_heard_where_an_edit_needs_them(heard: Registry, tmp_path: Path) -> None:
    wav = tmp_path / "in.wav"
    speech_like(1.5, RATE).write(wav)
    base = ("edit", wav, "-o", tmp_path / "out.wav", "--report", tmp_path / "r.json")
    result = call(*base, "-e", "recite:words=x", "--engine", "fake")
    assert result.exit_code == 0, result.output
    assert f"{wav}: transcribed by Ears 1.0; give --text to correct it" in result.stdout
    told = json.loads((tmp_path / "r.json").read_text())["runs"][0]["source"]
    assert told["transcript"] == "hello world"
    assert "transcribed" not in call(*base, "-e", "gain").stdout
    given = call(*base, "-e", "recite:words=x", "--engine", "fake", "--text", "good day")
    assert "transcribed" not in given.stdout
    sf.write(wav, np.full(RATE, 1e-4) * np.sin(np.arange(RATE)), RATE)
    line = refused(call(*base, "-e", "recite:words=x", "--engine", "fake"))
    assert "an edit needs the words, and Ears 1.0 hears none; give --text" in line


def test_nothing_is_heard_without_speech(heard: Registry) -> None:
    assert transcribe(silence(1.0, RATE)).text == ""
    assert transcribe(speech_like(1.0, RATE)).text == "hello world"


@pytest.mark.parametrize("name", ["x.ass", "x.docx", "x"])
def test_a_suffix_without_format(heard: Registry, tmp_path: Path, name: str) -> None:
    wav = speech_like(1.5, RATE).write(tmp_path / "in.wav")
    for given in (("align", wav, "--text", "hello world"), ("transcribe", wav)):
        assert "the suffix tells no format" in refused(call(*given, "-o", tmp_path / name))
        assert call(*given, "-o", tmp_path / name, "--format", "srt").exit_code == 0
        assert (tmp_path / name).read_text().startswith("1\n00:")
        (tmp_path / name).unlink()


def test_a_language_that_no_model_knows_is_aligned_by_pauses() -> None:
    pytest.importorskip("stepedit_listen")
    assert load_aligner("auto", "tlh").name == "pauses"
    speech = packaged_speech("doubt").replace(transcript="tlhIngan Hol", language="tlh")
    found = align(speech)
    assert found.aligner == "pauses" and any("are guesses" in note for note in found.notes)


def test_weights_that_cannot_be_loaded_are_said_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(StepeditError, match="cannot load") as caught:
        load_recogniser(f"whisper:{tmp_path}", "en")
    assert "\n" not in str(caught.value)
