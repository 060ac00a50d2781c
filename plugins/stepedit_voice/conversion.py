"""The voice edit by signal processing: pitch, vocal tract and sounds of another recording.

Nearest neighbours stand in for a taught model, as in kNN-VC (Baas, van Niekerk & Kamper 2023),
with cepstra in place of learned features: each frame of the source is drawn towards the mean
of those frames of the target that sound most alike, once both speakers' pitch, vocal tract and
mean spectrum are alike. WORLD takes speech apart and puts it together again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import KDTree

from stepedit_core import StepeditError, Utterance
from stepedit_core.dsp.loudness import active_level, limited_at_level
from stepedit_core.dsp.offset import around_offset, without_offset
from stepedit_core.dsp.world import WorldSpeech, analyse, synthesise, warp_frequency

__all__ = ["NO_VOICE", "RATE", "convert", "hears_voice"]

RATE = 24_000
NO_VOICE = "no voice is heard here, and so none that could become another"
SHARE = 0.5
"""How far a frame goes to what its neighbours sound like; beyond, words are lost fast."""
NEIGHBOURS = 40
LEAST_FRAMES = 30
"""Voiced, or unvoiced, frames of the target from which neighbours are sought."""
_TRACT = np.linspace(0.84, 1.19, 36)
"""Factors on the frequencies of the vocal tract, about those between women and men."""
_TRACT_BAND = (200.0, 5000.0)
_TRACT_OF_PITCH = 0.18
"""Octaves by which formants usually move with one of pitch: women's are about 15 % higher than
men's, and their voices about an octave."""
_DEAR = 5.0
"""Cost of another size of the vocal tract than pitch lets expect, per squared natural logarithm:
mean spectra of a few seconds say other words, and alone name sizes that no speaker has."""
_RANGE = (0.6, 1.6)
"""Bounds of the factor on the range of pitch."""
_CEPSTRA = 19
_LAG = 2
"""Frames on either side that tell sounds apart, too: 10 ms."""
_SPOKEN_DB = 40.0
_LEAST_SECONDS = 0.5
_ROWS = 256
"""Frames whose neighbours are held at once."""
_FLOOR = 1e-12
_CEILING = 0.97

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Voice:
    """A speaker's speech, and what is usual in it.

    Attributes:
        speech: WORLD's parts.
        logs: natural log of amplitudes, ``(frames, bins)``.
        spoken: frames with speech.
        pitch: median and deviation of the log2 of Hz; None without voice.
        mean: mean log amplitude of the louder voiced frames, ``(bins,)``.
    """

    speech: WorldSpeech
    logs: Array
    spoken: npt.NDArray[np.bool_]
    pitch: tuple[float, float] | None
    mean: Array


def convert(source: Utterance, target: Utterance) -> tuple[Utterance, dict[str, Any]]:
    """Return the source in the voice of the target; length, level and words stay.

    Args:
        source: what is said.
        target: a recording of the voice.

    Returns:
        The utterance, and facts as JSON data: ``pitch_octaves`` and ``vocal_tract`` (a factor);
        ``notes`` where the source has no voice and stays as it is.

    Raises:
        StepeditError: if no voice is heard in the target.
    """
    voice = _voice(without_offset(target))
    if voice.pitch is None:
        raise StepeditError("no voice is heard in the recording of the voice; give another")
    return around_offset(source, lambda flat: _converted(flat, voice))


def hears_voice(utterance: Utterance) -> bool:
    """Return whether there is a voice in a recording: 150 ms with a pitch or more."""
    return _voice(without_offset(utterance)).pitch is not None


def _converted(source: Utterance, target: _Voice) -> tuple[Utterance, dict[str, Any]]:
    own = _voice(source)
    facts: dict[str, Any] = {"backend": "WORLD (pyworld), nearest neighbours"}
    if own.pitch is None or target.pitch is None:
        return source, {**facts, "notes": [NO_VOICE]}
    tract = _tract(own, target)
    warped = 0.5 * np.log(
        np.maximum(warp_frequency(np.exp(2 * own.logs), own.speech.frequencies, tract), _FLOOR)
    )
    louder = _louder_voiced(own.speech, own.spoken)
    alike = warped + _smooth(target.mean - warped[louder].mean(axis=0))
    nearer = _towards_neighbours(alike, own, target)
    spoken = replace(own.speech, f0=_pitch(own, target.pitch), envelope=np.exp(2 * nearer))
    made = synthesise(spoken)
    wave = Utterance(made.astype(np.float32), RATE)
    samples = wave.resample(source.sample_rate).samples[: len(source.samples)]
    samples = np.pad(samples, (0, len(source.samples) - len(samples)))
    shift = target.pitch[0] - own.pitch[0]
    facts |= {"pitch_octaves": round(shift, 3), "vocal_tract": round(tract, 3)}
    return _levelled(source, source.replace(samples=samples)), facts


def _levelled(source: Utterance, made: Utterance) -> Utterance:
    """Return what was made at the source's active level, its peaks limited.

    A deep voice has higher peaks than a high one of the same level.
    """
    wanted, level = active_level(source), active_level(made)
    if wanted is None or level is None:
        return made
    ceiling = max(_CEILING, float(np.abs(source.samples).max()))
    gain = 10 ** ((wanted - level) / 20)
    return made.replace(samples=limited_at_level(made, gain, ceiling, wanted))


