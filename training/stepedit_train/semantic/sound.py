"""Sound from a Whisper log-mel spectrogram, rough but without any network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["griffin_lim"]

RATE, N_FFT, HOP = 16_000, 400, 160
PEAK = 0.6


def griffin_lim(mel: npt.NDArray[np.float32], iterations: int = 32) -> npt.NDArray[np.float32]:
    """Return sound for a spectrogram; phases are found by Griffin and Lim's method (1984).

    Args:
        mel: as of ``whisper_log_mel``, shape ``(bins, t)``.
        iterations: of the method.

    Returns:
        float32 at 16 kHz, shape ``(160 * t,)``, peak 0.6.
    """
    import librosa

    filters = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=len(mel))
    power = 10.0 ** (4.0 * np.asarray(mel, dtype=np.float64) - 4.0)
    magnitude = np.sqrt(np.maximum(np.linalg.pinv(filters) @ power, 0.0))
    sound = librosa.griffinlim(
        magnitude, n_iter=iterations, hop_length=HOP, n_fft=N_FFT, random_state=0
    )
    fitted = librosa.util.fix_length(sound, size=HOP * mel.shape[1])
    scaled: npt.NDArray[np.float32] = (PEAK * fitted / max(np.abs(fitted).max(), 1e-9)).astype(
        np.float32
    )
    return scaled
