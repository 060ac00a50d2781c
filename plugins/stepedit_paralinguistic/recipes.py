"""Recipes of non-verbal sounds, from published descriptions.

A sound is a list of segments; each has a pitch glide, a voiced and a breathy level, and glides
between vowels. Sources stand at each recipe and were read as abstracts, other ones where it says
so; what they leave open is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["OFF", "RECIPES", "Segment"]

OFF = -90.0
"""Level of what is not there, in dB."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a sound.

    Attributes:
        seconds: its length.
        vowels: where the vocal tract goes from and to.
        f0: pitch at its start and end, as multiples of the speaker's median.
        voiced: level of voicing at start and end, in dB of the speaker's active speech.
        breath: level of breath noise at start and end, in dB of the same.
    """

    seconds: float
    vowels: tuple[str, str] = ("mean", "mean")
    f0: tuple[float, float] = (1.0, 1.0)
    voiced: tuple[float, float] = (OFF, OFF)
    breath: tuple[float, float] = (OFF, OFF)


Recipe = Callable[[np.random.Generator], list[Segment]]


def _laughter(
    notes: int, period: float, pitch: tuple[float, float], level: float, vowel: str
) -> Recipe:
    """Return a bout of /h/-vowel notes.

    Notes of 75 ms every 210 to 218 ms, falling in level over the bout (Provine & Yong 1991; here
    they last about 0.1 s); no articulation, very variable pitch (Bachorowski, Smoski & Owren
    2001), on average twice that of speech in women (news release on that paper); here it stays
    lower, within reach of the speaker's own speech. Falling pitch and central vowels are cited
    from general knowledge of the literature.
    """

    def make(rng: np.random.Generator) -> list[Segment]:
        out = [Segment(0.09, (vowel, vowel), breath=(level - 40, level - 15))]
        for note in range(notes):
            along = note / max(1, notes - 1)
            top = pitch[0] * (pitch[1] / pitch[0]) ** along * rng.uniform(0.97, 1.03)
            loud = level - 6.0 * along + rng.uniform(-1, 1)
            length = period * rng.uniform(0.94, 1.06)
            voiced = min(0.11, 0.45 * length)
            sides = (vowel, vowel)
            out += [
                Segment(0.02, sides, (top * 0.94, top), (loud - 14, loud), (loud - 18, loud - 22)),
                Segment(voiced, sides, (top, top * 0.87), (loud, loud - 5), (loud - 22, loud - 19)),
                Segment(
                    0.02, sides, (top * 0.87, top * 0.8), (loud - 5, OFF), (loud - 20, loud - 18)
                ),
                Segment(length - voiced - 0.04, sides, breath=(loud - 18, loud - 24)),
            ]
        return [*out, Segment(0.1, (vowel, vowel), breath=(level - 26, level - 50))]

    return make


def _inhale(rng: np.random.Generator) -> list[Segment]:
    """Return an audible in-breath: noise that swells and stops early, 18 dB below speech.

    Weak resonances, most like a central vowel (Werner et al. 2023, JSLHR); length and level ours.
    """
    length = rng.uniform(0.38, 0.46)
    neutral = ("uh", "uh")
    return [
        Segment(0.7 * length, neutral, breath=(-38, -18)),
        Segment(0.2 * length, neutral, breath=(-18, -18)),
        Segment(0.1 * length, neutral, breath=(-18, -40)),
    ]


def _exhale(rng: np.random.Generator) -> list[Segment]:
    """Return an out-breath: quick rise, long decay, softer than the in-breath."""
    length = rng.uniform(0.5, 0.62)
    return [
        Segment(0.1, ("uh", "uh"), breath=(-40, -18)),
        Segment(length - 0.1, ("uh", "mean"), breath=(-18, -42)),
    ]


def _sigh(rng: np.random.Generator) -> list[Segment]:
    """Return an in-breath and a long breathy fall of pitch.

    A sigh is a breath of at least twice the mean volume (Wilhelm, Trabert & Roth 2001, as quoted
    in a thesis on sighs, scriptiebank.be 2016), so both halves are longer and louder than in
    ``breath``; that its voicing falls and fades is our reading of labelled sighs, not a
    published measurement.
    """
    return [
        Segment(0.3, ("uh", "uh"), breath=(-36, -17)),
        Segment(0.05, ("uh", "uh"), breath=(-17, -40)),
        Segment(0.08, ("a", "a")),
        Segment(0.1, ("a", "a"), (1.12, 1.1), (-22, -8), (-26, -14)),
        Segment(0.45, ("a", "uh"), (1.1, 0.85), (-8, -14), (-14, -15)),
        Segment(rng.uniform(0.3, 0.4), ("uh", "uh"), (0.85, 0.7), (-14, OFF), (-15, -42)),
    ]


def _cough(rng: np.random.Generator) -> list[Segment]:
    """Return two coughs: burst, noisy phase, voiced end (three phases: Van Hirtum 2002)."""
    out = []
    for loud in (1.0, -3.0):
        out += [
            Segment(0.012, ("uh", "uh"), breath=(loud - 30, loud + 3)),
            Segment(0.035, ("uh", "a"), breath=(loud + 3, loud - 4)),
            Segment(rng.uniform(0.11, 0.15), ("a", "uh"), breath=(loud - 4, loud - 16)),
            Segment(0.07, ("uh", "uh"), (1.1, 0.8), (loud - 14, loud - 9), (loud - 16, loud - 18)),
            Segment(0.04, ("uh", "uh"), (0.8, 0.7), (loud - 9, OFF), (loud - 18, OFF)),
            Segment(0.12),
        ]
    return out[:-1]


def _hum(*parts: tuple[float, str, str, float, float]) -> Recipe:
    """Return a voiced interjection from (seconds, vowel, vowel, f0, f0) parts.

    Level and fades are a short vowel's in speech; a breath at -33 dB goes with it.
    """

    def make(rng: np.random.Generator) -> list[Segment]:
        shift, stretch = rng.uniform(0.97, 1.03), rng.uniform(0.94, 1.06)
        out: list[Segment] = []
        for number, (seconds, start, end, low, high) in enumerate(parts):
            f0 = (low * shift, high * shift)
            level = -2.0 - 1.5 * number
            out.append(
                Segment(seconds * stretch, (start, end), f0, (level, level - 1.5), (-33, -33))
            )
        first, last = out[0], out[-1]
        rise = Segment(
            0.035, (first.vowels[0],) * 2, (first.f0[0],) * 2, (-30, first.voiced[0]), (-50, -33)
        )
        fall = Segment(
            0.09,
            (last.vowels[1],) * 2,
            (last.f0[1], last.f0[1] * 0.96),
            (last.voiced[1], -45),
            (-33, -50),
        )
        return [rise, *out, fall]

    return make


def _breath(rng: np.random.Generator) -> list[Segment]:
    """Return an in-breath and an out-breath."""
    return [*_inhale(rng), Segment(0.07), *_exhale(rng)]


RECIPES: Mapping[str, Recipe] = {
    "laugh": _laughter(5, 0.205, (1.6, 1.15), 0.0, "uh"),
    "chuckle": _laughter(3, 0.19, (1.2, 0.95), -6.0, "uh"),
    "giggle": _laughter(6, 0.155, (1.95, 1.6), -3.0, "e"),
    "inhale": _inhale,
    "exhale": _exhale,
    "breath": _breath,
    "sigh": _sigh,
    "cough": _cough,
    # Filled pauses: a central vowel, then a nasal; pitch between the last peak and the speaker's
    # baseline (Shriberg & Lickley 1993); the gentle fall is ours.
    "uhm": _hum(
        (0.2, "uh", "uh", 0.95, 0.9), (0.06, "uh", "m", 0.9, 0.88), (0.18, "m", "m", 0.88, 0.84)
    ),
    # Mandarin interjections: rising for questions, falling for confirmation, rise and fall for
    # surprise (after Chao 1968, cited from general knowledge); extents are ours.
    "Confirmation-en": _hum((0.1, "m", "m", 1.12, 1.05), (0.2, "m", "m", 1.05, 0.82)),
    "Question-en": _hum((0.12, "m", "m", 0.98, 0.95), (0.2, "m", "m", 0.95, 1.4)),
    "Question-ah": _hum((0.1, "a", "a", 0.98, 0.96), (0.22, "a", "a", 0.96, 1.45)),
    "Question-oh": _hum((0.1, "o", "o", 0.98, 0.96), (0.22, "o", "u", 0.96, 1.45)),
    "Question-ei": _hum((0.1, "e", "e", 0.98, 0.96), (0.22, "e", "i", 0.96, 1.45)),
    "Question-yi": _hum((0.1, "i", "i", 0.98, 0.96), (0.22, "i", "i", 0.96, 1.45)),
    "Surprise-ah": _hum((0.14, "a", "a", 1.15, 1.55), (0.28, "a", "uh", 1.55, 0.95)),
    "Surprise-oh": _hum((0.14, "o", "o", 1.15, 1.5), (0.28, "o", "u", 1.5, 0.95)),
    "Surprise-wa": _hum((0.1, "u", "a", 1.1, 1.5), (0.32, "a", "a", 1.5, 0.95)),
    "Surprise-yo": _hum((0.1, "i", "o", 1.1, 1.5), (0.3, "o", "o", 1.5, 0.95)),
}
