"""Change prosody and voice quality by analysis and synthesis with the WORLD vocoder.

WORLD (Morise, Yokomori & Ozawa 2016, IEICE Trans. E99-D) splits speech into F0 (DIO and
StoneMask), a spectral envelope (CheapTrick) and band aperiodicity (D4C); each is changed by
itself and speech is put together again. pyworld is imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import around_offset
from stepedit_core.dsp.world import (
    F0_CEIL,
    F0_FLOOR,
    STEP,
    WorldSpeech,
    analyse,
    synthesise,
    warp_frequency,
    working_rate,
)
from stepedit_core.utterance import Utterance

__all__ = ["ProsodyRecipe", "match_level", "transform", "transform_with_facts"]

LEAST_SECONDS = 0.5
"""Shorter input is padded for the analysis."""
PEAK = 0.97
TILT_PIVOT, TILT_BAND = 1000.0, (100.0, 8000.0)
SPOKEN_DB = 20.0
"""Voiced frames this far below the loudest are no part of a phrase."""
PHRASE_GAP = 0.2
"""Unvoiced time, in seconds, after which the next voiced stretch begins a phrase."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProsodyRecipe:
    """Changes of prosody and voice quality; the defaults change nothing.

    Attributes:
        f0_ratio: factor on F0, 0.25..4.
        f0_range: factor on excursions from the middle, on a logarithmic scale.
        f0_middle: the middle in Hz; by default the median of the voiced frames.
        formant_ratio: factor on the frequencies of the envelope; above 1 is a shorter
            vocal tract.
        tilt: dB per octave added to the envelope, 100 Hz to 8 kHz; positive is brighter.
        aperiodicity: 0 keeps the excitation, 1 makes it all noise (whisper).
        vibrato_cents: depth of a sinusoidal F0 modulation.
        vibrato_hz: its rate.
        jitter_cents: standard deviation of a random F0 modulation, new each 5 ms frame.
        inflection_cents: F0 offsets at the start, the middle and the end of a glide that opens
            each phrase.
        inflection_seconds: its length.
        final_rise: semitones by which F0 has risen at the end of the last phrase.
        final_seconds: over which time.
        rate: factor on the tempo; above 1 is faster and shorter.
        level: dB added after level matching, as far as the peak allows.
    """

    f0_ratio: float = 1.0
    f0_range: float = 1.0
    f0_middle: float | None = None
    formant_ratio: float = 1.0
    tilt: float = 0.0
    aperiodicity: float = 0.0
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.0
    jitter_cents: float = 0.0
    inflection_cents: tuple[float, float, float] = (0.0, 0.0, 0.0)
    inflection_seconds: float = 0.5
    final_rise: float = 0.0
    final_seconds: float = 0.4
    rate: float = 1.0
    level: float = 0.0

    def __post_init__(self) -> None:
        """Refuse factors that no voice has."""
        for name in ("f0_ratio", "formant_ratio", "rate"):
            if not 0.25 <= getattr(self, name) <= 4.0:
                raise ValueError(f"{name} is {getattr(self, name)}, outside 0.25..4")
        if self.f0_middle is not None and not F0_FLOOR <= self.f0_middle <= F0_CEIL:
            raise ValueError(f"f0_middle is {self.f0_middle}, outside {F0_FLOOR:g}..{F0_CEIL:g}")
        if not 0.0 <= self.aperiodicity <= 1.0:
            raise ValueError(f"aperiodicity is {self.aperiodicity}, outside 0..1")

    def at(self, strength: float) -> ProsodyRecipe:
        """Return so much of the changes, within what a voice does; 1 is the recipe itself.

        Factors are scaled on a logarithmic scale; times and frequencies stay, and the level moves
        no further than it usually does: a listener turns it back.
        """
        if strength == 1.0:
            return self

        def factor(value: float) -> float:
            return float(np.clip(value**strength, 0.25, 4.0))

        first, middle, last = (strength * cents for cents in self.inflection_cents)
        return replace(
            self,
            f0_ratio=factor(self.f0_ratio),
            f0_range=factor(self.f0_range),
            formant_ratio=factor(self.formant_ratio),
            tilt=strength * self.tilt,
            aperiodicity=min(1.0, strength * self.aperiodicity),
            vibrato_cents=strength * self.vibrato_cents,
            jitter_cents=strength * self.jitter_cents,
            inflection_cents=(first, middle, last),
            final_rise=strength * self.final_rise,
            rate=factor(self.rate),
            level=min(1.0, strength) * self.level,
        )

    def changes(self) -> dict[str, Any]:
        """Return the fields that differ from the defaults; JSON data."""
        plain = ProsodyRecipe()
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in named.items()
            if value != getattr(plain, name)
        }


