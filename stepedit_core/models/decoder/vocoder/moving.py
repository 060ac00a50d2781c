"""Move the pitch, the level and the colour of what a harmonic-plus-noise vocoder speaks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from stepedit_core.models.decoder.prosody import (
    NEPER_DB,
    Prosody,
    Shift,
    Spoken,
    shift_of,
    tilt_gain,
)
from stepedit_core.models.decoder.vocoder.envelope import minimum_phase
from stepedit_core.models.decoder.vocoder.pitch import Pitch
from stepedit_core.models.tokenizer.features import MelConfig
from stepedit_core.models.tokenizer.mel_scale import mel_frequencies

__all__ = ["lacking", "mel_places", "moved_envelope", "moved_pitch", "points_of", "recoloured"]

VOICED = 0.5
"""Probability of voicing from which a point's pitch counts."""
LOWEST_HZ, HIGHEST_HZ = 50.0, 800.0
LEAST_GAIN = 1e-7
DULLED = 0.3
"""dB per octave by which speech comes out duller where its filters are drawn anew, as a mean of
seven recordings; it is given back."""


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)
def mel_places(config: MelConfig, device: torch.device) -> Tensor:
    """Return the centre frequencies of a mel's bins, Hz."""
    top = config.fmax or config.sampling_rate / 2
    edges = mel_frequencies(config.num_mels + 2, config.fmin, top)
    return torch.from_numpy(edges[1:-1]).float().to(device)


def points_of(frames: Tensor) -> Tensor:
    """Return which points of a transform belong to mel frames, ``(n,)`` to ``(2 * n + 1,)``."""
    points = torch.zeros(2 * len(frames) + 1, dtype=torch.bool, device=frames.device)
    points[:-1] |= frames.repeat_interleave(2)
    points[1:] |= frames.repeat_interleave(2)
    return points


def lacking(prosody: Prosody, mel: Tensor, pitch: Pitch, old: Pitch, places: Tensor) -> Shift:
    """Return what lacks of a label's shift in one utterance.

    Args:
        prosody: what it is to have, and where.
        mel: that was decoded, ``(bins, frames)``.
        pitch: of it, ``(1, 2 * frames + 1)``.
        old: pitch of the whole reference.
        places: centre frequencies of the mel's bins, Hz.
    """
    heard = points_of(prosody.frames) & (pitch.voicing[0] > VOICED)
    after = Spoken(pitch.hz[0, heard].log2(), mel[:, prosody.frames])
    reference = prosody.reference
    own = torch.ones(reference.shape[1], dtype=torch.bool, device=reference.device)
    if prosody.places is not None:
        at = prosody.places[prosody.frames]
        at = at[at.isfinite()].round().long().clamp(0, len(own) - 1)
        if len(at):
            own = torch.zeros_like(own)
            own[at] = True
    heard = points_of(own) & (old.voicing[0] > VOICED)
    before = Spoken(old.hz[0, heard].log2(), reference[:, own])
    return shift_of(before, after, prosody.usual, places)


def moved_pitch(hz: Tensor, shift: Shift, inside: Tensor, jitter: float, drawn: Tensor) -> Tensor:
    """Return pitches moved where they are inside.

    Args:
        hz: ``(n,)``.
        shift: by what.
        inside: where, bool ``(n,)``.
        jitter: cents.
        drawn: standard normal, ``(n,)``.
    """
    octaves = hz.log2()
    new = shift.middle + (octaves - shift.middle) * shift.range + shift.octaves
    new = new + drawn * (jitter / 1200)
    return torch.where(inside, torch.exp2(new).clamp(LOWEST_HZ, HIGHEST_HZ), hz)


