"""How labels of emotion and style usually shift speech away from neutral, from the literature.

Used by the acoustic margin of pairs and by the acoustic judge of benchmarks. Sizes are those
of acted, clearly recognised portrayals by one speaker on the same words. Where a study states
a direction only, or z-scores, the size is rounded from the others; F0 z-scores of Banse &
Scherer count 4 semitones for one standard deviation. Spectral tilt follows level by 0.2 dB per
octave for each dB, after the loudness gains of Nordenberg & Sundberg (2004).

Studies:
    AET96: Andersson, Eriksson & Traunmueller 1996, TMH-QPSR 2/1996. BS96: Banse & Scherer 1996,
    J. Pers. Soc. Psychol. 70, table 6. BS00: Burkhardt & Sendlmeier 2000, ISCA Workshop Speech
    and Emotion (in Sch01, table 1). Ca90: Cahn 1990, MIT (in Sch01, table 1). Cu15: Cummins et
    al. 2015, Speech Comm. 71. ES96: Ellgring & Scherer 1996, J. Nonverbal Behav. 20. Fe05:
    Feinberg et al. 2005, Anim. Behav. 69. GS88: Gramming et al. 1988, J. Voice 2. Hi95:
    Hillenbrand et al. 1995, JASA 97. JL03: Juslin & Laukka 2003, Psychol. Bull. 129. Ka20:
    Kamiloglu et al. 2020, Psychon. Bull. Rev. 27. KS21: Kamiloglu & Sauter 2021, Oxford Research
    Encyclopedia of Psychology. KT92: Kitahara & Tohkura 1992 (in Mo98). Li01: Linville 2001,
    Vocal Aging. MA93, MA95: Murray & Arnott 1993, JASA 93; 1995 (in Sch01, table 1). Mo98:
    Mozziconacci 1998, thesis, Eindhoven. NS04: Nordenberg & Sundberg 2004, Logoped. Phoniatr.
    Vocol. 29. PB52: Peterson & Barney 1952, JASA 24. Pe09: Pell et al. 2009, J. Phonetics 37.
    Sch01: Schroeder 2001, Eurospeech. SWP87: Smith, Wasowicz & Preston 1987, J. Speech Hear. Res.
    30. St11: Stathopoulos et al. 2011, J. Speech Lang. Hear. Res. 54. TE00: Traunmueller &
    Eriksson 2000, JASA 107.

How far each was checked:
    at the abstract: AET96, ES96, Fe05, GS88, Ka20, NS04, SWP87, TE00;
    at others' reading notes (repository ctoth/Qlatt, folder papers): Hi95, KS21, KT92, Mo98,
        PB52, St11; of BS96 the F0 of hot anger and disgust and the recognition rates;
    not checked, cited from general knowledge of the literature: BS00, Ca90, Cu15, Li01, MA93,
        MA95, Pe09, Sch01, the cues that JL03 lists, other figures of BS96, the 20 Hz of Fe05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["EMOTIONS", "STYLES", "Cue", "Profile"]


@dataclass(frozen=True)
class Cue:
    """Usual shift of one feature.

    Attributes:
        size: in the unit of the feature in ``AcousticShift``: semitones, dB, or a ratio.
        weight: 1 for what studies agree on and recordings keep, 0.5 for what they disagree on,
            or what level normalisation and recording chains hide.
    """

    size: float
    weight: float = 1.0


@dataclass(frozen=True)
class Profile:
    """Usual shift of a label against neutral.

    Attributes:
        label: the label.
        cues: feature of ``AcousticShift`` to its usual shift.
        source: studies behind directions and sizes.
    """

    label: str
    cues: Mapping[str, Cue]
    source: str


def _table(*profiles: Profile) -> dict[str, Profile]:
    return {profile.label: profile for profile in profiles}


EMOTIONS: Mapping[str, Profile] = _table(
    Profile(
        "happy",
        {
            "f0": Cue(5.0),
            "f0_range": Cue(1.6),
            "level": Cue(3.0, 0.5),
            "tilt": Cue(0.6, 0.5),
            "tempo": Cue(1.15, 0.5),
        },
        "BS00: F0 +50 %, range +100 %, tempo +30 %; KT92: +30 Hz, range x1.4; "
        "Mo98: range x2, duration 83 %; Ka20: loud; JL03: fast, medium to high intensity",
    ),
    Profile(
        "angry",
        {
            "f0": Cue(4.0),
            "f0_range": Cue(1.6),
            "level": Cue(6.0),
            "tilt": Cue(1.2),
            "tempo": Cue(1.15, 0.5),
        },
        "BS96: hot anger F0 +1.1 z; KT92: +30 Hz; Mo98: range x2, duration 79 %; "
        "MA95: +6 dB; JL03: high intensity, much high-frequency energy",
    ),
    Profile(
        "sad",
        {
            "f0": Cue(-1.5, 0.5),
            "f0_range": Cue(0.65),
            "level": Cue(-5.0),
            "tilt": Cue(-1.0),
            "tempo": Cue(0.8),
        },
        "BS96: F0 -0.3 z, low energy; KT92: range x0.6; Mo98: duration 129 %; Ca90: loudness "
        "-5, brilliance -9 of 10; JL03: slow, low intensity, little high-frequency energy; but "
        "Mo98: range x1.4, higher F0",
    ),
    Profile(
        "fear",
        {"f0": Cue(6.0), "f0_range": Cue(0.9, 0.5), "tempo": Cue(1.12, 0.5)},
        "BS96: panic F0 +1.2 z; BS00: F0 +150 %, tempo +30 %; Mo98: duration 89 %; "
        "JL03: high F0, little variability, fast",
    ),
    Profile(
        "surprised",
        {
            "f0": Cue(6.0),
            "f0_range": Cue(1.8),
            "f0_slope": Cue(5.0, 0.5),
            "level": Cue(2.0, 0.5),
        },
        "Ca90: range +8, rising contour +10, loudness +5 of 10; Pe09: highest F0 and range",
    ),
    Profile(
        "disgusted",
        {
            "f0": Cue(-2.0),
            "f0_range": Cue(1.1, 0.5),
            "level": Cue(-2.0, 0.5),
            "tempo": Cue(0.8),
        },
        "MA93: much slower, much lower, slightly wider, softer; BS96: F0 -0.5 z",
    ),
    Profile(
        "excited",
        {
            "f0": Cue(5.0),
            "f0_range": Cue(1.6),
            "level": Cue(5.0),
            "tilt": Cue(1.0, 0.5),
            "tempo": Cue(1.25),
        },
        "BS96: elation F0 +1.2 z, energy up; BS00: joy, tempo +30 %",
    ),
    Profile(
        "depressed",
        {
            "f0": Cue(-1.5, 0.5),
            "f0_range": Cue(0.6),
            "level": Cue(-4.0),
            "tilt": Cue(-0.8, 0.5),
            "tempo": Cue(0.75),
        },
        "KS21: softer, narrower range, slower; ES96: slower, longer pauses; Cu15; as sad otherwise",
    ),
)
"""Profiles by emotion; labels of Step-Audio-EditX without usable studies are absent."""

STYLES: Mapping[str, Profile] = _table(
    Profile(
        "whisper",
        {"voiced": Cue(-0.6, 2.0), "tilt": Cue(3.0, 0.5), "level": Cue(-10.0, 0.5)},
        "TE00: whispered beside phonated speech, its spectrum as with more effort; no voicing",
    ),
    Profile(
        "child",
        {"f0": Cue(6.0)},
        "PB52: F0 of children 264 Hz, of women 223 Hz, of men 132 Hz",
    ),
    Profile(
        "girl",
        {"f0": Cue(4.0)},
        "Hi95: F0 of children of 10 to 12 236 Hz, of women 220 Hz, of men 130 Hz",
    ),
    Profile(
        "older",
        {"tempo": Cue(0.83), "hnr": Cue(-3.0, 0.5), "f0_variability": Cue(1.2, 0.5)},
        "SWP87: durations 20 to 25 % longer; St11: F0 less steady, men not noisier; Li01: hoarser",
    ),
    Profile(
        "loudly",
        {"level": Cue(8.0), "f0": Cue(3.0), "tilt": Cue(1.6)},
        "GS88: 0.2 to 0.6 semitones per dB; NS04: tilt; TE00",
    ),
    Profile(
        "shout",
        {"level": Cue(12.0, 0.5), "f0": Cue(7.0), "tilt": Cue(2.4)},
        "AET96: over 30 dB of vocal effort F0 doubles and the spectrum flattens; TE00",
    ),
    Profile(
        "murmur",
        {"level": Cue(-8.0), "f0_range": Cue(0.7), "tilt": Cue(-1.6), "f0": Cue(-2.0, 0.5)},
        "GS88, NS04, TE00: lowered vocal effort",
    ),
    Profile(
        "gentle",
        {
            "level": Cue(-4.0),
            "tilt": Cue(-0.8),
            "tempo": Cue(0.88),
            "f0_range": Cue(0.8, 0.5),
            "f0": Cue(-1.0, 0.5),
        },
        "JL03: tenderness is slow, soft, low, even and dark",
    ),
    Profile(
        "deeply",
        {"f0": Cue(-3.0)},
        "Fe05: lowered by 20 Hz, men sound larger",
    ),
)
"""Profiles by style."""