def transform(utterance: Utterance, recipe: ProsodyRecipe, rng: np.random.Generator) -> Utterance:
    """Return the utterance with its prosody and voice quality changed.

    The rate stays, and the length too unless ``recipe.rate`` changes it. Active level is
    matched to the input before ``recipe.level`` is added; peaks are held to 0.97 or the input's
    own peak, whichever is higher. Unvoiced stretches stay unvoiced and silent ones silent.

    Args:
        utterance: any rate and length.
        recipe: what to change.
        rng: draws jitter, the phase of vibrato and nothing else.
    """
    return transform_with_facts(utterance, recipe, rng)[0]


def transform_with_facts(
    utterance: Utterance, recipe: ProsodyRecipe, rng: np.random.Generator
) -> tuple[Utterance, dict[str, Any]]:
    """Do as ``transform`` and return also what was done: backend, median F0, gains; JSON data."""
    return around_offset(utterance, lambda flat: _transformed(flat, recipe, rng))


def _transformed(
    utterance: Utterance, recipe: ProsodyRecipe, rng: np.random.Generator
) -> tuple[Utterance, dict[str, Any]]:
    """Transform an utterance without a constant offset."""
    facts: dict[str, Any] = {"backend": "WORLD (pyworld)", "recipe": recipe.changes()}
    length = round(len(utterance.samples) / recipe.rate)
    if not utterance.samples.any():
        return utterance.replace(samples=np.zeros(length, np.float32)), {**facts, "silent": True}
    working = working_rate(utterance)
    samples = utterance.resample(working).samples.astype(np.float64)
    least = round(LEAST_SECONDS * working)
    speech = analyse(np.pad(samples, (0, max(0, least - len(samples)))), working)
    voiced = speech.f0 > 0
    facts["f0_before"] = round(float(np.median(speech.f0[voiced])), 1) if voiced.any() else None
    changed = _warp_time(_change(speech, recipe, rng), recipe.rate)
    made = synthesise(changed)[: round(len(samples) / recipe.rate)]
    made_again = utterance.replace(samples=made.astype(np.float32), sample_rate=working)
    resampled = made_again.resample(utterance.sample_rate).samples[:length]
    final = np.pad(resampled, (0, length - len(resampled)))  # resampling may be a sample off
    levelled, gains = match_level(utterance.samples, final, utterance.sample_rate, recipe.level)
    return utterance.replace(samples=levelled), {**facts, **gains, "working_rate": working}


def _change(speech: WorldSpeech, recipe: ProsodyRecipe, rng: np.random.Generator) -> WorldSpeech:
    """Apply everything but tempo and level."""
    f0 = _change_f0(speech, recipe, rng)
    envelope, aperiodicity = speech.envelope, speech.aperiodicity
    freqs = np.linspace(0, speech.rate / 2, envelope.shape[1])
    if recipe.formant_ratio != 1.0:
        envelope = warp_frequency(envelope, freqs, recipe.formant_ratio)
    gain = _tilt_gain(freqs, recipe.tilt)[None, :]
    if recipe.aperiodicity > 0:
        aperiodicity = aperiodicity + (1 - aperiodicity) * recipe.aperiodicity
    if recipe.aperiodicity >= 1:
        f0 = np.zeros_like(f0)
    return replace(speech, f0=f0, envelope=envelope * gain, aperiodicity=aperiodicity)


def _change_f0(speech: WorldSpeech, recipe: ProsodyRecipe, rng: np.random.Generator) -> Array:
    """Return the new F0 contour in Hz; unvoiced frames stay 0."""
    voiced = speech.f0 > 0
    if not voiced.any():
        return speech.f0
    octaves = np.log2(np.where(voiced, speech.f0, 1.0))
    middle = np.log2(recipe.f0_middle) if recipe.f0_middle else np.median(octaves[voiced])
    octaves = middle + (octaves - middle) * recipe.f0_range + np.log2(recipe.f0_ratio)
    times: Array = np.arange(len(voiced), dtype=np.float64) * STEP
    wave = np.sin(2 * np.pi * (recipe.vibrato_hz * times + rng.random()))
    cents = recipe.vibrato_cents * wave + recipe.jitter_cents * rng.standard_normal(len(voiced))
    power = speech.envelope.sum(axis=1)
    spoken = np.flatnonzero(voiced & (power > power.max() * 10 ** (-SPOKEN_DB / 10)))
    if len(spoken):
        cents = cents + _inflection(spoken, times, recipe) + _final_rise(spoken, times, recipe)
    return np.where(voiced, np.clip(2 ** (octaves + cents / 1200), 40.0, 1200.0), 0.0)


