"""What the dsp route does for each style, with the studies that the sizes come from.

Some styles depend on the voice: a man needs more to sound like a child than a woman does. A
recipe is therefore a function of the median F0 in Hz, or None where there is no voice.

FG99: Fitch & Giedd 1999, JASA 106 (vocal tract length by age and sex). GS88: Gramming et al.
1988, J. Voice 2. JL03: Juslin & Laukka 2003, Psychol. Bull. 129. LPN99: Lee, Potamianos &
Narayanan 1999, JASA 105 (F0 and formants of children). Li01: Linville 2001, Vocal Aging. NS04:
Nordenberg & Sundberg 2004, Logoped. Phoniatr. Vocol. 29. TE00: Traunmueller & Eriksson 2000,
JASA 107.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stepedit_core.world import ProsodyRecipe

__all__ = ["RATES", "RECIPES", "Sourced", "reason_without"]

MAN_BELOW = 165.0
"""Median F0 in Hz between men's and women's voices."""
LOWEST_RATIO, HIGHEST_RATIO = 1.0, 2.2


@dataclass(frozen=True)
class Sourced:
    """A recipe and what it rests on."""

    recipe: Callable[[float | None], ProsodyRecipe]
    source: str


def semitones(count: float) -> float:
    """Return the frequency ratio of an interval."""
    return float(2 ** (count / 12))


def _fixed(recipe: ProsodyRecipe) -> Callable[[float | None], ProsodyRecipe]:
    return lambda f0: recipe


def _younger(
    target: float, tract: Mapping[float, float]
) -> Callable[[float | None], ProsodyRecipe]:
    """Return a recipe that leads to an F0 in Hz, and to a vocal tract by the voice's own F0.

    Args:
        target: median F0 to reach; a voice that is higher already stays as it is.
        tract: median F0 of the input to the factor on formants, ascending.
    """

    def recipe(f0: float | None) -> ProsodyRecipe:
        if f0 is None:
            return ProsodyRecipe(formant_ratio=min(tract.values()))
        ratio = float(np.clip(target / f0, LOWEST_RATIO, HIGHEST_RATIO))
        formants = float(np.interp(np.log(f0), np.log(list(tract)), list(tract.values())))
        return ProsodyRecipe(f0_ratio=ratio, formant_ratio=formants)

    return recipe


def _older(f0: float | None) -> ProsodyRecipe:
    """Men's F0 rises with age, women's falls; both become slower, rougher and breathier."""
    up = f0 is not None and f0 < MAN_BELOW
    return ProsodyRecipe(
        f0_ratio=semitones(2.0 if up else -2.0),
        jitter_cents=35.0,
        vibrato_cents=20.0,
        vibrato_hz=5.0,
        aperiodicity=0.2,
        rate=RATES["older"],
    )


RATES: Mapping[str, float] = {"older": 0.83, "gentle": 0.88, "loudly": 0.96, "shout": 0.95}
"""Style to its tempo, where it changes it."""

RECIPES: Mapping[str, Sourced] = {
    "whisper": Sourced(
        _fixed(ProsodyRecipe(aperiodicity=1.0, tilt=3.0, level=-10.0)),
        "no voicing at all; TE00: flatter spectrum and lower level than phonated speech",
    ),
    "child": Sourced(
        _younger(265.0, {120.0: 1.25, 210.0: 1.16, 265.0: 1.0}),
        "LPN99: F0 of 7-year-olds about 265 Hz; FG99: vocal tract of men 15.0 cm, of women "
        "13.9 cm, of children of 7 about 12 cm",
    ),
    "girl": Sourced(
        _younger(240.0, {120.0: 1.17, 210.0: 1.05, 240.0: 1.0}),
        "LPN99: F0 of girls of 12 about 240 Hz, formants 5 % above women's and 17 % above men's",
    ),
    "older": Sourced(
        _older,
        "Li01: F0 of men up and of women down by about 2 semitones, jitter, tremor of 5 Hz, "
        "breathiness, tempo down by 15 to 20 %",
    ),
    "loudly": Sourced(
        _fixed(ProsodyRecipe(f0_ratio=semitones(3), tilt=1.6, rate=RATES["loudly"], level=8.0)),
        "8 dB of vocal effort; GS88: 0.2 to 0.6 semitones per dB; NS04: 0.2 dB per octave and "
        "dB; TE00: longer vowels",
    ),
    "shout": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(7),
                formant_ratio=1.04,
                tilt=2.8,
                rate=RATES["shout"],
                level=14.0,
            )
        ),
        "14 dB of vocal effort by the same; TE00: F0 doubles over 30 dB, F1 rises, range in "
        "semitones stays",
    ),
    "murmur": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(-2), f0_range=0.7, tilt=-1.6, aperiodicity=0.25, level=-8.0
            )
        ),
        "8 dB less vocal effort: GS88, NS04, TE00; breathiness: our choice",
    ),
    "gentle": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(-1), f0_range=0.8, tilt=-0.9, rate=RATES["gentle"], level=-4.0
            )
        ),
        "JL03: tenderness is slow, soft, low, even and dark; sizes as 4 dB less vocal effort",
    ),
    "deeply": Sourced(
        _fixed(ProsodyRecipe(f0_ratio=semitones(-3), formant_ratio=0.95)),
        "Feinberg et al. 2005, Anim. Behav. 69: F0 lowered by 20 Hz and a longer vocal tract",
    ),
}
"""Style to its recipe."""


def reason_without(style: str) -> str:
    """Return why a style has no recipe."""
    if style == "remove":
        return "what to take away depends on the style that is there"
    if style == "roar":
        return "its harshness lies in subharmonics, which a vocoder does not make"
    return "it is a manner of acting, for which no published study gives sizes"
