"""The one door to torchaudio: its pure Python signal functions, typed.

Since torchaudio 2.11 the package loads a binary part at import time, which exists for few
torch builds. Nothing here needs that part, so where (and only where) the real import fails,
an inert stand-in takes the place of ``torchaudio._extension`` and the import is repeated.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor

from stepedit_core.errors import AudioError, MissingDependencyError

__all__ = [
    "add_noise",
    "fftconvolve",
    "kaldi_fbank",
    "melscale_fbanks",
    "resample",
    "resample_precise",
]

_MAX_KERNEL_ELEMENTS = 1 << 25
_LOWPASS_WIDTH = 6
_ROLLOFF = 0.99


class _InertExtension(ModuleType):
    """Answer what torchaudio asks of its binary part: that nothing of it is there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_IS_"):
            return False
        if name.startswith("fail_if_"):
            return _unavailable
        raise AttributeError(name)


def _unavailable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace a function that needs the binary part by one that says so."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise MissingDependencyError(
            f"torchaudio's {function.__name__} needs its binary part, which does not load with "
            f"torch {torch.__version__}: install the torchaudio made for this torch"
        )

    return refuse


def _forget_torchaudio() -> None:
    for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
        del sys.modules[name]


def _import_torchaudio() -> ModuleType:
    """Import torchaudio, with the stand-in if its binary part cannot be loaded."""
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        if error.name == "torchaudio":
            raise MissingDependencyError(
                "torchaudio is not installed: pip install torchaudio"
            ) from error
        raise
    except (OSError, ImportError, RuntimeError):
        _forget_torchaudio()
    sys.modules["torchaudio._extension"] = _InertExtension("torchaudio._extension")
    try:
        return importlib.import_module("torchaudio")
    except Exception as error:
        _forget_torchaudio()
        raise MissingDependencyError(
            f"torchaudio does not work with torch {torch.__version__} ({error}): "
            "install matching versions of both"
        ) from error


_torchaudio = _import_torchaudio()
_functional = importlib.import_module("torchaudio.functional")
_transforms = importlib.import_module("torchaudio.transforms")
_kaldi = importlib.import_module("torchaudio.compliance.kaldi")


@lru_cache(maxsize=256)
def _check_rates(source_rate: int, target_rate: int) -> None:
    """Refuse rates that are not positive, or whose ratio needs a kernel of gigabytes."""
    if source_rate <= 0 or target_rate <= 0:
        raise AudioError(f"cannot resample from {source_rate} Hz to {target_rate} Hz")
    common = math.gcd(source_rate, target_rate)
    phases, step = target_rate // common, source_rate // common
    half_width = _LOWPASS_WIDTH * step / (min(phases, step) * _ROLLOFF) + 1
    if phases * (2 * half_width + step) > _MAX_KERNEL_ELEMENTS:
        raise AudioError(
            f"a sample rate of {source_rate} Hz has no small ratio to {target_rate} Hz: "
            "resample the recording to a common rate such as 24000 Hz first"
        )


def resample(waveform: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample with a Hann-windowed sinc kernel computed in the waveform's dtype.

    Equals ``torchaudio.functional.resample`` with its defaults.

    Args:
        waveform: float, shape ``(..., n)``.
        source_rate: Hz.
        target_rate: Hz; may be higher than ``source_rate``.

    Returns:
        Shape ``(..., ceil(n * target_rate / source_rate))``.

    Raises:
        AudioError: if the two rates have no small ratio.
    """
    if source_rate == target_rate:
        return waveform
    _check_rates(source_rate, target_rate)
    return cast(Tensor, _functional.resample(waveform, source_rate, target_rate))


@lru_cache(maxsize=16)
def _resampler(source_rate: int, target_rate: int) -> Callable[[Tensor], Tensor]:
    return cast(
        Callable[[Tensor], Tensor],
        _transforms.Resample(orig_freq=source_rate, new_freq=target_rate),
    )


def resample_precise(waveform: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample as :func:`resample`, with the kernel computed in float64 and kept.

    Equals ``torchaudio.transforms.Resample`` with its defaults, on the CPU in float32.

    Args:
        waveform: float32 on the CPU, shape ``(..., n)``.
        source_rate: Hz.
        target_rate: Hz; may be higher than ``source_rate``.

    Raises:
        AudioError: if the two rates have no small ratio.
    """
    if source_rate == target_rate:
        return waveform
    _check_rates(source_rate, target_rate)
    return _resampler(source_rate, target_rate)(waveform)


def kaldi_fbank(waveform: Tensor, **options: float | int | bool | str) -> Tensor:
    """Return Kaldi log mel filterbank energies, shape ``(frames, bins)``.

    Args:
        waveform: float32, shape ``(1, n)``.
        options: of ``torchaudio.compliance.kaldi.fbank``. Dither is refused: it would draw
            from the global generator.
    """
    if options.get("dither", 0.0):
        raise ValueError("add dither to the frames yourself, from a seeded generator")
    return cast(Tensor, _kaldi.fbank(waveform, **{**options, "dither": 0.0}))


def melscale_fbanks(
    n_freqs: int, f_min: float, f_max: float, n_mels: int, sample_rate: int
) -> Tensor:
    """Return Slaney-normalised triangular mel filters, shape ``(n_freqs, n_mels)``."""
    return cast(
        Tensor,
        _functional.melscale_fbanks(
            n_freqs, f_min, f_max, n_mels, sample_rate, norm="slaney", mel_scale="slaney"
        ),
    )


def add_noise(waveform: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
    """Add ``noise`` scaled to a signal-to-noise ratio.

    Args:
        waveform: shape ``(..., n)``.
        noise: same shape.
        snr: dB, shape ``(...)``.
    """
    return cast(Tensor, _functional.add_noise(waveform, noise, snr))


def fftconvolve(waveform: Tensor, impulse: Tensor) -> Tensor:
    """Convolve along the last axis by FFT; shape ``(..., n + m - 1)``."""
    return cast(Tensor, _functional.fftconvolve(waveform, impulse, mode="full"))
