"""What edits mean of a whole recording where they are carried out piece by piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from stepedit_core import Chain, InvalidChainError, Recording, Utterance, parse_edit
from stepedit_core.dsp.loudness import loudness, true_peak
from stepedit_core.recording.loudness import level_of
from stepedit_core.testing import speech_like

RATE = 16_000


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Five stretches of 4 s, each 3 dB louder than the one before."""
    parts = [speech_like(4.0, RATE, seed=n).samples * 10 ** (0.15 * n - 1.2) for n in range(5)]
    sf.write(tmp_path / "talk.wav", np.concatenate(parts), RATE, subtype="FLOAT")
    return tmp_path / "talk.wav"


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100])
def test_the_level_of_blocks_is_that_of_the_whole(rate: int) -> None:
    speech = speech_like(4.0, rate).samples
    samples = np.concatenate([speech * np.float32(0.02 * n) for n in range(25)])
    samples[1000] = 0.9  # in the first stretch that is measured at once, not in the last
    found, peak = level_of(np.array_split(samples, 7), rate)
    assert found == pytest.approx(loudness(Utterance(samples, rate)), abs=0.02)
    assert peak == pytest.approx(true_peak(samples, rate), abs=1e-4)


def test_the_level_of_silence_and_of_next_to_nothing() -> None:
    assert level_of([np.zeros(3 * RATE, np.float32)], RATE) == (None, 0.0)
    assert level_of([np.full(100, 0.1, np.float32)], RATE)[0] is None
    assert level_of([], RATE) == (None, 0.0)


@pytest.mark.parametrize(("asked", "limits"), [("lufs=-30", (-30, None)), ("peak=-3", (None, -3))])
def test_a_level_is_that_of_the_whole(
    talk: Path, asked: str, limits: tuple[float | None, float | None]
) -> None:
    chain, out = Chain([parse_edit(f"volume:{asked}")]), talk.with_name("out.wav")
    result = Recording.read(talk, longest=4).edit(chain, out, longest=4)
    before, after = Utterance.read(talk), Utterance.read(out)
    gains = after.samples[:: RATE // 2][1:] / before.samples[:: RATE // 2][1:]
    assert gains == pytest.approx(gains[0], rel=1e-3), "soft pieces stay softer than loud ones"
    if limits[0] is not None:
        assert loudness(after) == pytest.approx(limits[0], abs=0.1)
    if limits[1] is not None:
        assert 20 * np.log10(true_peak(after.samples, RATE)) == pytest.approx(limits[1], abs=0.1)
    assert any("LUFS as a whole before the first step: each piece" in one for one in result.notes)


def test_a_level_is_brought_about_once(talk: Path) -> None:
    chain = Chain([parse_edit("volume:lufs=-30")], iterations=2)
    with pytest.raises(InvalidChainError, match="2 steps bring it to a level"):
        Recording.read(talk, longest=4).edit(chain, talk.with_name("out.wav"), longest=4)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("masked:inner=(volume:db=3),spans=[[1,2]]", "masked names seconds of the whole recording"),
        ("masked:inner=(volume:db=3),margins=[1,1]", "masked names seconds"),
        ("masked:inner=(volume:db=3),sentences=[2]", "masked counts sentences"),
        ("masked:inner=(volume:db=3),words=x,occurrence=2", "masked counts occurrences"),
        ("pause:seconds=1,at=3.0", "pause names a place"),
        ("pause:seconds=1,at=end", "pause names a place"),
        ("pause:seconds=1,after=x,occurrence=2", "pause counts occurrences"),
        ("delete:find=x,occurrence=2", "delete counts occurrences"),
        ('paralinguistic:text="x [laugh]"', "paralinguistic gives all words"),
    ],
)
def test_one_place_of_the_whole_is_not_one_of_each_piece(
    talk: Path, edit: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.recording.sentences.align", None)
    recording, out = Recording.read(talk, longest=4), talk.with_name("out.wav")
    with pytest.raises(InvalidChainError, match=f"{says}.* choose one segment"):
        recording.edit(Chain([parse_edit(edit)]), out, longest=4, route="dsp")
    assert not out.exists()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("rewrite:to=So it is.", "gives all words"),
        ("insert:text=so,at=end", "names the start or the end"),
        ("insert:text=so,after=it,occurrence=2", "counts occurrences"),
        ("replace:find=it,by=so,occurrence=2", "counts occurrences"),
        ("replace:find=it,by=so", None),
        ("masked:inner=(insert:text=so,at=end),words=it", None),
        ("masked:inner=(volume:lufs=-20),speaker=A", None),
        ("speed:factor=1.1", None),
    ],
)
def test_what_counts_in_the_whole(edit: str, says: str | None) -> None:
    assert parse_edit(edit).pieces_problem() == says


def test_one_segment_may_be_asked_for_a_place(talk: Path) -> None:
    chain = Chain([parse_edit("masked:inner=(volume:db=3),spans=[[1,2]]")])
    recording = Recording.read(talk, longest=4)
    result = recording.edit(chain, talk.with_name("out.wav"), longest=4, segments=[2])
    assert sum(piece.is_edited for piece in result.pieces) == 1
    before, after = Utterance.read(talk).samples, Utterance.read(talk.with_name("out.wav")).samples
    begin = recording.segments[1].start
    changed = np.flatnonzero(before != after) / RATE
    assert begin + 0.95 < changed.min() < changed.max() < begin + 2.05
