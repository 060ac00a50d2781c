"""Mix several channels down to one without losing speech: look at them before adding them.

The mean of two channels is silence where one is the other upside down, 6 dB too soft where one
is dead, and a comb filter where one microphone stood further away; of a call whose speakers have
a channel each it takes 6 dB from both. So levels, correlations and who is heard when decide what
is averaged, added, flipped or left out.
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
_BROKEN = "holds values that are no sound and is left out"
LOST_DB = -7.0
"""A mean this far below the loudest channel has cancelled it: the loudest is taken alone."""
FRAME_SECONDS = 0.05
AUDIBLE_DB = -25.0
"""Level of an audible frame against the loudest hundredth of its channel's frames."""
HUSHED_DB = -40.0
"""The same against the loudest hundredth of all channels' frames."""
ABOVE_FLOOR_DB = 6.0
"""Level of an audible frame against the softest tenth of its channel."""
ALONE_DB = 10.0
"""How far a channel is above all others in a frame that is its own."""
OWN_SECONDS = 0.5
"""Frames of its own that a channel with a speaker of its own has at least, in seconds."""
TURNS = 0.8
"""Least share of audible frames that are one channel's own where speakers take turns."""


@dataclass(frozen=True)
class Mixdown:
    """Mixdown of several channels to one.

    Attributes:
        signs: for each channel 1 or -1 where it is averaged, 0 where it is left out.
        note: what is done, for the user; None for a single channel.
        gain: factor on the average; the number of channels where they are added.
    """

    signs: tuple[int, ...]
    note: str | None = None
    gain: float = 1.0

    def apply(self, block: FloatArray) -> FloatArray:
        """Return a block of shape ``(n, channels)`` as mono float32 samples ``(n,)``."""
        kept = [place for place, sign in enumerate(self.signs) if sign]
        if len(kept) == 1:
            return np.asarray(block[:, kept[0]] * np.float32(self.signs[kept[0]]))
        if all(sign == 1 for sign in self.signs):
            mono = block.mean(axis=1)
        else:
            signs = np.array([self.signs[at] for at in kept], np.float32)
            mono = (block[:, kept] * signs).mean(axis=1)
        return np.asarray(mono if self.gain == 1 else mono * np.float32(self.gain))


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
    covariance, loudest_block, broken, frames = _statistics(blocks(), channels, rate)
    power = np.where(broken, -1.0, np.diag(covariance))
    loudest = int(np.flatnonzero(power >= min(0.98 * power.max(), power.max()))[0])
    if broken.all() or (power[loudest] <= 0 and not broken.any()):
        return Mixdown((1,) * channels, _note(channels, ["averaged"]))
    own = _own_seconds(frames) >= OWN_SECONDS
    if own.sum() > 1:
        return _added(blocks, own, broken)
    signs, done = [0] * channels, []
    signs[loudest] = 1
    for place in range(channels):
        if place == loudest:
            continue
        if broken[place]:
            done.append(f"channel {place + 1} {_BROKEN}")
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


def _own_seconds(frames: Matrix) -> FloatArray:
    """Return for how long each channel alone is heard, where channels take turns; else zeros.

    Args:
        frames: mean power of each channel in each frame, shape ``(frames, channels)``.
    """
    none = np.zeros(frames.shape[1], np.float32)
    if not len(frames):
        return none
    floor = np.percentile(frames, 10, axis=0)  # of one who listens: the noise of the line
    loud = np.percentile(frames, 99, axis=0)
    least = np.maximum(floor * 10 ** (ABOVE_FLOOR_DB / 10), loud * 10 ** (AUDIBLE_DB / 10))
    audible = (frames > np.maximum(least, loud.max() * 10 ** (HUSHED_DB / 10))).any(axis=1)
    frames = np.maximum(frames - floor, 0)
    first = frames.max(axis=1)
    second = np.partition(frames, -2, axis=1)[:, -2]
    alone = audible & (first > second * 10 ** (ALONE_DB / 10))
    if alone.sum() < TURNS * max(1, audible.sum()):
        return none
    counts = np.bincount(frames.argmax(axis=1)[alone], minlength=frames.shape[1])
    return np.asarray(counts * FRAME_SECONDS, np.float32)


def _added(
    blocks: Callable[[], Iterable[FloatArray]],
    own: npt.NDArray[np.bool_],
    broken: npt.NDArray[np.bool_],
) -> Mixdown:
    """Return the sum of the channels that have a speaker of their own, below full scale."""
    signs, kept = tuple(map(int, own)), int(own.sum())
    whole = Mixdown(signs, gain=kept)
    peak, most = 0.0, 1.0
    for block in blocks():
        peak = max(peak, float(np.abs(whole.apply(block)).max(initial=0.0)))
        most = max(most, float(np.abs(block[:, own]).max(initial=0.0)))
    scale = min(1.0, most / peak) if peak > 0 else 1.0
    done = [
        f"channel {place + 1} {_BROKEN if broken[place] else 'has no speaker and is left out'}"
        for place in range(len(own))
        if not own[place]
    ]
    softer = f", {-20 * np.log10(scale):.1f} dB softer so that nothing clips" if scale < 1 else ""
    done.append(f"speakers in channels of their own added{softer}")
    return Mixdown(signs, _note(len(own), done), kept * scale)


def _note(channels: int, done: list[str]) -> str:
    return f"{channels} channels mixed down to mono: {', '.join(done)}"


def _statistics(
    blocks: Iterable[FloatArray], channels: int, rate: int
) -> tuple[Matrix, FloatArray, npt.NDArray[np.bool_], Matrix]:
    """Return the channels' covariance, the loudest ten seconds of a block, and what is broken.

    With them comes the power of each channel in each frame, shape ``(frames, channels)``.

    A channel is broken where a value of it is not finite, or is far beyond what any recorder or
    a file scaled to whole numbers holds; it counts as silent here.
    """
    broken = np.zeros(channels, np.bool_)
    count, total, products = 0, np.zeros(channels), np.zeros((channels, channels))
    best, loudest = -1.0, np.zeros((0, channels), np.float32)
    size, frames = max(1, round(FRAME_SECONDS * rate)), [np.zeros((0, channels))]
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
            whole_frames = part[: len(part) // size * size].reshape(-1, size, channels)
            frames.append(whole_frames.var(axis=1))
            if np.trace(product) > best:
                best, loudest = float(np.trace(product)), part.astype(np.float32)
    mean = total / max(1, count)
    covariance = products / max(1, count) - np.outer(mean, mean)
    return covariance, loudest, broken, np.concatenate(frames)


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
