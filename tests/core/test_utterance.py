from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from stepedit_core.errors import AudioError
from stepedit_core.testing import silence, speech_like
from stepedit_core.utterance import Span, Utterance


def test_samples_are_a_frozen_float32_copy() -> None:
    raw = np.zeros(100)
    utterance = Utterance(raw, 16_000)
    raw[0] = 1
    assert utterance.samples.dtype == np.float32
    assert utterance.samples[0] == 0
    with pytest.raises(ValueError, match=r"read-only"):
        utterance.samples[0] = 1


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((2, 10)), 16_000, "mono"),
        (np.array([0.0, np.nan]), 16_000, "NaN or infinite"),
        (np.array([0.0, np.inf]), 16_000, "NaN or infinite"),
        (np.zeros(10), 3_999, "sample rate 3999 Hz is outside"),
        (np.zeros(10), 192_001, "outside"),
        (np.zeros(10), 16_000.5, "a whole number of Hz"),
        (np.zeros(10), "16000", "a whole number of Hz"),
        (np.full(10, 3000, np.int16), 16_000, "got int16; divide"),
        (np.zeros(10, complex), 16_000, "floating point"),
        (None, 16_000, "floating point"),
    ],
)
def test_what_is_not_mono_finite_speech_is_refused(
    samples: np.ndarray[tuple[int], np.dtype[np.float64]], rate: int, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        Utterance(samples, rate)  # type: ignore[arg-type]


def test_a_transcript_is_text() -> None:
    with pytest.raises(AudioError, match=r"a transcript is text, got int"):
        Utterance(np.zeros(10, np.float32), 16_000, 5)  # type: ignore[arg-type]


def test_a_language_is_text() -> None:
    with pytest.raises(AudioError, match=r"a language is text, got int"):
        Utterance(np.zeros(10), 16_000, None, 5)  # type: ignore[arg-type]


def test_equality_hash_and_repr() -> None:
    one = speech_like(0.5)
    assert one == speech_like(0.5).replace()
    assert hash(one) == hash(one.replace())
    assert one != one.replace(transcript="other")
    assert one != 5
    assert repr(one) == "Utterance(0.50 s at 24000 Hz, 'You came back at last!')"
    assert one.digest == one.replace(transcript=None).digest


def test_slice_and_seconds() -> None:
    one = speech_like(1.0)
    part = one.slice(Span(0.25, 0.75))
    assert part.seconds == pytest.approx(0.5)
    assert part.transcript is None
    assert np.array_equal(part.samples, one.samples[6000:18000])
    assert Span(0.25, 0.75).seconds == 0.5


def test_resample_keeps_pitch_and_duration() -> None:
    time = np.arange(16_000) / 16_000
    tone = Utterance(np.sin(2 * np.pi * 440 * time).astype(np.float32), 16_000)
    higher = tone.resample(48_000)
    assert higher.seconds == pytest.approx(tone.seconds, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(higher.samples))
    assert np.fft.rfftfreq(len(higher.samples), 1 / 48_000)[spectrum.argmax()] == pytest.approx(
        440, abs=1
    )
    assert tone.resample(16_000) is tone


@pytest.mark.parametrize(
    ("utterance", "message"),
    [
        (Utterance(np.zeros(0, np.float32), 16_000), "no samples"),
        (speech_like(0.003), "3.0 ms"),
        (silence(1.0), "digital silence"),
        (speech_like(1.0), None),
    ],
)
def test_problem(utterance: Utterance, message: str | None) -> None:
    found = utterance.problem()
    assert (found is None) if message is None else (found is not None and message in found)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".opus"])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_formats_round_trip(tmp_path: Path, suffix: str, rate: int) -> None:
    one = speech_like(0.6, rate)
    path = one.write(tmp_path / f"a{suffix}")
    again = Utterance.read(path, "words", "en")
    assert again.seconds == pytest.approx(0.6, abs=0.08)
    assert again.transcript == "words"
    lag = 1200
    found = np.correlate(again.samples[:9000], one.samples[lag : 9000 - lag], "valid").max()
    assert found > 0.7 * float(np.sum(one.samples[lag : 9000 - lag] ** 2))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
def test_subtypes_are_read_and_kept(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, speech_like(0.2).samples, 24_000, subtype=subtype)
    one = Utterance.read(path)
    assert one.subtype == subtype
    one.write(tmp_path / "b.wav")
    assert sf.info(tmp_path / "b.wav").subtype == subtype


