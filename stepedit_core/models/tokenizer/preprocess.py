"""From a recording to the 16 kHz signal that the audio tokenizers read.

The order is: mono mix, peak limit, resample to 16 kHz, energy normalisation, trim of leading
and trailing silence, padding to a fixed margin. Constants and rounding follow the public
Step-Audio-EditX tokenizer, because codes depend on every sample of the result.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from stepedit_core.dsp.channels import mix_down
from stepedit_core.errors import AudioError
from stepedit_core.models.checkpoint.torchaudio_compat import resample_precise

__all__ = [
    "TOKENIZER_RATE",
    "check_samples",
    "limit_peak",
    "normalise_energy",
    "pad_trimmed",
    "preprocess",
    "preprocess_timed",
    "trim_bounds",
]

FloatArray = npt.NDArray[np.float32]

TOKENIZER_RATE = 16_000
PEAK_LIMIT = 0.6
TARGET_PEAK = 0.999
SILENCE_PEAK = 0.01
TRIM_DB = 20
TRIM_FRAME = 512
TRIM_HOP = 128
_LEAST_POWER = 1e-10
"""Mean square that silence is taken to have."""
LEAD_SAMPLES = 800  # 0.05 s
MARGIN_SAMPLES = 4_320  # 0.05 s before and 0.22 s after the speech
PAD_UNIT = 240


def check_samples(samples: npt.ArrayLike, sample_rate: int) -> FloatArray:
    """Return finite mono float32 samples, channels mixed down (`mix_down`).

    Args:
        samples: shape ``(n,)`` or ``(channels, n)``, full scale 1.
        sample_rate: Hz.

    Raises:
        AudioError: if there is no sample, a sample is NaN or infinite, or the rate is not
            positive.
    """
    array = np.asarray(samples)
    if array.dtype.kind != "f":
        raise AudioError(
            f"samples are {array.dtype}: convert them to float32 with full scale 1 first"
        )
    if array.ndim == 2:
        array = mix_down(array.T.astype(np.float32, copy=False), sample_rate)[0]
    if array.ndim != 1:
        raise AudioError(f"samples have shape {array.shape}: need (n,) or (channels, n)")
    if sample_rate <= 0:
        raise AudioError(f"a sample rate of {sample_rate} Hz is not possible")
    if not array.size:
        raise AudioError("the recording holds no samples: check the file")
    if not np.isfinite(array).all():
        raise AudioError("the recording holds NaN or infinite samples: repair or re-export it")
    return np.ascontiguousarray(array, dtype=np.float32)


def limit_peak(samples: FloatArray) -> FloatArray:
    """Scale down to a peak of 0.6 where it is higher; leave softer signals alone.

    Args:
        samples: float32, shape ``(n,)``.
    """
    peak, limit = np.abs(samples).max(initial=np.float32(0)), np.float32(PEAK_LIMIT)
    return samples / peak * limit if peak > limit else samples


def normalise_energy(samples: FloatArray) -> FloatArray:
    """Scale to a peak of 0.999; near silence (peak below 0.01) is raised by a fixed factor.

    Args:
        samples: float32, shape ``(n,)``.
    """
    peak = max(np.abs(samples).max(initial=np.float32(0)), np.float32(SILENCE_PEAK))
    scaled: FloatArray = samples / peak * np.float32(TARGET_PEAK)
    return scaled


def trim_bounds(samples: FloatArray) -> tuple[int, int]:
    """Return the sample range (start, stop) that lies within 20 dB of the loudest frame.

    Args:
        samples: float32 at 16 kHz, shape ``(n,)``.
    """
    padded = np.pad(samples, TRIM_FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, TRIM_FRAME)[::TRIM_HOP].T
    # Levels from root mean squares, squared again: the roundings of librosa.effects.trim, which
    # the public system calls.
    level = np.sqrt(np.mean(np.square(frames), axis=0))
    decibels = 10.0 * np.log10(np.maximum(_LEAST_POWER, np.square(level)))
    decibels -= 10.0 * np.log10(np.maximum(_LEAST_POWER, level.max() ** 2))
    loud = np.flatnonzero(decibels > -TRIM_DB)
    if not len(loud):
        return 0, 0
    return int(loud[0]) * TRIM_HOP, min(len(samples), (int(loud[-1]) + 1) * TRIM_HOP)


def pad_trimmed(samples: FloatArray, start: int, stop: int) -> FloatArray:
    """Keep 0.05 s before ``start`` and about 0.22 s after ``stop``, zero-padded where absent.

    Args:
        samples: float32 at 16 kHz, shape ``(n,)``.
        start: first sample of the speech.
        stop: one past its last sample.

    Returns:
        Shape ``(240 * ceil((stop - start) / 240) + 4320,)``; the speech begins at sample 800.
    """
    length = -(-(stop - start) // PAD_UNIT) * PAD_UNIT + MARGIN_SAMPLES
    padded = np.zeros(length, dtype=np.float32)
    first = start - LEAD_SAMPLES
    offset = max(-first, 0)
    kept = samples[max(first, 0) :][: length - offset]
    padded[offset : offset + len(kept)] = kept
    return padded


def preprocess(samples: FloatArray, sample_rate: int) -> FloatArray:
    """Turn a peak-limited recording into what the audio tokenizers read; see `preprocess_timed`."""
    return preprocess_timed(samples, sample_rate)[0]


def preprocess_timed(samples: FloatArray, sample_rate: int) -> tuple[FloatArray, float]:
    """Turn a peak-limited recording into what the audio tokenizers read, and say where it begins.

    Unlike the public system, rates below 16 kHz are resampled too.

    Args:
        samples: float32, shape ``(n,)``, already through :func:`limit_peak`.
        sample_rate: Hz.

    Returns:
        float32 at 16 kHz, shape ``(m,)``; ``m`` is a multiple of 240 and at least 4560. Then
        the second of the recording at which this signal begins, -0.05 s or later.
    """
    waveform = torch.tensor(samples, dtype=torch.float32)[None]
    resampled = resample_precise(waveform, sample_rate, TOKENIZER_RATE)[0].numpy()
    normal = normalise_energy(cast(FloatArray, resampled))
    start, stop = trim_bounds(normal)
    return pad_trimmed(normal, start, stop), (start - LEAD_SAMPLES) / TOKENIZER_RATE
