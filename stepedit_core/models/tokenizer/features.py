"""Spectral features: Whisper log-mel, the decoder's 24 kHz mel, and Kaldi filterbanks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.errors import AudioError, CheckpointError
from stepedit_core.models.checkpoint.torchaudio_compat import kaldi_fbank, resample
from stepedit_core.models.tokenizer.mel_scale import mel_filters

__all__ = [
    "MelConfig",
    "kaldi_frames",
    "power_mel",
    "prompt_mel",
    "speaker_fbank",
    "whisper_log_mel",
]

WHISPER_N_FFT = 400
WHISPER_HOP = 160
SPEAKER_RATE = 16_000
SPEAKER_WINDOW = 400
POWER_FLOOR = 1e-9
MEL_FLOOR = 1e-5


@dataclass(frozen=True)
class MelConfig:
    """Settings of the decoder's mel spectrogram; the defaults are the published ones.

    Attributes:
        sampling_rate: Hz.
        n_fft: samples per transform.
        hop_size: samples between frames.
        win_size: samples per window.
        num_mels: bins.
        fmin: lower edge in Hz.
        fmax: upper edge in Hz, or None for half the sampling rate.
        center: pad frames at both ends instead of ``(n_fft - hop_size) / 2`` samples.
    """

    sampling_rate: int = 24_000
    n_fft: int = 1_920
    hop_size: int = 480
    win_size: int = 1_920
    num_mels: int = 80
    fmin: float = 0.0
    fmax: float | None = 8_000.0
    center: bool = False

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MelConfig:
        """Read the ``mel_conf`` section of a ``cosyvoice.yaml``.

        Raises:
            CheckpointError: if a key is unknown, or a value is no number.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise CheckpointError(
                f"mel_conf has unknown keys {', '.join(sorted(unknown))}: "
                "the checkpoint needs a newer stepedit"
            )
        for key, value in values.items():
            if value is not None and not isinstance(value, int | float):
                raise CheckpointError(
                    f"mel_conf has {key}: {value!r}, which is not a number: download the "
                    "checkpoint again"
                )
        return cls(**values)