@dataclass(frozen=True)
class _Harmonics:
    """Where the bins of a transform lie among the harmonics of a pitch.

    Only the harmonics are looked up in a filter: there are fewer of them than bins.

    Attributes:
        below: bin at or below each harmonic, int64 ``(harmonics, n)``.
        past: how far beyond it the harmonic lies, in bins, same shape.
        number: harmonic at or below each bin, int64 ``(bins, n)``.
        part: of the way to the next harmonic at which the bin lies, same shape.
    """

    below: Tensor
    past: Tensor
    number: Tensor
    part: Tensor

    @classmethod
    def of(cls, bins: int, hz: Tensor, bin_hz: float, formants: float) -> _Harmonics:
        """Find them; arguments as of `moved_envelope`."""
        last = bins - 1
        places = torch.arange(bins, device=hz.device)[:, None] * bin_hz / formants
        number = (places / hz).clamp_min(1.0)
        low = number.floor()
        # The first row is of no harmonic, so that rows count as harmonics do.
        count = int(low[-1].max()) + 2
        harmonic = torch.arange(count, device=hz.device, dtype=hz.dtype)[:, None]
        place = (harmonic * hz / bin_hz).clamp(max=last)
        below = place.floor().long().clamp(max=last - 1)
        return cls(below, place - below, low.long(), number - low)

    def through(self, magnitude: Tensor) -> Tensor:
        """Return the envelope through a filter at the harmonics, ``(bins, n)``."""
        logs = magnitude.clamp_min(LEAST_GAIN).log()
        heard = logs.gather(0, self.below) * (1 - self.past)
        heard = heard + logs.gather(0, self.below + 1) * self.past
        before, after = heard.gather(0, self.number), heard.gather(0, self.number + 1)
        return (before * (1 - self.part) + after * self.part).exp()


def moved_envelope(magnitude: Tensor, hz: Tensor, bin_hz: float, formants: float) -> Tensor:
    """Return an envelope through what a filter lets through at the harmonics of a pitch.

    Between the harmonics that it was made for a filter has valleys, which a voice of another
    pitch must not meet. CheapTrick (Morise 2015) smooths them away by the pitch, too.

    Args:
        magnitude: of the filter, ``(bins, n)``.
        hz: pitch that it was made for, ``(n,)``.
        bin_hz: Hz between bins.
        formants: factor on the frequencies of the envelope.

    Returns:
        ``(bins, n)``.
    """
    return _Harmonics.of(len(magnitude), hz, bin_hz, formants).through(magnitude)


def recoloured(
    harmonic: Tensor, noise: Tensor, pitch: Pitch, shift: Shift, prosody: Prosody, bin_hz: float
) -> tuple[Tensor, Tensor]:
    """Return the filters of one utterance for another pitch, level and colour.

    Args:
        harmonic: filter of the pulses, complex ``(bins, n)``.
        noise: filter of the noise, ``(bins, n)``.
        pitch: that they were made for.
        shift: what is to move.
        prosody: where, and what else.
        bin_hz: Hz between bins.
    """
    inside, formants = points_of(prosody.frames), prosody.usual.formants
    is_whole = bool(inside.all())
    hz = torch.arange(len(harmonic), device=harmonic.device) * bin_hz
    gain = ((tilt_gain(hz, shift.tilt + DULLED) + shift.level) / NEPER_DB).exp()[:, None]
    voice, breath, own = harmonic, noise, pitch.hz[0]
    if not is_whole:
        voice, breath, own = voice[:, inside], breath[:, inside], own[inside]
    places = _Harmonics.of(len(harmonic), own, bin_hz, formants)
    magnitude = voice.abs()
    envelope = places.through(magnitude) * gain
    # What the network adds to the minimum phase of its filters stays.
    turn = torch.angle(voice) - _phase(magnitude) + _phase(envelope)
    voice, breath = torch.polar(envelope, turn), places.through(breath) * gain
    if is_whole:
        return voice, breath
    harmonic, noise = harmonic.clone(), noise.clone()
    harmonic[:, inside], noise[:, inside] = voice, breath
    return harmonic, noise


def _phase(magnitude: Tensor) -> Tensor:
    """Return the minimum phase of magnitudes ``(bins, n)``."""
    return minimum_phase(magnitude.clamp_min(LEAST_GAIN).log()[None])[0]
