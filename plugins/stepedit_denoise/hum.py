"""Mains hum, taken away as what it is: steady sines at multiples of 50 or 60 Hz.

A network hears frames of 10 ms, in which a sine and a voice's harmonic look alike. Over seconds
they do not: a line of mains hum stands alone in its neighbourhood, at a multiple of one frequency.
Each line is projected out in windows of four seconds that overlap by half; speech between the lines
is not touched.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance

__all__ = ["mains_hum"]

FloatArray = npt.NDArray[np.float64]

_RATE = 6_000
"""At which lines are sought: all of them lie below 2.5 kHz."""
_WINDOW_SECONDS, _SHORTEST_SECONDS = 4.0, 1.0
_BASES = ((49.3, 50.7), (59.2, 60.8))
"""Where the mains frequency is sought, in Hz."""
_STEP_HZ = 0.01
_HARMONICS, _TELLING = 40, 12
"""Harmonics that are taken away, and those that tell that there is hum."""
_LEAST_DB, _MOST_DB = 50.0, 25.0
"""Sum over the telling harmonics of how far each stands above its neighbourhood, of which one
counts so much at most. Packaged recordings have 21 to 32 as they are and before a street, and 70 to
119 before hum, 5 dB below the speech."""
_NEAR_HZ, _FAR_HZ = 3.0, 12.0
_PADDING = 4


def mains_hum(utterance: Utterance) -> tuple[npt.NDArray[np.float32], float] | None:
    """Return the mains hum in a recording, shape ``(n,)``, and its base frequency in Hz.

    None where none is heard, or the recording lasts less than a second.
    """
    low = utterance.resample(_RATE)
    samples = low.samples.astype(np.float64)
    size = min(len(samples), round(_WINDOW_SECONDS * _RATE)) // 2 * 2
    if size < _SHORTEST_SECONDS * _RATE:
        return None
    hum, bases, half = np.zeros(len(samples)), [], size // 2
    # Such windows, half a window apart, add up to one.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    for start in range(-half, len(samples), half):
        heard = min(max(start, 0), len(samples) - size)
        part = samples[heard : heard + size] * window
        base = _base(part)
        if base:
            bases.append(base)
            first, end = max(start, 0), min(start + size, len(samples))
            faded = window[first - start : end - start]
            hum[first:end] += faded * _lines(part, base, np.arange(first, end) - heard, window)
    if not bases:
        return None
    made = low.replace(samples=hum.astype(np.float32)).resample(utterance.sample_rate).samples
    count = len(utterance.samples)
    return np.pad(made, (0, max(0, count - len(made))))[:count], float(np.median(bases))


def _base(part: FloatArray) -> float:
    """Return the base frequency of the hum in a window, in Hz; 0.0 where there is none."""
    points = _PADDING * 2 ** int(np.ceil(np.log2(len(part))))
    step = _RATE / points
    power = np.abs(np.fft.rfft(part, points)) ** 2 + 1e-20
    orders = np.arange(1, _TELLING + 1)
    grid = np.concatenate([np.arange(low, high, _STEP_HZ) for low, high in _BASES])
    heights = _heights(power, np.round(grid[:, None] * orders / step).astype(int), step)
    score = np.clip(heights, 0.0, _MOST_DB).sum(axis=1)
    best = int(np.argmax(score))
    if score[best] < _LEAST_DB:
        return 0.0
    # The lines that stand out tell the base more exactly than the grid does.
    peaks = np.array([_peak(power, round(grid[best] * order / step)) * step for order in orders])
    trust = np.clip(heights[best], 0.0, None) ** 2
    return float(np.sum(trust * orders * peaks) / np.sum(trust * orders**2))


def _heights(power: FloatArray, places: npt.NDArray[np.int_], step: float) -> FloatArray:
    """Return how far bins stand above the mean of their neighbourhood, in dB.

    Args:
        power: of each bin, ``step`` Hz apart.
        places: of the bins that are asked for, any shape.
        step: Hz from bin to bin.
    """
    sums = np.concatenate([[0.0], np.cumsum(power)])
    near, far = round(_NEAR_HZ / step), round(_FAR_HZ / step)
    beside = sums[places - near] - sums[places - far] + sums[places + far] - sums[places + near]
    mean = np.maximum(beside / (2 * (far - near)), 1e-20)
    return np.asarray(10 * np.log10(power[places] / mean))


def _peak(power: FloatArray, near: int) -> float:
    """Return the place of the highest bin about a place, and between bins by a parabola."""
    top = near - 2 + int(np.argmax(power[near - 2 : near + 3]))
    left, middle, right = np.log(power[top - 1 : top + 2])
    bend = left - 2 * middle + right
    return float(top + (0.5 * (left - right) / bend if bend < 0 else 0.0))


def _lines(
    part: FloatArray, base: float, places: npt.NDArray[np.int_], window: FloatArray
) -> FloatArray:
    """Return the sum of the lines of a window at other places, in samples from its first.

    Lines lie fifty cycles of the window apart or more: each is found as if it were alone.
    """
    turns = 2j * np.pi * base / _RATE * np.arange(1, _HARMONICS + 1)
    shares = np.exp(-np.outer(turns, np.arange(len(part)))) @ part * (2 / window.sum())
    return np.asarray((shares @ np.exp(np.outer(turns, places))).real)