@lru_cache(maxsize=16)
def _mel_filters(rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Tensor:
    """Return Slaney mel filters, float32, shape ``(n_mels, n_fft // 2 + 1)``."""
    return torch.from_numpy(mel_filters(rate, n_fft, n_mels, fmin, fmax))


def whisper_log_mel(samples: Tensor, n_mels: int = 128) -> Tensor:
    """Return the log-mel spectrogram of Whisper (Radford et al. 2022, section 2.2).

    Args:
        samples: float32 at 16 kHz, shape ``(n,)``, more than 200 samples.
        n_mels: bins.

    Returns:
        float32, shape ``(n_mels, n // 160)``.
    """
    window = torch.hann_window(WHISPER_N_FFT, device=samples.device)
    spectrum = torch.stft(samples, WHISPER_N_FFT, WHISPER_HOP, window=window, return_complex=True)
    power = spectrum[..., :-1].abs() ** 2
    filters = _mel_filters(16_000, WHISPER_N_FFT, n_mels, 0.0, None).to(samples.device)
    log_mel = (filters @ power).clamp(min=1e-10).log10()
    log_mel = torch.maximum(log_mel, log_mel.max() - 8.0)
    return (log_mel + 4.0) / 4.0


def prompt_mel(
    samples: Tensor, sample_rate: int, config: MelConfig | None = None, start: float = 0.0
) -> Tensor:
    """Return the natural-log mel spectrogram of a reference, as the decoder was trained on.

    Args:
        samples: float32, shape ``(n,)``, peak limited, untrimmed.
        sample_rate: Hz; resampled to ``config.sampling_rate`` where it differs.
        config: published settings if None.
        start: second at which the first frame begins; before 0 there is silence.

    Returns:
        float32, shape ``(1, frames, config.num_mels)``.

    Raises:
        AudioError: if the reference is shorter than half a window.
    """
    conf = config or MelConfig()
    first = round(start * sample_rate)
    samples = F.pad(samples, (max(-first, 0), 0))[max(first, 0) :]
    y = resample(samples[None], sample_rate, conf.sampling_rate)
    pad = (conf.n_fft - conf.hop_size) // 2
    shortest = max(pad + 1, conf.n_fft - 2 * pad)
    if y.shape[-1] < shortest:
        raise AudioError(
            f"a reference of {len(samples) / sample_rate:.3f} s is too short: "
            f"give at least {math.ceil(100 * shortest / conf.sampling_rate) / 100} s"
        )
    y = F.pad(y[None], (pad, pad), mode="reflect")[0]
    window = torch.hann_window(conf.win_size, device=y.device)
    spectrum = torch.stft(
        y,
        conf.n_fft,
        conf.hop_size,
        conf.win_size,
        window,
        center=conf.center,
        return_complex=True,
    )
    magnitude = torch.view_as_real(spectrum).square().sum(-1).add(POWER_FLOOR).sqrt()
    filters = _mel_filters(conf.sampling_rate, conf.n_fft, conf.num_mels, conf.fmin, conf.fmax)
    mel = filters.to(y.device) @ magnitude
    return mel.clamp(min=MEL_FLOOR).log().transpose(1, 2)


def speaker_fbank(samples: Tensor, sample_rate: int, n_mels: int = 80) -> Tensor:
    """Return Kaldi filterbank energies with their mean over time removed.

    Args:
        samples: float32, shape ``(n,)``, peak limited, untrimmed, full scale 1.
        sample_rate: Hz; resampled to 16 kHz where it differs.
        n_mels: bins.

    Returns:
        float32, shape ``(frames, n_mels)``.

    Raises:
        AudioError: if the signal is shorter than one 25 ms frame.
    """
    y = resample(samples[None], sample_rate, SPEAKER_RATE)
    if y.shape[-1] < SPEAKER_WINDOW:
        raise AudioError(
            f"a reference of {len(samples) / sample_rate:.3f} s is too short: give at least 0.03 s"
        )
    energies = kaldi_fbank(y, num_mel_bins=n_mels, sample_frequency=SPEAKER_RATE)
    return energies - energies.mean(dim=0, keepdim=True)


def power_mel(samples: Tensor, n_mels: int = 40) -> Tensor:
    """Return the power mel spectrogram that Resemblyzer's voice encoder reads: no logarithm.

    25 ms Hann windows every 10 ms, centred on zero-padded samples, as librosa makes them.

    Args:
        samples: float32 at 16 kHz, shape ``(n,)``.
        n_mels: bins, 0..8000 Hz.

    Returns:
        float32, shape ``(n_mels, 1 + n // 160)``.
    """
    window = torch.hann_window(SPEAKER_WINDOW, device=samples.device)
    spectrum = torch.stft(
        samples, SPEAKER_WINDOW, 160, window=window, pad_mode="constant", return_complex=True
    )
    filters = _mel_filters(SPEAKER_RATE, SPEAKER_WINDOW, n_mels, 0.0, None).to(samples.device)
    return filters @ spectrum.abs().square()


def kaldi_frames(
    samples: Tensor,
    *,
    sample_rate: int,
    n_mels: int,
    frame_length_ms: float,
    frame_shift_ms: float,
    window: str,
    dither: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return Kaldi filterbank energies of 16-bit scaled audio, with seedable dither.

    Args:
        samples: float32, shape ``(n,)``, full scale 1, at least one frame long.
        sample_rate: Hz.
        n_mels: bins.
        frame_length_ms: milliseconds.
        frame_shift_ms: milliseconds.
        window: name of the Kaldi window.
        dither: standard deviation of the noise added to every frame, in 16-bit steps.
        generator: source of the dither; a generator seeded with 0 if None.

    Returns:
        float32, shape ``(frames, n_mels)``; only frames that lie wholly inside the signal.
    """
    wave = samples * 32_768
    shift_ms = frame_shift_ms
    if dither:
        # Kaldi draws fresh noise for every frame, overlapping or not. Frames laid end to end
        # can carry that noise from outside and be cut apart again at their own length.
        size, hop = (int(sample_rate * ms / 1000) for ms in (frame_length_ms, frame_shift_ms))
        frames = wave.unfold(0, size, hop)
        source = generator or torch.Generator().manual_seed(0)
        wave = (frames + dither * torch.randn(frames.shape, generator=source)).reshape(-1)
        shift_ms = frame_length_ms
    return kaldi_fbank(
        wave[None],
        num_mel_bins=n_mels,
        sample_frequency=float(sample_rate),
        frame_length=frame_length_ms,
        frame_shift=shift_ms,
        window_type=window,
        energy_floor=0.0,
    )
