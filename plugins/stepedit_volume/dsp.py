"""Gain towards a loudness, a true peak or by so many dB, with a limiter of the true peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stepedit_core import AudioError, Utterance
from stepedit_core.dsp.loudness import limited, loudness, true_peak
from stepedit_core.dsp.offset import offset_of

if TYPE_CHECKING:
    from stepedit_volume.edit import Volume

__all__ = ["CEILING_DB", "MOST_LIMITED_DB", "levelled"]

FloatArray = npt.NDArray[np.float32]

CEILING_DB = -1.0
"""The highest true peak of any result, in dBTP (EBU R 128)."""
MOST_LIMITED_DB = 15.0
"""Most that the limiter may take for the sake of a loudness; beyond it, speech loses its course."""
_CLOSE_LU, _ROUNDS = 0.02, 12
_UNREACHED_LU = 0.2
_LEAST_CEILING = 0.05
_METER_DB = 0.1
"""How far meters of true peak differ: the limiter aims so much lower."""


def levelled(utterance: Utterance, edit: Volume) -> tuple[Utterance, dict[str, Any]]:
    """Change the level as an edit asks; length, rate and a constant offset stay.

    Returns:
        The recording at its new level, and what was done: gain and the limiter's largest
        reduction in dB, loudness and true peak before and after. ``notes`` say where the limiter
        keeps the recording from the loudness that was asked for.

    Raises:
        AudioError: if the recording is silent.
    """
    rate = utterance.sample_rate
    offset = offset_of(utterance.samples, rate)
    flat = utterance.replace(samples=utterance.samples - np.float32(offset))
    peak, before = true_peak(flat.samples, rate), loudness(flat)
    if peak == 0 or (edit.lufs is not None and before is None):
        raise AudioError("volume: the recording is silent; there is no level to change")
    ceiling = max(_LEAST_CEILING, _ratio(CEILING_DB - _METER_DB) - abs(offset))
    samples, gain, reduced = _changed(flat, edit, peak, before, ceiling)
    edited = utterance.replace(samples=samples + np.float32(offset), alignment=utterance.alignment)
    after = loudness(edited)
    notes = []
    if edit.lufs is not None and after is not None and abs(after - edit.lufs) > _UNREACHED_LU:
        notes.append(
            f"{edit.lufs:g} LUFS needs more than {MOST_LIMITED_DB:g} dB of limiting; the "
            f"recording has {after:.1f} LUFS now"
        )
    if edit.db is not None and reduced > MOST_LIMITED_DB:
        above = 20 * float(np.log10(peak))
        why = f"the recording reaches {above:.0f} dB above full scale: give peak=-1"
        cure = why if above > MOST_LIMITED_DB else "ask for less"
        notes.append(f"the limiter took {reduced:.0f} dB at the loudest place; {cure}")
    return edited, {
        "backend": "pyloudnorm, look-ahead limiter",
        "gain_db": round(gain, 2),
        "limited_db": round(reduced, 2),
        "lufs_before": None if before is None else round(before, 2),
        "lufs_after": None if after is None else round(after, 2),
        "true_peak_db": round(20 * float(np.log10(max(true_peak(samples, rate), 1e-9))), 2),
        "notes": notes,
    }


def _changed(
    flat: Utterance, edit: Volume, peak: float, before: float | None, ceiling: float
) -> tuple[FloatArray, float, float]:
    """Return the samples, the gain in dB, and how much the limiter took at most."""
    if edit.peak is not None:
        # Nothing to limit: the gain alone brings the peak there.
        gain = edit.peak - 20 * float(np.log10(peak))
        return flat.samples * np.float32(_ratio(gain)), gain, 0.0
    if edit.lufs is not None and before is not None:
        return _to_loudness(flat, edit.lufs, before, ceiling)
    gain = float(edit.db or 0.0)
    samples, reduced = _amplified(flat, gain, ceiling)
    return samples, gain, reduced


def _to_loudness(
    flat: Utterance, asked: float, before: float, ceiling: float
) -> tuple[FloatArray, float, float]:
    """Raise the gain until the limited recording is as loud as asked, or the limiter at its end."""
    rate = flat.sample_rate
    most = MOST_LIMITED_DB + 20 * float(np.log10(ceiling / true_peak(flat.samples, rate)))
    gain = min(asked - before, most)
    samples, reduced = _amplified(flat, gain, ceiling)
    for _ in range(_ROUNDS):
        reached = loudness(flat.replace(samples=samples))
        lacking = asked - (before + gain if reached is None else reached)
        # The limiter takes back a part of each further dB, so steps are a little longer.
        raised = min(gain + (1.5 * lacking if reduced > 0 else lacking), most)
        if abs(lacking) <= _CLOSE_LU or raised == gain:
            break
        gain = raised
        samples, reduced = _amplified(flat, gain, ceiling)
    return samples, gain, reduced


def _amplified(flat: Utterance, gain: float, ceiling: float) -> tuple[FloatArray, float]:
    """Return the samples with a gain in dB and their true peak held under a ceiling."""
    return limited(flat.samples * np.float32(_ratio(gain)), flat.sample_rate, ceiling)


def _ratio(decibels: float) -> float:
    return float(10 ** (decibels / 20))
