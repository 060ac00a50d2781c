"""Long recordings: what is chosen is edited, all else stays, and a killed run goes on."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from stepedit_core import AlignmentError, AudioError, Chain, Recording, RecordingResult
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.words import split_words
from stepedit_core.edit import Edit, Rendered
from stepedit_core.errors import EditError, InvalidChainError
from stepedit_core.recording.loudness import loudness
from stepedit_core.recording.segments import parse_numbers
from stepedit_core.recording.sentences import share_words
from stepedit_core.recording.streaming import Stretch, read_stretches
from stepedit_core.registry.registry import Registry
from stepedit_core.storage.blocks import open_sound
from stepedit_core.testing import FakeEngine, speech_like
from stepedit_core.utterance import Utterance
from tests.toy_edits import Gain, Recite

RATE = 16_000
WORDS = ["We came back at last.", "The house was empty", "and the door stood open.", "Who did it?"]


class Louder(Edit):
    """Double the samples, though loudness is not what it is about."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=utterance.samples * 2))


class Half(Edit):
    """Drop every second sample: half as long, an octave up."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        return Rendered(utterance.replace(samples=utterance.samples[::2]))


class Refuse(Edit):
    """Fail on what is louder than the fourth part of full scale."""

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        if np.abs(utterance.samples).max() > 0.25:
            raise AudioError("too loud")
        return Rendered(utterance.replace(samples=utterance.samples / 2))


@pytest.fixture
def hooks(toys: Registry) -> Registry:
    """Toy edits, and those of this file."""
    from types import SimpleNamespace

    from stepedit_core.hookspecs import hookimpl

    plugin = SimpleNamespace(stepedit_edits=hookimpl(lambda: [Louder, Half, Refuse]))
    toys.register(plugin, "local")
    return toys


def stamp(second: float) -> str:
    return f"00:00:{int(second):02d},{round(second % 1 * 1000):03d}"


def subtitles(path: Path, cues: list[tuple[float, float, str]]) -> Path:
    rows = [f"{n}\n{stamp(a)} --> {stamp(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues, 1)]
    path.write_text("\n".join(rows))
    return path


def said(seconds: float = 4.0) -> list[tuple[float, float, str]]:
    """Return cues of four stretches of speech, one after the other."""
    return [(n * seconds + 0.2, (n + 1) * seconds - 0.2, text) for n, text in enumerate(WORDS)]


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Sixteen seconds of speech in four stretches, in whole numbers of 16 bits."""
    parts = [speech_like(4.0, RATE, seed=n, f0=110 + 30 * n).samples for n in range(4)]
    sf.write(tmp_path / "talk.wav", np.concatenate(parts), RATE, subtype="PCM_16")
    return tmp_path / "talk.wav"


@pytest.fixture
def subtitled(talk: Path) -> Recording:
    cues = said()
    cues[0] = (*cues[0][:2], f"Ann: {WORDS[0]}")
    cues[3] = (*cues[3][:2], f"Ann: {WORDS[3]}")
    return Recording.read(talk, subtitles=subtitles(talk.with_suffix(".srt"), cues))


def samples(path: Path) -> np.ndarray:
    return sf.read(path, dtype="int16")[0]


def test_untouched_segments_keep_every_bit(
    hooks: Registry, subtitled: Recording, tmp_path: Path
) -> None:
    result = subtitled.edit(Chain([Half()]), tmp_path / "out.wav", segments=[2])
    before, after = samples(subtitled.path), samples(tmp_path / "out.wav")
    changed = [piece for piece in result.pieces if piece.is_edited]
    assert [piece.segments for piece in changed] == [(2,)]
    start, end = (round(edge * RATE) for edge in (changed[0].start, changed[0].end))
    assert np.array_equal(after[:start], before[:start])
    assert np.array_equal(after[len(after) - len(before) + end :], before[end:])
    assert len(before) - len(after) == pytest.approx((end - start) / 2, abs=1)


@pytest.mark.parametrize("segments", [None, [2, 3]])
def test_an_edit_that_changes_nothing_changes_no_bit(
    hooks: Registry, talk: Path, tmp_path: Path, segments: list[int] | None
) -> None:
    recording = Recording.read(talk, longest=2.0)
    result = recording.edit(
        Chain([Gain(db=0.0)]), tmp_path / "out.wav", segments=segments, longest=2.0
    )
    assert sum(piece.is_edited for piece in result.pieces) > 1
    assert np.array_equal(samples(talk), samples(tmp_path / "out.wav"))


