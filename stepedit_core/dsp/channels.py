"""Mix several channels down to one without losing speech: look at them before adding them.

The mean of two channels is silence where one is the other upside down, 6 dB too soft where one
is dead, and a comb filter where one microphone stood further away. So levels and correlations
of all channels decide what is averaged, flipped or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NO_SOUND", "Mixdown", "mix_down", "plan_mixdown"]

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

SILENT_DB = -20.0
"""A channel this far below the loudest one adds nothing and takes up to 6 dB away."""
FLIPPED = -0.25
"""Correlation with the loudest channel below which a channel is upside down."""
ECHO = 0.6
"""Least correlation at some delay of a channel that another microphone heard later."""
ECHO_SECONDS = 0.03
NO_SOUND = 1e6
"""Samples beyond this, where 1 is full scale, are damage: whole numbers of 16 bits reach 32768."""
LOST_DB = -7.0
"""A mean this far below the loudest channel has cancelled it: the loudest is taken alone."""


@dataclass(frozen=True)
class Mixdown:
    """Mixdown of several channels to one.

    Attributes:
        signs: for each channel 1 or -1 where it is averaged, 0 where it is left out.
        note: what is done, for the user; None for a single channel.
    """

    signs: tuple[int, ...]
    note: str | None = None

    def apply(self, block: FloatArray) -> FloatArray:
        """Return a block of shape ``(n, channels)`` as mono float32 samples ``(n,)``."""
        kept = [place for place, sign in enumerate(self.signs) if sign]
        if len(kept) == 1:
            return np.asarray(block[:, kept[0]] * np.float32(self.signs[kept[0]]))
        if all(sign == 1 for sign in self.signs):
            return np.asarray(block.mean(axis=1))
        signs = np.array([self.signs[at] for at in kept], np.float32)
        return np.asarray((block[:, kept] * signs).mean(axis=1))


def mix_down(samples: FloatArray, rate: int) -> tuple[FloatArray, str | None]:
    """Return the mono sound of samples of shape ``(n, channels)``, and what was done.

    Args:
        samples: float32, one column per channel.
        rate: in Hz.
    """
    plan = plan_mixdown(lambda: [samples], samples.shape[1], rate)
    return plan.apply(samples), plan.note


def plan_mixdown(blocks: Callable[[], Iterable[FloatArray]], channels: int, rate: int) -> Mixdown:
    """Decide how to mix channels down.

    Args:
        blocks: returns the sound, block by block, each of shape ``(n, channels)``.
        channels: how many there are.
        rate: in Hz.
    """
    if channels == 1:
        return Mixdown((1,))
    covariance, loudest_block, broken = _statistics(blocks(), channels, rate)
    power = np.where(broken, -1.0, np.diag(covariance))
    loudest = int(np.flatnonzero(power >= min(0.98 * power.max(), power.max()))[0])
    if broken.all() or (power[loudest] <= 0 and not broken.any()):
        return Mixdown((1,) * channels, _note(channels, ["averaged"]))
    signs, done = [0] * channels, []
    signs[loudest] = 1
    for place in range(channels):
        if place == loudest:
            continue
        if broken[place]:
            done.append(f"channel {place + 1} holds values that are no sound and is left out")
            continue
        signs[place], what = _judge(covariance, loudest_block, place, loudest, rate)
        if what:
            done.append(f"channel {place + 1} {what}")
    weights = np.array(signs) / max(1, sum(map(abs, signs)))
    mixed = float(weights @ covariance @ weights)
    if power[loudest] > 0 and 10 * np.log10(max(mixed, 1e-30) / power[loudest]) < LOST_DB:
        signs = [int(place == loudest) for place in range(channels)]
        done = ["they cancel each other"]
    kept = sum(map(abs, signs))
    done.append("averaged" if kept > 1 else f"channel {loudest + 1} taken alone")
    return Mixdown(tuple(signs), _note(channels, done))


def _note(channels: int, done: list[str]) -> str:
    return f"{channels} channels mixed down to mono: {', '.join(done)}"


def _statistics(
    blocks: Iterable[FloatArray], channels: int, rate: int
) -> tuple[Matrix, FloatArray, npt.NDArray[np.bool_]]:
    """Return the channels' covariance, the loudest ten seconds of a block, and what is broken.

    A channel is broken where a value of it is not finite, or is far beyond what any recorder or
    a file scaled to whole numbers holds; it counts as silent here.
    """
    broken = np.zeros(channels, np.bool_)
    count, total, products = 0, np.zeros(channels), np.zeros((channels, channels))
    best, loudest = -1.0, np.zeros((0, channels), np.float32)
    for block in blocks:
        for start in range(0, len(block), 10 * rate):
            part = block[start : start + 10 * rate].astype(np.float64)
            whole = np.abs(part) <= NO_SOUND  # NaN is in no order
            broken |= ~whole.all(axis=0)
            part[~whole] = 0.0
            count += len(part)
            total += part.sum(axis=0)
            product = part.T @ part
            products += product
            if np.trace(product) > best:
                best, loudest = float(np.trace(product)), part.astype(np.float32)
    mean = total / max(1, count)
    return products / max(1, count) - np.outer(mean, mean), loudest, broken


def _judge(
    covariance: Matrix, block: FloatArray, place: int, loudest: int, rate: int
) -> tuple[int, str | None]:
    """Return the sign of a channel beside the loudest one (0 leaves it out), and why."""
    power = np.diag(covariance)
    if power[loudest] <= 0:
        return 0, "is silent and left out"
    level = 10 * np.log10(max(power[place], 1e-30) / power[loudest])
    if level < SILENT_DB:
        shown = f"{level:.0f} dB below the loudest" if level > -100 else "silent"
        return 0, f"is {shown.replace('-', '')} and left out"
    alike = covariance[place, loudest] / np.sqrt(power[place] * power[loudest])
    if abs(alike) < ECHO:
        # Half a period of the voice later, the same sound looks as if it were upside down.
        peak, delay = _delayed(block[:, loudest], block[:, place], rate)
        if abs(peak) >= ECHO and abs(peak) > abs(alike) + 0.2:
            return 0, f"is the same sound {abs(delay) * 1000:.1f} ms apart and left out"
    if alike <= FLIPPED:
        return -1, "is upside down and flipped"
    return 1, None


def _delayed(first: FloatArray, second: FloatArray, rate: int) -> tuple[float, float]:
    """Return the largest correlation of two channels within 30 ms, and its delay in seconds."""
    size = 1 << (2 * len(first) - 1).bit_length()
    one, two = first - first.mean(), second - second.mean()
    product = np.fft.rfft(two, size) * np.conj(np.fft.rfft(one, size))
    across = np.fft.irfft(product, size)
    reach = min(round(ECHO_SECONDS * rate), len(first) - 1)
    near = np.concatenate([across[-reach:], across[: reach + 1]]) if reach > 0 else across[:1]
    at = int(np.argmax(np.abs(near)))
    scale = float(np.sqrt((one @ one) * (two @ two)))
    return (float(near[at]) / scale if scale > 0 else 0.0), (at - reach) / rate
