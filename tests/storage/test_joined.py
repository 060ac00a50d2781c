"""Recordings end to end in one file: every one of them is read, and that is said."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pytest
import soundfile as sf

from stepedit_core.errors import AudioError
from stepedit_core.storage import joined
from stepedit_core.storage.joined import joined_recordings
from stepedit_core.storage.sound import read_sound
from stepedit_core.testing import speech_like

RATE = 16_000
FIRST, SECOND = (speech_like(seconds, RATE, seed=3).samples for seconds in (1.0, 0.7))
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def made(samples: np.ndarray, kind: str, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    if kind in KINDS:
        container, subtype = KINDS[kind]
        sf.write(out, samples, rate, format=container, subtype=subtype)
        return out.getvalue()
    codec = {"mp4": "aac", "webm": "libopus"}[kind]
    rate = rate if kind == "mp4" else 48_000
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for part in (frame, None):
            container.mux(stream.encode(part))
    return out.getvalue()


@pytest.mark.parametrize("kind", [*KINDS, "mp4", "webm"])
def test_all_are_read(kind: str) -> None:
    parts = [made(FIRST, kind), made(SECOND, kind), made(FIRST, kind)]
    alone = [read_sound(part, max_seconds=60).samples for part in parts]
    found = read_sound(b"".join(parts), max_seconds=60)
    assert np.array_equal(found.samples, np.concatenate(alone))
    assert any("3 recordings lie end to end" in note for note in found.notes)
    single = read_sound(parts[0], max_seconds=60)
    assert not any("end to end" in note for note in single.notes)


def test_tags_between_mp3_files() -> None:
    tag = b"ID3\x03\x00\x00" + bytes([0, 0, 4, 0]) + bytes(512)
    parts = [tag, made(FIRST, "mp3"), b"TAG" + bytes(125), tag, made(SECOND, "mp3")]
    found = read_sound(b"".join(parts), max_seconds=60)
    assert len(found.samples) == pytest.approx(len(FIRST) + len(SECOND), abs=4_000)
    assert any("2 recordings" in note for note in found.notes)


def test_other_rates_are_refused() -> None:
    content = made(FIRST, "flac") + made(SECOND, "flac", 8_000)
    with pytest.raises(AudioError, match="16000 Hz with 1 channel and of 8000 Hz"):
        read_sound(content, max_seconds=60)


def test_what_cannot_be_read_is_said() -> None:
    content = made(FIRST, "flac") + made(SECOND, "flac")[:60]
    found = read_sound(content, max_seconds=60)
    assert len(found.samples) == len(FIRST)
    assert any("part 2 of 2 and what follows cannot be read" in note for note in found.notes)


def test_the_limit_holds_for_all_together() -> None:
    with pytest.raises(AudioError, match=r"lasts 2 s, more than the limit of 1 s"):
        read_sound(made(FIRST, "wav") + made(SECOND, "wav"), max_seconds=1)


def test_a_thousand_are_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as few:
        few.setattr(joined, "MAX_JOINED", 3)
        assert len(joined_recordings(io.BytesIO(made(SECOND, "flac") * 9))) == 4
    content = made(SECOND[:400], "flac") * 1_002
    with pytest.raises(AudioError, match="more than 1,000 recordings"):
        read_sound(content, max_seconds=60)


@pytest.mark.parametrize("seed", range(20))
def test_damage_ends_in_few_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(made(SECOND, [*KINDS, "mp4", "webm"][seed % 8]) * 2)
    for place in rng.integers(len(content), size=20):
        content[place] = int(rng.integers(256))
    bounds = joined_recordings(io.BytesIO(bytes(content)))
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(content)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
