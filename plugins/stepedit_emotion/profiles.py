"""How emotions usually shift speech away from neutral, from the literature.

Used by the acoustic margin of pairs and by the acoustic judge of benchmarks. Sizes are those
of acted, clearly recognised portrayals by one speaker on the same words. Where a study states
a direction only, or z-scores, the size is rounded from the others; F0 z-scores of
Banse & Scherer count 4 semitones for one standard deviation. Spectral tilt follows
level by 0.2 dB per octave for each dB, after the loudness gains of Nordenberg & Sundberg (2004).

Studies:
    BS96: Banse & Scherer 1996, J. Pers. Soc. Psychol. 70, table 6. BS00: Burkhardt & Sendlmeier
    2000, ISCA Workshop Speech and Emotion (in Sch01, table 1). Ca90: Cahn 1990, MIT (in Sch01,
    table 1). Cu15: Cummins et al. 2015, Speech Comm. 71. ES96: Ellgring & Scherer 1996, J.
    Nonverbal Behav. 20. JL03: Juslin & Laukka 2003, Psychol. Bull. 129. Ka20: Kamiloglu et al.
    2020, Psychon. Bull. Rev. 27. KS21: Kamiloglu & Sauter 2021, Oxford Research Encyclopedia of
    Psychology. KT92: Kitahara & Tohkura 1992 (in Mo98). MA93, MA95: Murray & Arnott 1993, JASA 93;
    1995 (in Sch01, table 1). Mo98: Mozziconacci 1998, thesis, Eindhoven. NS04: Nordenberg &
    Sundberg 2004, Logoped. Phoniatr. Vocol. 29. Pe09: Pell et al. 2009, J. Phonetics 37. Sch01:
    Schroeder 2001, Eurospeech.

How far each was checked:
    at the abstract: ES96, Ka20, NS04;
    at others' reading notes (repository ctoth/Qlatt, folder papers): KS21, KT92, Mo98; of BS96
        the F0 of hot anger and disgust and the recognition rates;
    not checked, cited from general knowledge of the literature: BS00, Ca90, Cu15, MA93, MA95, Pe09,
        Sch01, the cues that JL03 lists, other figures of BS96.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepedit_core.labels.profile import Cue, Profile, table

__all__ = ["PROFILES"]

PROFILES: Mapping[str, Profile] = table(
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
