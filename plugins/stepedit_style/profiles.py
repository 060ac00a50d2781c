"""How speaking styles usually shift speech away from neutral, from the literature.

Used by the acoustic margin of pairs and by the acoustic judge of benchmarks. Sizes are those
of acted, clearly recognised portrayals by one speaker on the same words. Where a study states
a direction only, or z-scores, the size is rounded from the others. Spectral tilt follows
level by 0.2 dB per octave for each dB, after the loudness gains of Nordenberg & Sundberg (2004).

Studies:
    AET96: Andersson, Eriksson & Traunmueller 1996, TMH-QPSR 2/1996. Fe05: Feinberg et al. 2005,
    Anim. Behav. 69. GS88: Gramming et al. 1988, J. Voice 2. Hi95: Hillenbrand et al. 1995, JASA 97.
    JL03: Juslin & Laukka 2003, Psychol. Bull. 129. Li01: Linville 2001, Vocal Aging. NS04:
    Nordenberg & Sundberg 2004, Logoped. Phoniatr. Vocol. 29. PB52: Peterson & Barney 1952, JASA 24.
    SWP87: Smith, Wasowicz & Preston 1987, J. Speech Hear. Res. 30. St11: Stathopoulos et al. 2011,
    J. Speech Lang. Hear. Res. 54. TE00: Traunmueller & Eriksson 2000, JASA 107.

How far each was checked:
    at the abstract: AET96, Fe05, GS88, NS04, SWP87, TE00;
    at others' reading notes (repository ctoth/Qlatt, folder papers): Hi95, PB52, St11;
    not checked, cited from general knowledge of the literature: Li01, the cues that JL03 lists,
        the 20 Hz of Fe05.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepedit_core.labels.profile import Cue, Profile, table

__all__ = ["PROFILES"]

PROFILES: Mapping[str, Profile] = table(
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
