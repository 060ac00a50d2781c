"""Files that people have: containers of phones, headers of crashed recorders, pipes."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from stepedit_core.errors import AudioError
from stepedit_core.storage.blocks import open_sound
from stepedit_core.storage.sound import is_stream, read_sound
from stepedit_core.testing import speech_like
from stepedit_core.utterance import Utterance

SPEECH = speech_like(1.0, 16_000)


def _encoded(path: Path, codec: str, rate: int, channels: int = 1) -> Path:
    """Write the speech with FFmpeg; a second channel is upside down."""
    layout = "stereo" if channels == 2 else "mono"
    samples = SPEECH.resample(rate).samples
    rows = np.stack([samples, -samples][:channels])
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(rows, format="fltp", layout=layout)
        frame.rate = rate
        [frame] = av.AudioResampler(format=stream.format).resample(frame)
        for given in (frame, None):
            container.mux(stream.encode(given))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("memo.m4a", "aac", 44_100, 1),
        ("memo.m4a", "aac", 48_000, 2),
        ("clip.mp4", "aac", 16_000, 1),
        ("call.webm", "libopus", 48_000, 1),
        ("old.mkv", "pcm_s16le", 44_100, 1),
    ],
)
def test_files_of_phones_and_browsers_are_read(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int
) -> None:
    found = Utterance.read(_encoded(tmp_path / name, codec, rate, channels))
    assert found.sample_rate == rate and found.channels == channels
    assert found.seconds == pytest.approx(1.0, abs=0.12)
    assert "PyAV" in found.notes[0]
    assert np.std(found.samples) == pytest.approx(np.std(SPEECH.samples), rel=0.1)
    assert found.write(tmp_path / "out.wav").is_file()


def test_without_pyav_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _encoded(tmp_path / "memo.m4a", "aac", 44_100)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"memo\.m4a: .* pip install av, or convert it to WAV"):
        Utterance.read(file)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    inside = _encoded(tmp_path / "secret.m4a", "aac", 44_100)
    for text in (f"ffconcat version 1.0\nfile {inside.name}\n", f"#EXTM3U\n#EXTINF:1,\n{inside}\n"):
        (tmp_path / "list.m4a").write_text(text)
        with pytest.raises(AudioError, match="not a readable audio file"):
            Utterance.read(tmp_path / "list.m4a")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("whole", [0, 0xFFFFFFFF, 36])
def test_a_crashed_recorder_loses_nothing(tmp_path: Path, size: int, whole: int) -> None:
    raw = bytearray(SPEECH.write(tmp_path / "a.wav").read_bytes())
    at = raw.index(b"data")
    raw[4:8], raw[at + 4 : at + 8] = struct.pack("<I", whole), struct.pack("<I", size)
    (tmp_path / "b.wav").write_bytes(raw)
    found = Utterance.read(tmp_path / "b.wav")
    assert np.array_equal(found.samples, Utterance.read(tmp_path / "a.wav").samples)
    assert "did not finish" in found.notes[0]


def test_gsm_is_read_without_looking_back(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", SPEECH.resample(8_000).samples, 8_000, subtype="GSM610")
    found = Utterance.read(tmp_path / "a.wav")
    assert found.subtype == "GSM610" and found.seconds == pytest.approx(1.0, abs=0.05)
    assert Utterance.from_bytes((tmp_path / "a.wav").read_bytes()) == found


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    content = SPEECH.write(tmp_path / "a.wav").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    assert is_stream(tmp_path / "pipe") and is_stream("-") and not is_stream(tmp_path / "a.wav")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    found = Utterance.read(tmp_path / "pipe")
    writer.join()
    assert found == Utterance.read(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="/dev/null: nothing came in"):
        Utterance.read("/dev/null")


def _flac(seconds: float, rate: int, channels: int) -> bytes:
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", rate, channels, format="FLAC", subtype="PCM_16") as file:
        block = np.zeros((rate, channels), np.int16)
        block[0] = 100
        for _ in range(round(seconds)):
            file.write(block)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("seconds", "rate", "channels", "message"),
    [
        (200, 192_000, 1, "200 s at 192000 Hz are more than fits; resample it"),
        (301, 8_000, 8, "lasts 301 s, more than the limit of 300 s"),
    ],
)
def test_size_is_refused_before_memory_is_spent(
    seconds: float, rate: int, channels: int, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        read_sound(_flac(seconds, rate, channels), max_seconds=300.0)


@pytest.mark.slow
def test_many_channels_take_little_memory() -> None:
    import tracemalloc

    content = _flac(60, 48_000, 8)
    tracemalloc.start()
    read_sound(content, max_seconds=300.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # all channels at once would be 92 MB twice over, and their float64


def test_more_channels_than_anyone_has_are_refused() -> None:
    buffer = io.BytesIO()
    sf.write(buffer, np.zeros((800, 65), np.float32), 8_000, format="WAV")
    with pytest.raises(AudioError, match="x: 65 channels, 64 are the most"):
        read_sound(buffer.getvalue(), max_seconds=1, name="x")


def _matroska(tracks: list[np.ndarray], start: float = 0.0, gap: float = 0.0) -> bytes:
    """Return sound tracks of 48 kHz in Opus, with a start and a gap in the middle in seconds."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        streams = [container.add_stream("libopus", rate=48_000, layout="mono") for _ in tracks]
        for stream, samples in zip(streams, tracks, strict=True):
            for at in range(0, len(samples), 960):
                frame = av.AudioFrame.from_ndarray(
                    samples[None, at : at + 960], format="fltp", layout="mono"
                )
                frame.sample_rate = 48_000
                late = start + (gap if at >= len(samples) // 2 else 0.0)
                frame.pts = at + round(late * 48_000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return out.getvalue()


LOUD = speech_like(1.0, 48_000).samples


def test_of_several_tracks_one_is_read_and_named() -> None:
    found = read_sound(_matroska([LOUD, LOUD]), max_seconds=60)
    assert any("sound track 1 of 2 is read" in note for note in found.notes)
    silent = Utterance.from_bytes(_matroska([np.zeros_like(LOUD), LOUD]))
    assert "(read by FFmpeg" in str(silent.problem())
    assert "sound track 1 of 2 is read" in str(silent.problem())


def test_a_late_start_is_said() -> None:
    (note,) = read_sound(_matroska([LOUD], start=2.0), max_seconds=60).notes
    assert re.search(r"begins (1\.99|2\.00) s into the file", note)


def test_a_gap_is_silence() -> None:
    found = read_sound(_matroska([LOUD], gap=2.0), max_seconds=60)
    assert len(found.samples) / found.rate == pytest.approx(3.0, abs=0.05)
    middle = found.samples[round(0.7 * found.rate) : round(2.3 * found.rate)]
    assert not middle.any()
    (note,) = found.notes
    assert "2.00 s in which nothing was recorded are silence" in note


def test_a_gap_counts_towards_the_limit() -> None:
    with pytest.raises(AudioError, match="more than the limit of 60 s"):
        read_sound(_matroska([LOUD], gap=1e5), max_seconds=60)


@pytest.mark.parametrize("channels", [1, 2])
def test_whole_numbers_in_floats(tmp_path: Path, channels: int) -> None:
    samples = np.repeat((speech_like(1.0, 16_000).samples * 20_000)[:, None], channels, axis=1)
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    found = Utterance.read(tmp_path / "a.wav")
    assert found.samples == pytest.approx(samples[:, 0] / 32_768, abs=1e-6)
    assert any("taken for whole numbers of 16 bits" in note for note in found.notes)
    with open_sound(tmp_path / "a.wav", max_seconds=60) as sound:
        assert np.array_equal(np.concatenate(list(sound.blocks())), found.samples)
    sf.write(tmp_path / "hot.wav", samples / 4_000, 16_000, subtype="FLOAT")
    assert Utterance.read(tmp_path / "hot.wav").samples.max() > 1.0


@pytest.mark.parametrize(
    ("name", "rate", "written"),
    [("o.mp3", 44_100, 44_100), ("o.mp3", 96_000, 48_000), ("o.opus", 44_100, 48_000),
     ("o.opus", 11_025, 12_000), ("o.mp3", 7_999, 8_000), ("o.ogg", 44_056, 44_056)],
)  # fmt: skip
def test_codecs_get_a_rate_that_they_take(
    tmp_path: Path, name: str, rate: int, written: int
) -> None:
    speech = speech_like(0.5).resample(rate)
    file = speech.write(tmp_path / name)
    assert sf.info(file).samplerate == written
    assert Utterance.read(file).seconds == pytest.approx(0.5, abs=0.08)


def test_flac_from_a_pipe(tmp_path: Path) -> None:
    file = SPEECH.write(tmp_path / "a.flac")
    content = bytearray(file.read_bytes())
    content[21] &= 0xF0  # the encoder could not go back to write how many samples there are
    content[22:26] = bytes(4)
    file.write_bytes(content)
    found = Utterance.read(file)
    assert found.samples == pytest.approx(SPEECH.samples, abs=1e-4)
    assert found.notes == ("read by FFmpeg through PyAV (flac)",)


def test_sound_in_two_chunks_is_no_half_recording(tmp_path: Path) -> None:
    file = SPEECH.write(tmp_path / "a.wav")
    content = file.read_bytes()
    half = struct.pack("<4sI", b"data", 8000)
    parted = content[:36] + half + content[44:8044] + half + content[8044:16_044]
    file.write_bytes(parted[:4] + struct.pack("<I", len(parted) - 8) + parted[8:])
    with pytest.raises(AudioError, match="several data chunks"):
        Utterance.read(file)


def test_a_wav_that_was_cut_off_says_so(tmp_path: Path) -> None:
    file = SPEECH.write(tmp_path / "cut.wav")
    content = file.read_bytes()
    file.write_bytes(content[: -16_000 * 2 // 4 - 1])
    cut = Utterance.read(file)
    assert cut.seconds == pytest.approx(0.75, abs=0.001)
    assert cut.notes == ("the file ends 0.25 s before its header says",)
    file.write_bytes(content[:40] + struct.pack("<I", 0x7FFFFFFF) + content[44:])
    assert Utterance.read(file).notes == ()


@pytest.mark.parametrize("suffix", ["aiff", "au", "w64", "rf64"])
def test_other_files_that_were_cut_off_say_so(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    sf.write(file, SPEECH.samples, 16_000, format=suffix.upper(), subtype="PCM_16")
    content = file.read_bytes()
    assert Utterance.read(file).notes == ()
    file.write_bytes(content[: -16_000 * 2 // 4])
    found = Utterance.read(file)
    assert found.seconds == pytest.approx(0.75, abs=0.001)
    assert found.notes == ("the file ends 0.25 s before its header says",)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    for name, target in (("gone.wav", "moved.wav"), ("loop.wav", "loop.wav")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(AudioError, match=f"{name}: is a link to {target}, where no file is"):
            Utterance.read(tmp_path / name)


def test_floats_far_above_full_scale_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    for gain, notes in ((1.2, 0), (10.0, 1)):
        loud = SPEECH.samples / np.abs(SPEECH.samples).max() * gain
        sf.write(file, loud, 16_000, subtype="FLOAT")
        found = Utterance.read(file)
        assert found.samples == pytest.approx(loud)
        assert len(found.notes) == notes
    assert found.notes[0].startswith("it reaches 20 dB above full scale")


LAST = "its last page is missing: the file {} cut off"


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (lambda pages: pages, None),
        (lambda pages: [*pages[:-1], pages[-1][:-1]], LAST.format("was")),
        (lambda pages: [*pages[:-2], pages[-2][:50]], LAST.format("was")),
        (lambda pages: pages[:-1], LAST.format("may have been")),
        (lambda pages: [*pages[:4], *pages[6:]], "2 pages of its sound damaged or missing"),
        (
            lambda pages: [*pages[:4], pages[4][:-9] + b"damaged!!", *pages[5:]],
            "1 page of its sound damaged or missing and left out",
        ),
        (lambda pages: [*pages[:3], *pages[3:4] * 3], LAST.format("may have been")),
    ],
)
def test_ogg_files_say_what_they_lost(
    tmp_path: Path, subtype: str, damage: Callable[[list[bytes]], list[bytes]], note: str | None
) -> None:
    file = tmp_path / "a.ogg"
    noise = np.random.default_rng(0).standard_normal(6 * 16_000) / 10
    sf.write(file, noise, 16_000, format="OGG", subtype=subtype)
    pages = [b"OggS" + page for page in file.read_bytes().split(b"OggS")[1:]]
    assert len(pages) > 7
    file.write_bytes(b"".join(damage(pages)))
    notes = Utterance.read(file).notes
    assert (note is None and notes == ()) or (note is not None and note in "; ".join(notes))


def test_ogg_files_of_little_but_marks_end_soon(tmp_path: Path) -> None:
    file = tmp_path / "a.ogg"
    sf.write(file, SPEECH.samples, 16_000, format="OGG", subtype="VORBIS")
    file.write_bytes(file.read_bytes() + b"OggS" * 1_000_000)
    begin = time.process_time()
    assert Utterance.read(file).seconds == pytest.approx(1.0, abs=0.1)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("size", [bytes(24), b"\xff" * 24])
def test_rf64_of_a_crashed_recorder(tmp_path: Path, size: bytes) -> None:
    file = tmp_path / "a.wav"
    sf.write(file, SPEECH.samples, 16_000, format="RF64", subtype="PCM_16")
    content = file.read_bytes()
    file.write_bytes(content[:20] + size + content[44:])
    found = Utterance.read(file)
    assert found.samples == pytest.approx(SPEECH.samples, abs=1e-4)
    assert "the recorder did not finish" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "fetch the recording itself"),
        (b"so it goes", "ffmpeg -i IN OUT.wav"),
        (b"ID3\4\0\0\0\0\x0f\x76" + bytes(5000), "a tag (ID3) and no sound behind it"),
    ],
)
def test_texts_that_bear_the_name_of_a_recording(tmp_path: Path, content: bytes, cure: str) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(AudioError, match=re.escape(cure)):
        Utterance.read(file)
