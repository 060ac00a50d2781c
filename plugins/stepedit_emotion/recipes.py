"""What the dsp route does for each emotion, with the studies that the sizes come from.

BS96: Banse & Scherer 1996, J. Pers. Soc. Psychol. 70. BS00: Burkhardt & Sendlmeier 2000, ISCA
Workshop on Speech and Emotion. Ca90: Cahn 1990, MIT. JL03: Juslin & Laukka 2003, Psychol.
Bull. 129. KT92: Kitahara & Tohkura 1992. MA95: Murray & Arnott 1995. Mo98: Mozziconacci 1998,
thesis, Eindhoven. Ra18: Rachman et al. 2018, Behav. Res. Methods 50 (DAVID). Numbers of BS00,
Ca90 and MA95 as tabulated by Schroeder 2001, Eurospeech; of KT92 by Mo98.

Optima of synthesis tests are exaggerated (fear at +150 % F0), so that sizes lie between them
and what actors do. Tilt follows the level that the studies give, about 0.2 dB per octave for
each dB (Nordenberg & Sundberg 2004).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepedit_core.world import ProsodyRecipe

__all__ = ["NO_RECIPE", "RECIPES", "Sourced"]


def semitones(count: float) -> float:
    """Return the frequency ratio of an interval."""
    return float(2 ** (count / 12))


@dataclass(frozen=True)
class Sourced:
    """A recipe and what it rests on."""

    recipe: ProsodyRecipe
    source: str


_GLIDE = (-200.0, 140.0, 0.0)
"""Cents of the glide that opens a phrase, after DAVID's inflection (Ra18)."""

RECIPES: Mapping[str, Sourced] = {
    "happy": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(5),
            f0_range=1.6,
            formant_ratio=1.03,
            tilt=0.6,
            inflection_cents=_GLIDE,
            rate=1.12,
            level=3.0,
        ),
        "BS00: F0 +50 %, range +100 %, tempo +30 %, F1 and F2 +10 %; KT92: +30 Hz, range x1.4; "
        "Mo98: duration 83 %; inflection after Ra18",
    ),
    "angry": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(4), f0_range=1.6, tilt=1.8, jitter_cents=20.0, rate=1.12, level=6.0
        ),
        "KT92: +30 Hz; Mo98: range x2, duration 79 %; MA95: +6 dB, laryngealised; BS96, JL03: "
        "much high-frequency energy",
    ),
    "sad": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(-1.5),
            f0_range=0.6,
            tilt=-1.2,
            aperiodicity=0.25,
            rate=0.8,
            level=-5.0,
        ),
        "KT92: range x0.6; Mo98: duration 129 %; BS96: F0 -0.3 z; Ca90: breathy, soft, dull",
    ),
    "fear": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(6),
            f0_range=0.9,
            vibrato_cents=40.0,
            vibrato_hz=8.5,
            inflection_cents=_GLIDE,
            rate=1.12,
        ),
        "BS96: panic F0 +1.2 z; BS00: F0 +150 %, tempo +30 %; Mo98: duration 89 %; JL03: little "
        "variability; vibrato and inflection after Ra18",
    ),
    "surprised": Sourced(
        ProsodyRecipe(f0_ratio=semitones(6), f0_range=1.8, final_rise=8.0, rate=1.04, level=2.0),
        "Ca90: range +8, rising contour +10, tempo +4, loudness +5 of 10; Pell et al. 2009, "
        "J. Phonetics 37: highest F0 and widest range",
    ),
    "excited": Sourced(
        ProsodyRecipe(f0_ratio=semitones(5), f0_range=1.6, tilt=1.2, rate=1.25, level=5.0),
        "BS96: elation F0 +1.2 z, energy up; BS00: tempo +30 %",
    ),
    "depressed": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(-1.5),
            f0_range=0.55,
            tilt=-1.0,
            aperiodicity=0.25,
            rate=0.76,
            level=-4.0,
        ),
        "Cummins et al. 2015, Speech Comm. 71: narrow range, slow, soft, breathy; otherwise sad",
    ),
}
"""Emotion to its recipe."""

_WORDS = "carried by words, laughter and timing, of which signal processing knows nothing"
_NO_STUDY = "no published study gives sizes for it"
NO_RECIPE: Mapping[str, str] = {
    "humour": _WORDS,
    "confusion": _WORDS,
    "disgusted": "even actors are recognised in 15 % of cases by prosody alone (BS96)",
    "empathy": _NO_STUDY,
    "embarrass": "even actors' shame is recognised in 22 % of cases by prosody alone (BS96)",
    "coldness": _NO_STUDY,
    "admiration": _NO_STUDY,
    "remove": "what to take away depends on the emotion that is there",
}
"""Emotion without a recipe to the reason."""