@pytest.mark.parametrize("level", [1e-4, 0.3])
def test_seams_are_measured(hooks: Registry, tmp_path: Path, level: float) -> None:
    hiss = np.random.default_rng(0).standard_normal(6 * RATE) * level
    hiss[::RATE] += 0.5  # so that there is something to hear
    sf.write(tmp_path / "in.wav", hiss, RATE, subtype="FLOAT")
    recording = Recording.read(tmp_path / "in.wav", longest=2.0)
    result = recording.edit(Chain([Gain(db=-12)]), tmp_path / "out.wav", segments=[2], longest=2.0)
    assert (result.spliced, result.faded) == ((2, 0) if level < 1e-3 else (0, 2))
    piece = next(piece for piece in result.pieces if piece.is_edited)
    after = sf.read(tmp_path / "out.wav")[0]
    at, fade = round(piece.output_start * RATE), RATE // 100
    inside = np.sqrt(np.mean(after[at + fade : at + RATE] ** 2))
    near = np.sqrt(np.mean(after[at : at + fade // 2] ** 2))
    if level > 1e-3:  # the fade begins at the source's level
        assert near > 1.5 * inside


def test_edited_pieces_overlap_where_they_are_loud(hooks: Registry, tmp_path: Path) -> None:
    time = np.arange(8 * RATE) / RATE
    sf.write(tmp_path / "in.wav", 0.4 * np.sin(2 * np.pi * 150 * time), RATE, subtype="FLOAT")
    recording = Recording.read(tmp_path / "in.wav")
    result = recording.edit(Chain([Gain(db=-6)]), tmp_path / "out.wav", longest=2.0)
    before, after = sf.read(tmp_path / "in.wav")[0], sf.read(tmp_path / "out.wav")[0]
    assert result.faded >= 3 and len(after) == len(before)
    assert np.abs(after - before * 10 ** (-6 / 20)).max() < 1e-4


@pytest.mark.parametrize("segments", [[2], [2, 3]])
def test_loudness_is_that_of_the_source(
    hooks: Registry, subtitled: Recording, tmp_path: Path, segments: list[int]
) -> None:
    levels = []
    for edit in (Louder(), Gain(db=6.0)):
        subtitled.edit(Chain([edit]), tmp_path / "out.wav", segments=segments)
        part = slice(round(4.3 * RATE), round(7.7 * RATE))
        found = [
            loudness(sf.read(path, dtype="float32")[0][part], RATE)
            for path in (subtitled.path, tmp_path / "out.wav")
        ]
        assert found[0] is not None and found[1] is not None
        levels.append(found[1][0] - found[0][0])
    assert levels[0] == pytest.approx(0.0, abs=0.3)
    assert levels[1] > 3.0  # loudness is what it is about; loud peaks are clipped


def test_subtitles_follow_a_change_of_tempo(
    hooks: Registry, subtitled: Recording, tmp_path: Path
) -> None:
    result = subtitled.edit(Chain([Half()]), tmp_path / "out.wav", segments=[1, 2])
    moved = {part.number: (part.start, part.end) for part in result.segments}
    assert moved[1] == pytest.approx((0.1, 1.9), abs=0.03)
    assert moved[2] == pytest.approx((2.1, 3.9), abs=0.03)
    assert moved[4] == pytest.approx((12.2 - 4.0, 15.8 - 4.0), abs=0.03)
    result.write_subtitles(tmp_path / "out.srt")
    again = Recording.read(tmp_path / "out.wav", subtitles=tmp_path / "out.srt")
    assert [part.text for part in again.segments] == WORDS
    assert again.segments[0].speaker == "Ann"


def test_speaker_and_pauses(hooks: Registry, subtitled: Recording, tmp_path: Path) -> None:
    result = subtitled.edit(Chain([Half()]), tmp_path / "out.wav", speaker="Ann")
    assert [p.segments for p in result.pieces if p.is_edited] == [(1,), (4,)]
    with pytest.raises(AlignmentError, match="no speaker 'Bob'; there is Ann"):
        subtitled.edit(Chain([Half()]), tmp_path / "no.wav", speaker="Bob")
    with pytest.raises(AlignmentError, match="no segment 9: there are 1 to 4"):
        subtitled.edit(Chain([Half()]), tmp_path / "no.wav", segments=[3, 9])


def test_words_change_by_llm(hooks: Registry, subtitled: Recording, tmp_path: Path) -> None:
    result = subtitled.edit(
        Chain([Recite(words="Nobody knows.")]),
        tmp_path / "out.wav",
        engine=FakeEngine(),
        segments=[4],
    )
    assert [part.text for part in result.segments] == [*WORDS[:3], "Nobody knows."]
    assert result.pieces[-1].details["steps"][0]["route"] == "llm"


def test_a_sentence_over_two_cues_is_one_piece(
    hooks: Registry, subtitled: Recording, tmp_path: Path
) -> None:
    result = subtitled.edit(
        Chain([Recite(words="The hall was empty and the gate stood open.")]),
        tmp_path / "out.wav",
        engine=FakeEngine(),
        segments=[1, 2, 3],
    )
    assert [p.segments for p in result.pieces if p.is_edited] == [(1,), (2, 3)]
    assert result.segments[1].text == "The hall was empty"
    assert result.segments[2].text == "and the gate stood open."


class Brief(FakeEngine):
    """An engine that edits six seconds at once."""

    def longest_seconds(self, edit: Edit) -> float:
        return 6.0


class Anglophone(FakeEngine):
    """An engine that was taught English."""

    languages = ("en",)


def test_a_language_that_the_engine_was_not_taught_is_named_once(
    hooks: Registry, subtitled: Recording, tmp_path: Path
) -> None:
    foreign = dataclasses.replace(subtitled, language="zh")
    result = foreign.edit(
        Chain([Recite(words="So.")]),
        tmp_path / "out.wav",
        engine=Anglophone(),
        segments=[1, 4],
        route="llm",
    )
    assert sum("not Mandarin (zh)" in note for note in result.notes) == 1


def spread(utterance: Utterance, **options: object) -> Alignment:
    """Time words evenly: what an aligner would hear."""
    text = utterance.transcript or "Heard well. Heard on"
    parts = split_words(text)
    step = utterance.seconds / len(parts)
    words = [TimedWord(w.text, n * step, (n + 0.9) * step) for n, w in enumerate(parts)]
    return Alignment(text, tuple(words), "even")


def test_words_are_cut_at_sentence_ends(
    hooks: Registry, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.recording.sentences.align", spread)
    recording = read_with(talk, [(0.0, 16.0, "One two three. Four five six seven. Eight nine.")])
    result = recording.edit(Chain([Recite(words="So.")]), tmp_path / "out.wav", engine=Brief())
    assert [part.text for part in result.source.segments] == [
        "One two three.",
        "Four five",
        "six seven.",
        "Eight nine.",
    ]
    assert all(piece.end - piece.start <= 6.1 for piece in result.pieces)
    assert all(piece.segments == (1,) for piece in result.pieces)
    assert {part.text for part in result.segments} == {"So."}


def test_unknown_words_are_heard(
    hooks: Registry, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.recording.sentences.align", spread)
    recording = Recording.read(talk, longest=4).with_words()
    assert [part.text for part in recording.segments][:2] == ["Heard well.", "Heard on Heard well."]
    given = Recording.read(talk, text="Heard well. Heard one Heard well.", longest=8).with_words()
    assert [part.text for part in given.segments] == ["Heard well.", "Heard one Heard well."]
    with pytest.raises(AlignmentError, match="another recording's transcript"):
        Recording.read(talk, text="This is not what they say.", longest=8).with_words()


def test_share_words() -> None:
    assert share_words(["one two", "three four"], "one 2 three five four") == [
        "one 2",
        "three five four",
    ]
    assert share_words(["你好", "世界"], "你好新世界") == ["你好新", "世界"]
    assert share_words(["a b", "c"], "") == ["", ""]


def test_parse_numbers() -> None:
    assert parse_numbers("3-5,1,4") == (3, 4, 5, 1)
    for wrong in ("", "7-3", "x", "0", "1-", "-3"):
        with pytest.raises(AlignmentError):
            parse_numbers(wrong)


# Resuming -----------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from stepedit_core import Chain, Recording, parse_edit
def stop(done, total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
recording = Recording.read(sys.argv[1], longest=4)
recording.edit(Chain([parse_edit("speed:factor=1.25")]), sys.argv[2], longest=4, on_piece=stop)
"""


def test_a_killed_run_goes_on_to_the_same_bytes(talk: Path, tmp_path: Path) -> None:
    from stepedit_core import parse_edit

    out, whole = tmp_path / "a" / "out.wav", tmp_path / "b" / "out.wav"
    killed = subprocess.run([sys.executable, "-c", KILLED, talk, out], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    recording = Recording.read(talk, longest=4)
    chain = Chain([parse_edit("speed:factor=1.25")])
    result = recording.edit(chain, out, longest=4)
    recording.edit(chain, whole, longest=4)
    assert result.resumed == 2
    assert out.read_bytes() == whole.read_bytes()
    assert os.listdir(out.parent) == ["out.wav"]


def test_another_request_takes_nothing_over(hooks: Registry, talk: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    recording = Recording.read(talk, longest=4)
    with pytest.raises(KeyboardInterrupt):
        recording.edit(Chain([Gain(db=-3)]), tmp_path / "o.wav", longest=4, on_piece=stop)
    assert recording.edit(Chain([Gain(db=-4)]), tmp_path / "o.wav", longest=4).resumed == 0
    with pytest.raises(KeyboardInterrupt):
        recording.edit(Chain([Gain(db=-3)]), tmp_path / "o.wav", longest=4, on_piece=stop)
    for file in tmp_path.glob(".o.wav.stepedit-pieces/*.npy"):
        file.write_bytes(b"torn")
    assert recording.edit(Chain([Gain(db=-3)]), tmp_path / "o.wav", longest=4).resumed == 0


# Memory -------------------------------------------------------------------------------------


def test_stretches_hold_one_block_more() -> None:
    taken = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal taken
        for n in range(100):
            taken += 1000
            yield np.arange(n * 1000, (n + 1) * 1000, dtype=np.float32)

    edges = [0, 10, 5_000, 5_001, 60_500, 100_000]
    stretches = [Stretch(a, b) for a, b in pairwise(edges)]
    for stretch, part in read_stretches(blocks(), stretches, ahead=7):
        end = min(stretch.stop + 7, 100_000)
        assert np.array_equal(part, np.arange(stretch.start, end, dtype=np.float32))
        assert taken - end < 1000


def test_reading_takes_no_more_memory_for_longer_files(tmp_path: Path) -> None:
    peaks = []
    for minutes in (4, 16):
        noise = np.random.default_rng(0).standard_normal(minutes * 60 * 8_000) * 0.1
        sf.write(tmp_path / "long.flac", noise, 8_000)
        del noise
        tracemalloc.start()
        with open_sound(tmp_path / "long.flac", max_seconds=3600) as sound:
            assert sum(map(len, sound.blocks())) == minutes * 60 * 8_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# Bad input ----------------------------------------------------------------------------------


def read_with(talk: Path, cues: list[tuple[float, float, str]]) -> Recording:
    return Recording.read(talk, subtitles=subtitles(talk.with_suffix(".srt"), cues))


def covered(result: RecordingResult) -> bool:
    edges = [(piece.start, piece.end) for piece in result.pieces]
    return edges[0][0] == 0 and all(a[1] == b[0] for a, b in pairwise(edges))


def test_cues_that_overlap_or_run_past_the_end(hooks: Registry, talk: Path, tmp_path: Path) -> None:
    cues = [(0.2, 5.0, "One."), (1.0, 3.0, "Inside."), (4.2, 8.0, "Two."), (14.0, 40.0, "Late.")]
    recording = read_with(talk, [*cues, (50.0, 51.0, "Never.")])
    assert any("overlap" in note for note in recording.notes)
    assert any("left out" in note for note in recording.notes)
    result = recording.edit(Chain([Gain(db=0.0)]), tmp_path / "out.wav", segments=[2])
    assert [p.segments for p in result.pieces if p.is_edited] == [(1, 2)]
    assert covered(result)
    assert np.array_equal(samples(talk), samples(tmp_path / "out.wav"))


def test_cues_without_length(talk: Path) -> None:
    with pytest.raises(AlignmentError, match="no cue lasts any time; mend the times of their ends"):
        read_with(talk, [(1.0, 1.0, "Well.")])


def test_cues_of_another_recording(talk: Path) -> None:
    with pytest.raises(AlignmentError, match="no cue lies within the recording"):
        read_with(talk, [(30.0, 31.0, "Never.")])
    (talk.parent / "empty.srt").write_text("")
    with pytest.raises(AlignmentError, match="empty"):
        Recording.read(talk, subtitles=talk.parent / "empty.srt")


def test_cues_without_words_stay_by_llm(hooks: Registry, talk: Path, tmp_path: Path) -> None:
    path = talk.with_suffix(".txt")
    path.write_text("0.2\t3.8\t\n4.2\t7.8\tSomething.\n")
    recording = Recording.read(talk, subtitles=path)
    chain = Chain([Recite(words="Nothing.")])
    result = recording.edit(chain, tmp_path / "out.wav", engine=FakeEngine())
    assert [piece.segments for piece in result.pieces if piece.is_edited] == [(2,)]
    with pytest.raises(InvalidChainError, match="hold no words"):
        recording.edit(chain, tmp_path / "no.wav", engine=FakeEngine(), segments=[1])
    assert not (tmp_path / "no.wav").exists()


def test_a_text_of_its_own_is_said_once(hooks: Registry, talk: Path, tmp_path: Path) -> None:
    class Announce(Recite):
        def saying(self, text: str) -> Edit | None:
            return Announce(words=text)

    chain, engine = Chain([Announce(words="The doors close.")]), FakeEngine()
    recording = read_with(talk, [(0.2, 3.8, "One."), (4.2, 7.8, "Two.")])
    with pytest.raises(InvalidChainError, match="says a text of its own, and each of 2 pieces"):
        recording.edit(chain, tmp_path / "out.wav", engine=engine)
    assert not (tmp_path / "out.wav").exists()
    result = recording.edit(chain, tmp_path / "out.wav", engine=engine, segments=[2])
    assert [piece.segments for piece in result.pieces if piece.is_edited] == [(2,)]


def test_silence_between_speech_is_left(hooks: Registry, tmp_path: Path) -> None:
    speech = speech_like(4.0, RATE).samples
    sound = np.concatenate([speech, np.zeros(8 * RATE, np.float32), speech])
    sf.write(tmp_path / "in.wav", sound, RATE)
    recording = Recording.read(tmp_path / "in.wav", longest=4)
    result = recording.edit(Chain([Gain(db=-6)]), tmp_path / "out.wav", longest=4)
    left = [piece for piece in result.pieces if piece.left]
    assert left and all("digital silence" in str(piece.left) for piece in left)
    assert any("left as it is" in note for note in result.notes)
    sf.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="digital silence"):
        Recording.read(tmp_path / "silent.wav")


def test_a_failing_piece_stops_all_or_is_kept(
    hooks: Registry, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepedit_core.recording import working

    recording, out = Recording.read(talk, longest=4), tmp_path / "out.wav"
    monkeypatch.setattr(working, "speech_spans", lambda source: [(0.0, 1.0)])
    with pytest.raises(EditError, match=r"segment 1 at 0.00 s: step 1, refuse.*too loud"):
        recording.edit(Chain([Refuse()]), out, longest=4)
    assert not out.exists()
    sound = sf.read(talk)[0]
    sound[: 4 * RATE] *= 0.1
    sf.write(talk, sound, RATE)
    recording = Recording.read(talk, longest=4)
    result = recording.edit(Chain([Refuse()]), out, longest=4, keep_failed=True)
    assert result.pieces[0].is_edited and len(result.failed) == len(result.pieces) - 1
    monkeypatch.setattr(working, "speech_spans", lambda source: [])
    result = recording.edit(Chain([Refuse()]), out, longest=4)
    assert not result.failed and "no speech in it" in str(result.pieces[1].left)


def test_what_cannot_be_asked_for(hooks: Registry, talk: Path, tmp_path: Path) -> None:
    recording = Recording.read(talk)
    with pytest.raises(AudioError, match="is the recording itself"):
        recording.edit(Chain([Gain()]), talk)
    with pytest.raises(InvalidChainError, match="step 1, recite"):
        recording.edit(Chain([Recite(words="a")]), tmp_path / "o.wav")
    with pytest.raises(InvalidChainError, match="the chain is empty"):
        recording.edit(Chain([]), tmp_path / "o.wav")
    wrong: list[object] = [3.5, "1", []]
    for segments in wrong:
        with pytest.raises(AlignmentError, match=r"segments are numbers such as \[3, 4\]"):
            recording.edit(Chain([Gain()]), tmp_path / "o.wav", segments=segments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Recording.edit has no option 'worker'; did you mean"):
        recording.edit(Chain([Gain()]), tmp_path / "o.wav", worker=2)  # type: ignore[call-arg]
    with pytest.raises(InvalidChainError, match="on_piece is a function"):
        recording.edit(Gain(), tmp_path / "o.wav", on_piece=2)  # type: ignore[arg-type]
    with pytest.raises(InvalidChainError, match="workers"):
        recording.edit(Chain([Gain()]), tmp_path / "o.wav", workers=0)
    with pytest.raises(AudioError, match="unknown audio format"):
        recording.edit(Chain([Gain()]), tmp_path / "o.xyz")
    assert os.listdir(tmp_path) == ["talk.wav"]
