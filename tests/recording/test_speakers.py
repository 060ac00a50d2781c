"""Speakers that nobody named: fakes, and real voices by their vectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import soundfile as sf

from stepedit_core import (
    AlignmentError,
    Chain,
    Diariser,
    Recording,
    Registry,
    StepeditError,
    Utterance,
    Where,
    align,
    hookimpl,
)
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.words import split_words
from stepedit_core.recording.speakers import tell_apart
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import speech_like
from tests.toy_edits import Gain

RATE = 16_000


class ByLevel(Diariser):
    """A fake: loud parts are one speaker, soft ones another, silence is nobody."""

    name: ClassVar[str] = "level"
    rank: ClassVar[int] = 1

    def tell_apart(self, parts: Iterable[Utterance]) -> list[int | None]:
        levels = [float(np.sqrt(np.mean(part.samples**2))) for part in parts]
        return [None if level < 1e-3 else int(level < 0.05) for level in levels]


@pytest.fixture
def hooks(toys: Registry) -> Registry:
    toys.register(SimpleNamespace(stepedit_diarisers=hookimpl(lambda: [ByLevel])), "level")
    return toys


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Loud, soft, loud: 4 s each, pauses of 0.5 s between."""
    gap = np.zeros(RATE // 2, np.float32)
    loud = [speech_like(4.0, RATE, seed=n).samples for n in range(3)]
    parts = [loud[0], gap, loud[1] * np.float32(0.1), gap, loud[2]]
    sf.write(tmp_path / "talk.wav", np.concatenate(parts), RATE, subtype="PCM_16")
    return tmp_path / "talk.wav"


def test_names_follow_the_order_of_speaking(hooks: Registry) -> None:
    voice = speech_like(1.0, RATE)
    soft, silent = (voice.replace(samples=voice.samples * np.float32(x)) for x in (0.1, 0.0))
    names, teller = tell_apart([silent, soft, silent, voice, soft], registry=hooks)
    assert names == ["A", "A", "A", "B", "A"]
    assert teller == "level"
    assert tell_apart([silent], registry=hooks)[0] == [None]


def test_one_voice_of_a_recording_is_edited(hooks: Registry, talk: Path, tmp_path: Path) -> None:
    recording = Recording.read(talk)
    result = recording.edit(Chain([Gain(db=-6)]), tmp_path / "out.wav", speaker="B")
    before, after = sf.read(talk, dtype="int16")[0], sf.read(tmp_path / "out.wav", dtype="int16")[0]
    changed = np.flatnonzero(before != after) / RATE
    assert 3.9 < changed.min() < 5.0 and 8.0 < changed.max() < 9.1
    assert any("2 speakers told apart by level: A" in note for note in result.notes)
    with pytest.raises(AlignmentError, match="no speaker 'C'; there are A, B"):
        recording.edit(Chain([Gain(db=-6)]), tmp_path / "no.wav", speaker="C")


def test_a_region_is_a_voice(hooks: Registry, talk: Path) -> None:
    text = "One two three. Four five six. Seven eight nine."
    starts = [4.5 * (n // 3) + 1.2 * (n % 3) + 0.1 for n in range(9)]
    spoken = zip(split_words(text), starts, strict=True)
    words = tuple(TimedWord(word.text, start, start + 0.9) for word, start in spoken)
    speech = Utterance.read(talk, text)
    timed = speech.replace(alignment=Alignment(text, words, "test"))
    (span,) = Where(speaker="B").resolve(timed)
    assert 3.5 < span.start < 4.7 and 7.9 < span.end < 9.2
    with pytest.raises(AlignmentError, match="no speaker 'Ann'; there is: A, B"):
        Where(speaker="Ann").resolve(timed)


def test_nobody_can_tell(toys: Registry) -> None:
    with pytest.raises(StepeditError, match="no diariser"):
        tell_apart([speech_like(1.0, RATE)], registry=toys)


@pytest.mark.slow
def test_packaged_voices_are_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("resemblyzer")
    clips = [packaged_speech(name).resample(RATE) for name in ("doubt", "books", "doubt")]
    gap = np.zeros(RATE // 2, np.float32)
    joined = np.concatenate([part for clip in clips for part in (clip.samples, gap)])
    sf.write(tmp_path / "two.wav", joined, RATE)
    found = Recording.read(tmp_path / "two.wav").with_speakers()
    assert {part.speaker for part in found.segments} == {"A", "B"}
    assert found.segments[0].speaker == found.segments[-1].speaker == "A"
    alone = align(clips[0])
    assert not alone.speakers
