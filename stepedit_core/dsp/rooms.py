"""Reverberation: measured room impulse responses, or rooms simulated by pyroomacoustics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["Room", "can_simulate", "measure_rt60", "named_room", "reverberate", "simulate_room"]

FloatArray = npt.NDArray[np.float64]

_NEEDS = (
    "simulated rooms need pyroomacoustics: pip install pyroomacoustics, "
    "or give measured responses with rir_folder=DIR"
)


def can_simulate() -> bool:
    """Say whether pyroomacoustics is installed."""
    from importlib.util import find_spec

    return find_spec("pyroomacoustics") is not None


@lru_cache(maxsize=128)
def simulate_room(index: int, rate: int, low: float, high: float) -> FloatArray:
    """Return the impulse response of a room drawn by its number.

    A shoebox of 3-8 x 3-6 x 2.4-3.5 m, source and microphone 1-3 m apart, wall absorption
    from Sabine's formula; first three orders by image sources, the rest by ray tracing
    (Scheibler, Bezzam & Dokmanić, ICASSP 2018).

    Args:
        index: number of the room; the same number gives the same room.
        rate: in Hz.
        low: least reverberation time asked for, in seconds.
        high: greatest.

    Raises:
        MissingDependencyError: if pyroomacoustics is not installed.
    """
    rng = np.random.default_rng([index, 8_675_309])
    size = rng.uniform([3.0, 3.0, 2.4], [8.0, 6.0, 3.5])
    rt60 = rng.uniform(low, high)
    microphone = np.append(rng.uniform([0.5, 0.5], size[:2] - 0.5), 1.5)
    source = microphone.copy()
    while np.linalg.norm(source - microphone) < 1.0:
        source = np.append(rng.uniform([0.5, 0.5], size[:2] - 0.5), 1.6)
    return _response(size, rt60, source, microphone, rate, index)


@dataclass(frozen=True)
class Room:
    """A room that has a name.

    Attributes:
        size: length, width and height in m.
        rt60: reverberation time in s.
        distance: from speaker to microphone in m.
    """

    size: tuple[float, float, float]
    rt60: float
    distance: float


@lru_cache(maxsize=16)
def named_room(room: Room, rate: int) -> FloatArray:
    """Return the impulse response of a room at a rate in Hz; the same one in every run.

    Raises:
        MissingDependencyError: if pyroomacoustics is not installed.
    """
    size = np.array(room.size)
    microphone = np.array([0.4 * size[0], 0.45 * size[1], 1.5])
    source = microphone + np.array([0.8 * room.distance, 0.6 * room.distance, 0.1])
    return _response(size, room.rt60, source, microphone, rate, 0)


def _response(
    size: FloatArray, rt60: float, source: FloatArray, microphone: FloatArray, rate: int, seed: int
) -> FloatArray:
    """Return the impulse response of a shoebox: places and sizes in m."""
    try:
        import pyroomacoustics as acoustics
    except ImportError as error:
        raise MissingDependencyError(_NEEDS) from error
    # The library draws rays from a generator of its own, which has to be seeded as a whole.
    acoustics.random.seed(numpy=seed, libroom=seed)
    absorption, _ = acoustics.inverse_sabine(rt60, size)
    room = acoustics.ShoeBox(
        size,
        fs=rate,
        materials=acoustics.Material(absorption),
        max_order=3,
        ray_tracing=True,
        air_absorption=True,
    )
    room.add_source(source)
    room.add_microphone(microphone)
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float64)
    response.setflags(write=False)
    return response


def measure_rt60(response: FloatArray, rate: int) -> float:
    """Return the reverberation time of an impulse response in seconds.

    Backward integration (Schroeder 1965), the decay from -5 to -25 dB times three (T20,
    ISO 3382-2).

    Raises:
        StepeditError: if the response does not decay so far.
    """
    energy = np.cumsum(np.square(response[::-1]))[::-1]
    decay = 10 * np.log10(np.maximum(energy / max(energy[0], 1e-300), 1e-12))
    start, end = np.searchsorted(-decay, [5.0, 25.0])
    if end >= len(decay) or end - start < 2:
        raise StepeditError("this is no impulse response: its energy does not decay by 25 dB")
    slope = np.polyfit(np.arange(start, end) / rate, decay[start:end], 1)[0]
    return float(-60 / slope)


def reverberate(clean: Utterance, response: FloatArray) -> Utterance:
    """Return speech as heard in a room: same length and level, direct sound in time with it.

    Args:
        clean: dry speech.
        response: impulse response at the utterance's rate.
    """
    from scipy.signal import fftconvolve

    direct = int(np.argmax(np.abs(response)))
    wet = fftconvolve(clean.samples.astype(np.float64), response[direct:])[: len(clean.samples)]
    powers = (float(np.mean(np.square(part, dtype=np.float64))) for part in (clean.samples, wet))
    wet *= np.sqrt(next(powers) / max(next(powers), 1e-20))
    wet *= min(1.0, 0.99 / max(float(np.abs(wet).max()), 1e-9))
    return clean.replace(samples=wet.astype(np.float32))
