"""What the dsp route does for each style, with the studies that the sizes come from.

Some styles depend on the voice: a man needs more to sound like a child than a woman does. A
recipe is therefore a function of the median F0 in Hz, or None where there is no voice.

AET96: Andersson, Eriksson & Traunmueller 1996, TMH-QPSR 2/1996. Fe05: Feinberg et al. 2005, Anim.
Behav. 69. FG99: Fitch & Giedd 1999, JASA 106 (vocal tract length by age and sex). GS88: Gramming
et al. 1988, J. Voice 2. Hi95: Hillenbrand et al. 1995, JASA 97. JL03: Juslin & Laukka 2003,
Psychol. Bull. 129. Li01: Linville 2001, Vocal Aging. NS04: Nordenberg & Sundberg 2004, Logoped.
Phoniatr. Vocol. 29. PB52: Peterson & Barney 1952, JASA 24. SWP87: Smith, Wasowicz & Preston 1987,
J. Speech Hear. Res. 30. St11: Stathopoulos et al. 2011, J. Speech Lang. Hear. Res. 54. TE00:
Traunmueller & Eriksson 2000, JASA 107. The sizes of the whisper stand in ``whispering``.

How far each was checked:
    at the abstract: AET96, Fe05, GS88 (as STL-QPSR 1/1987), NS04, SWP87, TE00;
    at others' reading notes (repository ctoth/Qlatt, folder papers): FG99, Hi95, PB52 (their
        tables), St11;
    not checked, cited from general knowledge of the literature: Li01, the cues that JL03 lists,
        the 20 Hz of Fe05.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stepedit_core.dsp.prosody import ProsodyRecipe
from stepedit_style.whispering import WhisperRecipe

__all__ = ["LEVELS", "RATES", "RECIPES", "RENDERED", "WHISPER", "Sourced", "reason_without"]

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
LEVELS: Mapping[str, float] = {
    "whisper": -10.0,
    "loudly": 8.0,
    "shout": 14.0,
    "murmur": -8.0,
    "gentle": -4.0,
    "roar": 14.0,
}
"""Style to its change of level in dB, where it changes it; a roar as a shout."""

RECIPES: Mapping[str, Sourced] = {
    "child": Sourced(
        _younger(264.0, {120.0: 1.34, 210.0: 1.18, 264.0: 1.0}),
        "PB52: F0 of children 264 Hz, formants x1.35 of men's, x1.16 of women's; FG99: vocal tract "
        "of men 155 mm, of women 139 mm, of children of 7 and 8 116 mm",
    ),
    "girl": Sourced(
        _younger(236.0, {120.0: 1.22, 210.0: 1.07, 236.0: 1.0}),
        "Hi95: F0 of children of 10 to 12 236 Hz, formants x1.25 of men's, x1.08 of women's; FG99: "
        "vocal tract at 11 and 12 130 mm, x1.20 and x1.07 shorter",
    ),
    "older": Sourced(
        _older,
        "St11: F0 of men up by about 2 semitones from 50 to 80 years, of women down, F0 less "
        "steady; SWP87: durations 20 to 25 % longer; Li01: jitter, tremor of 5 Hz, breathiness",
    ),
    "loudly": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(3), tilt=1.6, rate=RATES["loudly"], level=LEVELS["loudly"]
            )
        ),
        "8 dB of vocal effort; GS88: 0.2 to 0.6 semitones per dB; NS04: about 0.2 dB per octave "
        "and dB; AET96, TE00: longer vowels",
    ),
    "shout": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(7),
                formant_ratio=1.04,
                tilt=2.8,
                rate=RATES["shout"],
                level=LEVELS["shout"],
            )
        ),
        "14 dB of vocal effort by the same; AET96: F0 doubles over 30 dB, range in semitones "
        "stays; TE00: F1 rises",
    ),
    "murmur": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(-2),
                f0_range=0.7,
                tilt=-1.6,
                aperiodicity=0.25,
                level=LEVELS["murmur"],
            )
        ),
        "8 dB less vocal effort: GS88, NS04, TE00; breathiness: our choice",
    ),
    "gentle": Sourced(
        _fixed(
            ProsodyRecipe(
                f0_ratio=semitones(-1),
                f0_range=0.8,
                tilt=-0.9,
                rate=RATES["gentle"],
                level=LEVELS["gentle"],
            )
        ),
        "JL03: tenderness is slow, soft, low, even and dark; sizes as 4 dB less vocal effort",
    ),
    "deeply": Sourced(
        _fixed(ProsodyRecipe(f0_ratio=semitones(-3), formant_ratio=0.95)),
        "Fe05: a lower F0 (by 20 Hz, 3 semitones for a man of 125 Hz) and a longer vocal tract "
        "make men sound larger",
    ),
}
"""Style to its recipe for the vocoder."""
WHISPER = WhisperRecipe(level=LEVELS["whisper"])
"""The whisper, which needs no vocoder's voice."""
RENDERED: frozenset[str] = frozenset({*RECIPES, "whisper"})
"""The styles that signal processing can render."""


def reason_without(style: str) -> str:
    """Return why a style has no recipe."""
    if style == "remove":
        return "what to take away depends on the style that is there"
    if style == "roar":
        return "its harshness lies in subharmonics, which a vocoder does not make"
    return "it is a manner of acting, for which no published study gives sizes"