def _inflection(spoken: npt.NDArray[np.intp], times: Array, recipe: ProsodyRecipe) -> Array:
    """Return the glide in cents that opens each phrase."""
    out = np.zeros(len(times))
    if not any(recipe.inflection_cents):
        return out
    gaps = np.diff(spoken, prepend=-(10**9)) * STEP
    points = np.array([0.0, 0.5, 1.0]) * recipe.inflection_seconds
    for start in spoken[gaps >= PHRASE_GAP]:
        since = times - times[start]
        inside = (since >= 0) & (since < recipe.inflection_seconds)
        out[inside] = np.interp(since[inside], points, recipe.inflection_cents)
    return out


def _final_rise(spoken: npt.NDArray[np.intp], times: Array, recipe: ProsodyRecipe) -> Array:
    """Return the rise in cents up to the last voiced frame."""
    begin = times[spoken[-1]] - recipe.final_seconds
    share = np.clip((times - begin) / recipe.final_seconds, 0.0, 1.0)
    return np.asarray(100.0 * recipe.final_rise * share)


def _tilt_gain(freqs: Array, tilt: float) -> Array:
    """Return power gains that add ``tilt`` dB per octave around 1 kHz."""
    octaves = np.log2(np.clip(freqs, *TILT_BAND) / TILT_PIVOT)
    return np.asarray(10 ** (tilt * octaves / 10))


def _warp_time(speech: WorldSpeech, rate: float) -> WorldSpeech:
    """Resample the frames so that they last ``1 / rate`` as long."""
    if rate == 1.0:
        return speech
    count = len(speech.f0)
    where = np.minimum(np.arange(max(2, round(count / rate))) * rate, count - 1)
    low = np.minimum(where.astype(int), count - 2)
    part = (where - low)[:, None]
    nearest = np.round(where).astype(int)
    left, right = speech.f0[low], speech.f0[low + 1]
    both = (left > 0) & (right > 0)
    f0 = np.where(both, left + (right - left) * part[:, 0], speech.f0[nearest])
    logs = np.log(speech.envelope)
    return replace(
        speech,
        f0=f0,
        envelope=np.exp(logs[low] * (1 - part) + logs[low + 1] * part),
        aperiodicity=speech.aperiodicity[nearest],
    )


def match_level(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], rate: int, level: float
) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
    """Return ``after`` at the active level of ``before`` and ``level`` dB more, and what was done.

    The peak is held to 0.97 or that of ``before``, whichever is higher.

    Args:
        before: samples whose level is matched, full scale 1.
        after: samples to bring to it.
        rate: of both, in Hz.
        level: dB to add.

    Returns:
        The samples, and in dB the level added (``level_db``) and what the peak took of it
        (``limited_db``).
    """
    own, target = _active_power(after, rate), _active_power(before, rate)
    if own <= 0 or target <= 0:
        return after, {"level_db": 0.0, "limited_db": 0.0}
    wanted = np.sqrt(target / own) * 10 ** (level / 20)
    allowed = max(PEAK, float(np.abs(before).max()))
    held = min(1.0, allowed / (float(np.abs(after).max()) * wanted))
    facts = {"level_db": level, "limited_db": round(20 * float(np.log10(held)), 2)}
    return (after * np.float32(wanted * held)).astype(np.float32), facts


def _active_power(samples: npt.NDArray[np.float32], rate: int) -> float:
    """Return the mean power of 20 ms frames within 25 dB of the loudest."""
    size = max(1, round(0.02 * rate))
    count = max(1, len(samples) // size)
    frames = np.asarray(samples[: count * size], dtype=np.float64)
    frames = np.pad(frames, (0, count * size - len(frames))).reshape(count, size)
    power = (frames**2).mean(axis=1)
    return float(power[power >= power.max() * 10**-2.5].mean())