def _voice(utterance: Utterance) -> _Voice:
    """Measure a voice."""
    samples = utterance.resample(RATE).samples.astype(np.float64)
    least = round(_LEAST_SECONDS * RATE)
    speech = analyse(np.pad(samples, (0, max(0, least - len(samples)))), RATE)
    logs = 0.5 * np.log(np.maximum(speech.envelope, _FLOOR))
    power = speech.envelope.sum(axis=1)
    spoken = power > power.max() * 10 ** (-_SPOKEN_DB / 10)
    voiced = speech.f0 > 0
    if voiced.sum() < LEAST_FRAMES:
        return _Voice(speech, logs, spoken, None, logs.mean(axis=0))
    octaves = np.log2(speech.f0[voiced])
    mean = logs[_louder_voiced(speech, spoken)].mean(axis=0)
    return _Voice(speech, logs, spoken, (float(np.median(octaves)), float(octaves.std())), mean)


def _louder_voiced(speech: WorldSpeech, spoken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the louder half of the voiced frames."""
    power, voiced = speech.envelope.sum(axis=1), speech.f0 > 0
    chosen = voiced & spoken & (power >= np.median(power[voiced]))
    return chosen if chosen.any() else voiced


def _smooth(curve: Array) -> Array:
    """Smooth a spectrum over about 200 Hz."""
    return np.asarray(gaussian_filter1d(curve, 8))


def _tract(own: _Voice, target: _Voice) -> float:
    """Return the factor on frequencies by which mean spectra look most alike, tilt aside.

    A factor that does not fit the difference in pitch has to be much better to be taken.
    """
    assert own.pitch is not None and target.pitch is not None
    expected = _TRACT_OF_PITCH * np.log(2) * (target.pitch[0] - own.pitch[0])
    expected = np.clip(expected, np.log(_TRACT[0]), np.log(_TRACT[-1]))
    freqs = own.speech.frequencies
    band = (freqs > _TRACT_BAND[0]) & (freqs < _TRACT_BAND[1])
    octaves = np.log(freqs[band])
    mine, wanted = _smooth(own.mean), _smooth(target.mean)

    def cost(factor: float) -> float:
        gap = (np.interp(freqs / factor, freqs, mine) - wanted)[band]
        gap = gap - np.polyval(np.polyfit(octaves, gap, 1), octaves)
        return float(np.mean(gap**2) + _DEAR * (np.log(factor) - expected) ** 2)

    return float(min(_TRACT, key=cost))


def _pitch(own: _Voice, wanted: tuple[float, float]) -> Array:
    """Return the source's melody at the target's median and range."""
    assert own.pitch is not None
    voiced = own.speech.f0 > 0
    octaves = np.log2(np.where(voiced, own.speech.f0, 1.0))
    factor = float(np.clip(wanted[1] / max(own.pitch[1], 1e-3), *_RANGE))
    moved = wanted[0] + (octaves - own.pitch[0]) * factor
    return np.where(voiced, np.clip(2**moved, 40.0, 1200.0), 0.0)


def _towards_neighbours(alike: Array, own: _Voice, target: _Voice) -> Array:
    """Draw frames towards the target's frames that sound most alike; their level stays."""
    here = _features(alike, own.spoken)
    there = _features(target.logs, target.spoken)
    shapes = target.logs - target.logs.mean(axis=1, keepdims=True)
    change = np.zeros_like(alike)
    for voiced in (True, False):
        mine = np.flatnonzero(own.spoken & ((own.speech.f0 > 0) == voiced))
        theirs = np.flatnonzero(target.spoken & ((target.speech.f0 > 0) == voiced))
        if len(theirs) < LEAST_FRAMES or not len(mine):
            continue
        tree, count = KDTree(there[theirs]), min(NEIGHBOURS, len(theirs))
        for rows in np.array_split(mine, -(-len(mine) // _ROWS)):
            far, near = tree.query(here[rows], k=count)
            weights = np.exp(far[:, :1] - far)
            weights /= weights.sum(axis=1, keepdims=True)
            shape = np.einsum("fk,fkb->fb", weights, shapes[theirs[near]])
            level = alike[rows].mean(axis=1, keepdims=True)
            change[rows] = SHARE * (shape + level - alike[rows])
    return np.asarray(alike + gaussian_filter1d(change, 2.0, axis=0))


def _features(logs: Array, spoken: npt.NDArray[np.bool_]) -> Array:
    """Return mel cepstra with those a little before and after, of mean 0 and deviation 1."""
    import pyworld

    power = np.ascontiguousarray(np.maximum(np.exp(2 * logs), _FLOOR))
    cepstra = pyworld.code_spectral_envelope(power, RATE, _CEPSTRA + 1)[:, 1:]
    heard = cepstra[spoken]
    plain = (cepstra - heard.mean(axis=0)) / (heard.std(axis=0) + 1e-6)
    before, after = np.roll(plain, _LAG, axis=0), np.roll(plain, -_LAG, axis=0)
    return np.concatenate([before, plain, after], axis=1)
