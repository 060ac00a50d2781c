"""Keep the loudness of an edited piece at that of its source (ITU-R BS.1770-4).

Pieces too short for a gating block of 0.4 s, and machines without pyloudnorm, are compared by
the power of their active frames.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.loudness import true_peak
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.errors import MissingDependencyError
from stepedit_core.utterance import Utterance

__all__ = ["level_of", "loudness", "matched"]

_BLOCK_SECONDS, _HOPS = 0.4, 4
"""Length of a gating block of BS.1770-4, and in how many hops it moves on by its own length."""
_GATE_LUFS, _RELATIVE_LU = -70.0, 10.0
_AT_ONCE, _BEFORE = 300, 11
"""Hops of 0.1 s that are measured at once, and those before them in which the filters settle."""
_RAMP = 256
_FRAME_SECONDS = 0.02
_ACTIVE_DB = 25.0  # frames this far below the loudest one are active
_LEAST_DB = 0.3  # smaller differences are left alone: nobody hears them
_CHECKED_DB = 1.0  # from here on speech has to be there
_MOST_DB = 20.0

FloatArray = npt.NDArray[np.float32]


def loudness(samples: FloatArray, rate: int) -> tuple[float, str] | None:
    """Return the loudness in dB and how it was measured; None of silence.

    Args:
        samples: mono, full scale 1.
        rate: in Hz.

    Returns:
        ``(LUFS, "BS.1770")``, or ``(dB of the active frames, "active level")``.
    """
    flat = samples.astype(np.float64)
    flat -= flat.mean() if len(flat) else 0.0
    if len(flat) > _BLOCK_SECONDS * rate and importlib.util.find_spec("pyloudnorm"):
        import pyloudnorm

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(pyloudnorm.Meter(rate).integrated_loudness(flat))
        return (value, "BS.1770") if math.isfinite(value) else None
    return _active_level(flat, rate)


def level_of(blocks: Iterable[FloatArray], rate: int) -> tuple[float | None, float]:
    """Return the level of sound of any length; memory does not grow with it.

    Args:
        blocks: mono samples in order, full scale 1, each of shape ``(n,)``.
        rate: in Hz.

    Returns:
        Integrated loudness in LUFS (ITU-R BS.1770-4), None of silence or what is shorter than
        0.4 s; true peak as a fraction of full scale.

    Raises:
        MissingDependencyError: if pyloudnorm is not installed.
    """
    if importlib.util.find_spec("pyloudnorm") is None:
        raise MissingDependencyError("loudness needs pyloudnorm: pip install pyloudnorm")
    import pyloudnorm

    meter = pyloudnorm.Meter(rate, block_size=_BLOCK_SECONDS)
    found: list[float] = []
    peak = 0.0
    for part, settled in _overlapping(blocks, rate):
        peak = max(peak, true_peak(part, rate))
        if len(part) > _BLOCK_SECONDS * rate:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                meter.integrated_loudness(part.astype(np.float64))
            found += meter.blockwise_loudness[settled:]
    power = 10 ** (np.array([one for one in found if one >= _GATE_LUFS]) / 10)
    if not len(power):
        return None, peak
    power = power[power > power.mean() * 10 ** (-_RELATIVE_LU / 10)]
    return float(10 * np.log10(power.mean())), peak


def _overlapping(blocks: Iterable[FloatArray], rate: int) -> Iterator[tuple[FloatArray, int]]:
    """Yield stretches of some seconds, and how many gating blocks the one before had already.

    Where a stretch is cut, its end is faded, or it would ring; the next one has it whole.
    """
    held, settled = np.zeros(0, np.float32), 0
    ramp = np.linspace(0.0, 1.0, _RAMP, dtype=np.float32)
    hop = _BLOCK_SECONDS * rate / _HOPS
    length = round(_AT_ONCE * hop)
    # The next stretch begins with the first block that did not fit, and what is before it. An even
    # number of hops is whole at 11,025 Hz, too.
    step = round((_AT_ONCE - _HOPS + 1 - _BEFORE) * hop)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > length + _HOPS * hop:
            part, held = held[:length].copy(), held[step:].copy()
            part[-_RAMP:] *= ramp[::-1]
            yield part, settled
            held[:_RAMP] *= ramp
            settled = _BEFORE
    if len(held):
        yield held, settled


def _active_level(flat: npt.NDArray[np.float64], rate: int) -> tuple[float, str] | None:
    """Return the mean power of active frames in dB."""
    size = max(1, round(_FRAME_SECONDS * rate))
    whole = len(flat) // size * size
    frames = flat[:whole].reshape(-1, size) if whole else flat.reshape(1, -1)
    power = (frames**2).mean(axis=1) if frames.size else np.zeros(1)
    if power.max() < 1e-12:
        return None
    active = power[power >= power.max() * 10 ** (-_ACTIVE_DB / 10)]
    return float(10 * np.log10(active.mean())), "active level"


def matched(source: Utterance, edited: Utterance) -> tuple[Utterance, float]:
    """Return an edited piece at the loudness of its source, and the gain in dB.

    Pieces without speech are left alone: their level may be the noise that was taken out. What
    would rise above full scale, or above a source beyond it, is raised less.

    Args:
        source: the piece before.
        edited: the piece after, at the same rate.
    """
    rate = source.sample_rate
    before = loudness(source.samples, rate)
    after = loudness(edited.samples, rate)
    if before is not None and after is not None and before[1] != after[1]:
        before = _active_level(source.samples.astype(np.float64), rate)
        after = _active_level(edited.samples.astype(np.float64), rate)
    if before is None or after is None:
        return edited, 0.0
    wanted = float(np.clip(before[0] - after[0], -_MOST_DB, _MOST_DB))
    if abs(wanted) < _LEAST_DB or (abs(wanted) > _CHECKED_DB and not speech_spans(source)):
        return edited, 0.0
    ceiling = max(1.0, float(np.abs(source.samples).max()))
    room = ceiling / max(float(np.abs(edited.samples).max()), 1e-9)
    gain = min(10 ** (wanted / 20), max(1.0, room))
    changed = edited.replace(samples=edited.samples * np.float32(gain), alignment=edited.alignment)
    return changed, float(20 * np.log10(gain))
