"""The mel scale and the trim against librosa, to the bit."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from stepedit_core.models.tokenizer import preprocess
from stepedit_core.models.tokenizer.mel_scale import mel_filters, mel_frequencies
from stepedit_core.recordings import packaged, packaged_speech

SHAPES = [
    (16_000, 400, 128, 0.0, None), (24_000, 1920, 80, 0.0, 8000.0), (24_000, 1024, 100, 0.0, None),
    (22_050, 1024, 80, 40.0, 7600.0), (48_000, 2048, 20, 1200.0, 20_000.0),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_filters_are_those_of_librosa(shape: tuple[int, int, int, float, float | None]) -> None:
    rate, n_fft, n_mels, fmin, fmax = shape
    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    given = mel_filters(*shape)
    assert given.dtype == np.float32 and np.array_equal(given, expected)
    top = rate / 2 if fmax is None else fmax
    places = librosa.mel_frequencies(n_mels=n_mels, fmin=fmin, fmax=top)
    assert np.array_equal(mel_frequencies(n_mels, fmin, top), places)


def recordings() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    speech = [packaged_speech(name).samples.astype(np.float32) for name in packaged()]
    noise = [(rng.standard_normal(n) * np.linspace(0, 1, n) ** 6) for n in (1, 300, 5000, 77_777)]
    return [*speech, *(one.astype(np.float32) for one in noise), np.zeros(4000, np.float32)]


def test_the_trim_is_that_of_librosa() -> None:
    for samples in recordings():
        _, expected = librosa.effects.trim(
            samples,
            top_db=preprocess.TRIM_DB,
            frame_length=preprocess.TRIM_FRAME,
            hop_length=preprocess.TRIM_HOP,
        )
        assert preprocess.trim_bounds(samples) == tuple(expected)
