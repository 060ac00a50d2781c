"""Filterbank front end of the linguistic tokenizer, for a whole utterance at once.

The public system feeds 240 ms chunks to a stateful front end. Its rules decide how many
frames an utterance gives and which rows each frame sees, so they are reproduced here as
index arithmetic: first the filterbank of the whole signal, then one gather for all chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from stepedit_core.models.tokenizer.features import kaldi_frames

__all__ = ["Cmvn", "Frontend", "FrontendConfig", "LfrChunk", "plan_lfr", "round_to_pcm16"]

FloatArray = npt.NDArray[np.float32]
WavRounding = Literal["pcm16", "float32"]


@dataclass(frozen=True)
class FrontendConfig:
    """Settings of the front end; the defaults are the published ones.

    Attributes:
        sample_rate: Hz.
        n_mels: filterbank bins.
        frame_length_ms: milliseconds.
        frame_shift_ms: milliseconds.
        window: Kaldi window name.
        lfr_m: filterbank rows stacked into one low-frame-rate frame.
        lfr_n: rows from one low-frame-rate frame to the next.
        chunk_samples: samples that the public system hands over at a time.
        dither: standard deviation in 16-bit steps; the public system's 1.0 makes its codes
            differ from run to run.
        wav_rounding: the public system passes audio through an in-memory WAV file, which is
            ``pcm16`` in its 2026 code, and before that ``float32`` (soundfile) or ``pcm16``
            (FFmpeg), by environment. ``float32`` leaves samples as they are.
    """

    sample_rate: int = 16_000
    n_mels: int = 80
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    window: str = "hamming"
    lfr_m: int = 7
    lfr_n: int = 6
    chunk_samples: int = 3_840
    dither: float = 0.0
    wav_rounding: WavRounding = "float32"

    @property
    def output_size(self) -> int:
        """Values per low-frame-rate frame."""
        return self.n_mels * self.lfr_m

    @property
    def frame_samples(self) -> int:
        """Samples per filterbank frame."""
        return int(self.sample_rate * self.frame_length_ms / 1000)

    @property
    def shift_samples(self) -> int:
        """Samples between filterbank frames."""
        return int(self.sample_rate * self.frame_shift_ms / 1000)

    def frames(self, n_samples: int) -> int:
        """Return the number of filterbank frames wholly inside ``n_samples``."""
        return max((n_samples - self.frame_samples) // self.shift_samples + 1, 0)


@dataclass(frozen=True)
class LfrChunk:
    """What one chunk of audio gives: ``count`` frames from rows ``first`` to ``stop``.

    Rows are filterbank rows after the first one was repeated ``(lfr_m - 1) // 2`` times on
    the left; reading past ``stop`` repeats the last row.
    """

    first: int
    stop: int
    count: int


@dataclass(frozen=True)
class Cmvn:
    """Mean and variance normalisation: ``(x + shift) * scale``; float32, shape ``(d,)``."""

    shift: Tensor
    scale: Tensor


def _boundaries(n_samples: int, config: FrontendConfig) -> Iterator[tuple[int, bool]]:
    """Yield (samples heard so far, is the last chunk) for every chunk that is handed over."""
    size = config.chunk_samples
    total = n_samples // size + 1
    for index in range(total):
        heard = min((index + 1) * size, n_samples)
        if heard > index * size:  # an empty last chunk never reaches the front end
            yield heard, index == total - 1


def plan_lfr(n_samples: int, config: FrontendConfig) -> list[LfrChunk]:
    """Return the chunks of an utterance that give at least one low-frame-rate frame.

    Args:
        n_samples: length of the 16 kHz signal.
        config: front end settings.

    Returns:
        Chunks in order of time; empty for signals that are too short.
    """
    lead = (config.lfr_m - 1) // 2
    chunks: list[LfrChunk] = []
    first = frames = 0
    for heard, final in _boundaries(n_samples, config):
        new = config.frames(heard) - frames
        frames += new
        rows = lead + frames - first
        if not frames or (new and rows < config.lfr_m) or (not new and not final):
            continue
        count = wanted = -(-(rows - lead) // config.lfr_n)
        if not final:
            count = min(wanted, (rows - config.lfr_m) // config.lfr_n + 1)
        if count <= 0:  # only on the last chunk
            continue
        chunks.append(LfrChunk(first, first + rows, count))
        first += min(rows - 1, count * config.lfr_n)
    return chunks


def round_to_pcm16(samples: FloatArray, sample_rate: int) -> FloatArray:
    """Pass samples through a 16-bit WAV file in memory, with libsndfile's rounding.

    Args:
        samples: float32, shape ``(n,)``.
        sample_rate: Hz.
    """
    buffer = BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    buffer.seek(0)
    rounded: FloatArray = soundfile.read(buffer, dtype="float32")[0]
    return rounded


class Frontend:
    """Signal to normalised low-frame-rate frames; holds no state between calls."""

    def __init__(self, config: FrontendConfig, cmvn: Cmvn) -> None:
        """Keep the settings.

        Args:
            config: front end settings.
            cmvn: vectors of ``config.output_size`` values.
        """
        self.config = config
        self.cmvn = cmvn

    def fbank(self, samples: FloatArray, generator: torch.Generator | None = None) -> Tensor:
        """Return filterbank energies, float32, shape ``(frames, n_mels)``."""
        conf = self.config
        return kaldi_frames(
            torch.from_numpy(samples),
            sample_rate=conf.sample_rate,
            n_mels=conf.n_mels,
            frame_length_ms=conf.frame_length_ms,
            frame_shift_ms=conf.frame_shift_ms,
            window=conf.window,
            dither=conf.dither,
            generator=generator,
        )

    def __call__(
        self, samples: FloatArray, generator: torch.Generator | None = None
    ) -> tuple[Tensor, list[int]]:
        """Return the frames of one utterance and how many of them each chunk holds.

        Args:
            samples: float32 at ``config.sample_rate``, shape ``(n,)``.
            generator: source of the dither, where there is any.

        Returns:
            Frames, float32, shape ``(t, output_size)``, and the chunk sizes, whose sum is
            ``t``; both are empty for signals that are too short.
        """
        conf = self.config
        chunks = plan_lfr(len(samples), conf)
        if not chunks:
            return torch.zeros(0, conf.output_size), []
        if conf.wav_rounding == "pcm16":
            samples = round_to_pcm16(samples, conf.sample_rate)
        rows = np.concatenate([_chunk_rows(chunk, conf) for chunk in chunks])
        stacked = self.fbank(samples, generator)[torch.from_numpy(rows)].flatten(1)
        frames = (stacked + self.cmvn.shift) * self.cmvn.scale
        return frames, [chunk.count for chunk in chunks]


def _chunk_rows(chunk: LfrChunk, config: FrontendConfig) -> npt.NDArray[np.int64]:
    """Return the filterbank row of every stacked row, shape ``(chunk.count, lfr_m)``."""
    starts = chunk.first + config.lfr_n * np.arange(chunk.count, dtype=np.int64)
    rows = np.minimum(starts[:, None] + np.arange(config.lfr_m), chunk.stop - 1)
    frames: npt.NDArray[np.int64] = np.maximum(rows - (config.lfr_m - 1) // 2, 0)
    return frames