def test_float_samples_survive_bit_by_bit(tmp_path: Path) -> None:
    one = speech_like(0.3)
    assert Utterance.read(one.write(tmp_path / "a.wav", subtype="FLOAT")).digest == one.digest


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.full(2400, 0.5, np.float32), np.full(2400, -0.25, np.float32)
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 24_000, subtype="FLOAT")
    one = Utterance.read(tmp_path / "a.wav")
    assert one.channels == 2
    assert np.allclose(one.samples, 0.125)


def _bad_file(path: Path, kind: str) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not audio\n" * 20)
    elif kind == "no samples":
        sf.write(path, np.zeros(0, np.float32), 16_000)
    elif kind == "nan":
        sf.write(path, np.array([0.1, np.nan] * 400, np.float32), 16_000, subtype="FLOAT")
    elif kind == "header":
        speech_like(0.2).write(path)
        path.write_bytes(path.read_bytes()[:30])
    elif kind == "long":
        sf.write(path, np.full(600 * 4000, 0.1, np.float32), 4_000)
    elif kind == "low rate":
        sf.write(path, np.full(600, 0.1, np.float32), 2_000)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "no such file"),
        ("empty", "the file is empty"),
        ("text", "not a readable audio file"),
        ("no samples", "holds no samples"),
        ("nan", "NaN or infinite"),
        ("header", "not a readable audio file"),
        ("long", "lasts 600 s, more than the limit of 300 s; split it"),
        ("low rate", "sample rate 2000 Hz is outside"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "bad.wav"
    _bad_file(path, kind)
    with pytest.raises(AudioError, match=message) as caught:
        Utterance.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_longer_limit_can_be_asked_for(tmp_path: Path) -> None:
    _bad_file(tmp_path / "a.wav", "long")
    assert Utterance.read(tmp_path / "a.wav", max_seconds=601).seconds == pytest.approx(600)


def test_writing_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"unknown audio format '\.xyz'"):
        speech_like(0.1).write(tmp_path / "a.xyz")
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match=r"cannot write there"):
        speech_like(0.1).write(tmp_path / "file" / "a.wav")
    with pytest.raises(AudioError, match=r"cannot write"):
        speech_like(0.1).write(tmp_path / "a.wav", subtype="MPEG_LAYER_III")
    assert os.listdir(tmp_path) == ["file"]


def test_folders_are_made(tmp_path: Path) -> None:
    assert speech_like(0.1).write(tmp_path / "new" / "folder" / "a.wav").is_file()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_frozen_too(again: Callable[[Utterance], Utterance]) -> None:
    one = again(speech_like(0.3))
    assert one == speech_like(0.3) and one.digest == speech_like(0.3).digest
    with pytest.raises(ValueError, match="read-only"):
        one.samples[0] = 1


def test_a_subtype_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"FLAC has no subtype 'FLOAT'; it has .*PCM_16"):
        speech_like(0.3).write(tmp_path / "a.flac", subtype="FLOAT")
    with pytest.raises(AudioError, match="the name has no suffix"):
        speech_like(0.3).write(tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [0, 200_000, "16000", 8000.5])
def test_rates_that_nothing_has(rate: int) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        speech_like(0.1).resample(rate)


@pytest.mark.parametrize("path", [None, 5])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(AudioError, match=f"give a path or the bytes of a file, got {path}"):
        Utterance.read(path)


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "PCM_16"), (".flac", "PCM_16")])
def test_subtype_of_another_format(tmp_path: Path, suffix: str, subtype: str) -> None:
    """libsndfile says that WAV may hold MP3 frames, and then cannot write them."""
    heard = Utterance.read(speech_like(0.3).resample(24_000).write(tmp_path / "in.mp3"))
    written = heard.write(tmp_path / f"out{suffix}")
    assert sf.info(str(written)).subtype == subtype
    assert np.abs(Utterance.read(written).samples - heard.samples).max() < 2**-14


@pytest.mark.parametrize(
    ("suffix", "rate", "taken"),
    [(".mp3", 96_000, 48_000), (".mp3", 4_000, 8_000), (".opus", 44_100, 48_000)],
)
def test_a_rate_that_a_codec_lacks_becomes_the_next_one(
    tmp_path: Path, suffix: str, rate: int, taken: int
) -> None:
    written = speech_like(0.5).resample(rate).write(tmp_path / f"out{suffix}")
    assert sf.info(str(written)).samplerate == taken
    assert Utterance.read(written).seconds == pytest.approx(0.5, abs=0.1)
