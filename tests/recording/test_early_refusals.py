"""Long recordings: what can be refused before any words are heard is refused then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile as sf

from stepedit_core import Chain, Diariser, Recording, Registry, Utterance, hookimpl
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.words import split_words
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.testing import FakeEngine, speech_like
from tests.cli.calls import call, refused
from tests.toy_edits import Recite

RATE = 8_000
RECITE = Chain([Recite(words="So.")])


class Announce(Recite):
    """Say a text of its own, in the voice of words that must be known."""

    def saying(self, text: str) -> Edit:
        return Announce(words=text)


class Nobody(Diariser):
    """A fake that tells nobody from another."""

    name: ClassVar[str] = "nobody"

    def tell_apart(self, parts: Iterable[Utterance]) -> list[int | None]:
        return [0 for _ in parts]


@pytest.fixture
def deaf(toys: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Nothing may be heard; an edit says a text of its own."""

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("words were heard")

    monkeypatch.setattr("stepedit_core.recording.sentences.align", never)
    toys.register(SimpleNamespace(stepedit_edits=hookimpl(lambda: [Announce])), "announce")
    return toys


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    parts = [speech_like(4.0, RATE, seed=n).samples for n in range(5)]
    sf.write(tmp_path / "talk.wav", np.concatenate(parts), RATE, subtype="PCM_16")
    return tmp_path / "talk.wav"


@pytest.mark.parametrize(
    ("chain", "options", "says"),
    [
        (Chain([Announce(words="Hello.")]), {}, "announce says a text of its own, and every piece"),
        (RECITE, {"speaker": "A"}, "no diariser"),
        (RECITE, {"workers": 2}, "several workers share no engine"),
        (RECITE, {"longest": 0.5}, "1 s is the least"),
        (RECITE, {"carry": "sound"}, "carry is one of"),
    ],
)
def test_nothing_is_heard(
    deaf: Registry, talk: Path, chain: Chain, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(StepeditError, match=says):
        Recording.read(talk).edit(chain, talk.with_name("out.wav"), engine=FakeEngine(), **options)
    assert not talk.with_name("out.wav").exists()


def test_voices_that_are_told_apart_have_letters(deaf: Registry, talk: Path) -> None:
    deaf.register(SimpleNamespace(stepedit_diarisers=hookimpl(lambda: [Nobody])), "nobody")
    with pytest.raises(StepeditError, match=r"no speaker 'Ann': .*told apart are A, B"):
        Recording.read(talk).edit(
            RECITE, talk.with_name("out.wav"), engine=FakeEngine(), speaker="Ann"
        )


def test_labels_without_words_name_the_speakers(
    deaf: Registry, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.with_suffix(".vtt").write_text(
        "WEBVTT\n\n00:00.000 --> 00:09.000\n<v Ann> \n\n00:09.000 --> 00:20.000\n<v Bob> \n"
    )
    recording = Recording.read(talk, subtitles=talk.with_suffix(".vtt"))
    with pytest.raises(StepeditError, match="no speaker 'An'; did you mean 'Ann'"):
        recording.edit(RECITE, talk.with_name("out.wav"), speaker="An", engine=FakeEngine())

    def spread(utterance: Utterance, **_: object) -> Alignment:
        words = split_words("It is so.")
        step = utterance.seconds / len(words)
        timed = [TimedWord(w.text, n * step, (n + 1) * step) for n, w in enumerate(words)]
        return Alignment("It is so.", tuple(timed), "spread")

    monkeypatch.setattr("stepedit_core.recording.sentences.align", spread)
    heard = recording.with_words()
    assert [part.speaker for part in heard.segments] == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--segments", "a"], "segments are numbers"),
        (["--subtitles", "none.srt"], "none.srt: no such file"),
    ],
)
def test_no_engine_is_loaded(
    deaf: Registry,
    talk: Path,
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stepedit_core.cli.edit.needed_engine", None)
    line = refused(call("edit", talk, "-o", talk.with_name("o.wav"), "-e", "gain", *arguments))
    assert says in line


def test_subtitles_are_not_heard_for_what_is_refused(deaf: Registry, talk: Path) -> None:
    out = ["--subtitles-out", talk.with_name("out.srt"), "--engine", "fake"]
    line = refused(
        call("edit", talk, "-o", talk.with_name("o.wav"), "-e", "announce:words=Hi.", *out)
    )
    assert "says a text of its own" in line


def test_until_is_refused_at_once(deaf: Registry, tmp_path: Path) -> None:
    sf.write(tmp_path / "in.wav", np.tile(speech_like(10.0, RATE).samples, 31), RATE)
    arguments = ["--until", "no gain", "--engine", "missing"]
    line = refused(
        call("edit", tmp_path / "in.wav", "-o", tmp_path / "o.wav", "-e", "gain", *arguments)
    )
    assert "--until is for recordings of up to five minutes" in line
