"""Prosody recipes of the dsp route for each emotion, with the studies that the sizes come from.

BS96: Banse & Scherer 1996, J. Pers. Soc. Psychol. 70. BS00: Burkhardt & Sendlmeier 2000, ISCA
Workshop on Speech and Emotion. Ca90: Cahn 1990, MIT. Cu15: Cummins et al. 2015, Speech Comm. 71.
ES96: Ellgring & Scherer 1996, J. Nonverbal Behav. 20. JL03: Juslin & Laukka 2003, Psychol. Bull.
129. Ka20: Kamiloglu et al. 2020, Psychon. Bull. Rev. 27. KS21: Kamiloglu & Sauter 2021, Oxford
Research Encyclopedia of Psychology. KT92: Kitahara & Tohkura 1992. MA95: Murray & Arnott 1995.
Mo98: Mozziconacci 1998, thesis, Eindhoven. Pe09: Pell et al. 2009, J. Phonetics 37. Ra18: Rachman
et al. 2018, Behav. Res. Methods 50 (DAVID).

How far each was checked:
    at the authors' software: Ra18 (presets "brm" of DAVID 1.2, made for the paper);
    at the abstract: ES96, Ka20; JL03, for no more than that emotions have patterns of their own;
    at others' reading notes (repository ctoth/Qlatt, folder papers): Mo98 and KT92 in it,
        KS21; of BS96 the recognition rates and the F0 of hot anger and disgust;
    not checked, cited from general knowledge of the literature: BS00, Ca90, Cu15, MA95, Pe09, the
        cues that JL03 lists, other figures of BS96.

Optima of synthesis tests are exaggerated (fear at +150 % F0), so that sizes lie between them
and what actors do. Tilt follows the level that the studies give, about 0.2 dB per octave for
each dB: Nordenberg & Sundberg 2004 (abstract) find that 1 dB of vocal effort adds 0.5 dB at low
frequencies and 1.5 dB at 1.5 to 3 kHz, some 4 to 5 octaves higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepedit_core.dsp.prosody import ProsodyRecipe

__all__ = ["NO_RECIPE", "RECIPES", "Sourced"]


def semitones(count: float) -> float:
    """Return the frequency ratio of an interval."""
    return float(2 ** (count / 12))


@dataclass(frozen=True)
class Sourced:
    """A recipe and what it rests on."""

    recipe: ProsodyRecipe
    source: str


RECIPES: Mapping[str, Sourced] = {
    "happy": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(5),
            f0_range=1.6,
            formant_ratio=1.03,
            tilt=0.6,
            # Ra18 peaks after 0.06 s and is back after 0.4 s; here the peak is half way.
            inflection_cents=(-200.0, 140.0, 0.0),
            inflection_seconds=0.2,
            rate=1.12,
            level=3.0,
        ),
        "BS00: F0 +50 %, range +100 %, tempo +30 %, F1 and F2 +10 %; Ka20: loud, high and variable "
        "pitch, high F1 and F2; KT92: +30 Hz, range x1.4; Mo98: range x2, duration 83 %; "
        "inflection: Ra18",
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
        "KT92: range x0.6; Mo98: duration 129 % (but range x1.4 and a higher F0); BS96: F0 -0.3 z; "
        "Ca90: breathy, soft, dull",
    ),
    "fear": Sourced(
        ProsodyRecipe(
            f0_ratio=semitones(6),
            f0_range=0.9,
            vibrato_cents=40.0,
            vibrato_hz=8.5,
            rate=1.12,
        ),
        "BS96: panic F0 +1.2 z; BS00: F0 +150 %, tempo +30 %; Mo98: duration 89 %; JL03: little "
        "variability; vibrato: Ra18, for men (33 cents for women)",
    ),
    "surprised": Sourced(
        ProsodyRecipe(f0_ratio=semitones(6), f0_range=1.8, final_rise=8.0, rate=1.04, level=2.0),
        "Ca90: range +8, rising contour +10, tempo +4, loudness +5 of 10; Pe09: highest F0 and "
        "widest range",
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
        "KS21: soft, monotonous, slow; ES96: slow, long pauses; Cu15: breathy; otherwise as sad",
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
