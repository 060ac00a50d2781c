"""Scorer of the speed edit: achieved tempo against the one asked for, pitch kept."""

from __future__ import annotations

import math
from typing import ClassVar

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    StepeditError,
    Utterance,
    words_kept,
)
from stepedit_core.dsp.vad import total_seconds
from stepedit_speed.edit import FACTORS, Speed
from stepedit_speed.pace import pace, unevenness, verbatim_share

__all__ = ["SpeedScorer", "nearest_rate"]

TOTAL_TOLERANCE = 0.05
"""Relative error of the total duration that an exact factor may have: one noticeable step."""
SPEECH_SHARE, SPEECH_TOLERANCE = 0.5, 0.10
"""Speech time may miss the tempo by half of the way to it, or by 10 % where that is more: VAD
places each edge to about a frame, and bridges pauses that have become short."""
F0_TOLERANCE = 2 ** (1 / 12) - 1
"""Relative change of the median F0 that counts as kept: one semitone."""
MAX_UNEVENNESS = 0.25
"""Octaves by which local tempo may differ from the whole one, at the median. The dsp route and
librosa's phase vocoder stay below 0.12; a cut ending comes to 0.3."""
MAX_LAG = 0.10
"""Share of the source by which the output may lead or lag behind even pace."""
LEAST_VERBATIM, MOST_VERBATIM, VERBATIM_SLOPE = 0.5, 0.95, 1.5
"""Share of loud frames that may be the source's own samples: the most at its own tempo, less for
each natural logarithm of the tempo, as stretched speech has the more of them the nearer its tempo
is to the source's. On the ten packaged recordings the dsp route has at most 0.20, 0.49, 0.62, 0.75
and 0.80 at tempos of about 1.3, 1.2, 1.15, 1.1 and 1.07 either way; speech from which pieces of
50 ms were dropped, or in which they were repeated, at least 0.78, 0.82, 0.88, 0.91 and 0.95."""
_LIMIT = 2.2


def nearest_rate(factor: float) -> str:
    """Return the rate word nearest to a factor on a log scale, or ``unchanged`` around 1.

    Factors beyond 2.2 either way are ``out of range``.
    """
    if not 1 / _LIMIT <= factor <= _LIMIT:
        return "out of range"
    places = {"unchanged": 1.0} | {str(word): place for word, place in FACTORS.items()}
    return min(places, key=lambda word: abs(math.log(factor / places[word])))


class SpeedScorer(Scorer):
    """Compare total duration and speech time (VAD) before and after.

    A rate word is reached where it is the nearest one to the factor achieved in total, an exact
    factor within 5 %. Either way speech itself has gone at least half of the way on a log
    scale, so that longer pauses alone do not pass, and the median F0 stays within a semitone. The
    words are kept, at an even pace, and not by leaving pieces of the recording out (``pace``).
    """

    version: ClassVar[int] = 3

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure the achieved factors and the change of F0."""
        edit = case.edit
        if not isinstance(edit, Speed):
            return Score.failed(f"the speed scorer was given the edit {edit.name}")
        source = prepared.source
        total = source.seconds / output.seconds
        values: dict[str, float | None] = {
            "factor_asked": edit.tempo,
            "factor_total": total,
            "factor_error": abs(total / edit.tempo - 1),
        }
        try:
            before, after = (
                total_seconds(measures.speech_spans(sound)) for sound in (source, output)
            )
            f0_before, f0_after = measures.median_f0(source), measures.median_f0(output)
        except StepeditError as error:
            return Score.failed(f"speech or pitch could not be measured: {error}", **values)
        if before == 0:
            return Score.failed("no speech was found in the input", **values)
        speech = before / after if after > 0 else None
        values["factor_speech"] = speech
        values["f0_ratio"] = f0_after / f0_before if f0_before and f0_after else None
        kept = f0_before is None or _f0_kept(values["f0_ratio"])
        reached = kept and speech is not None and _tempo_reached(edit, total, speech)
        said, values["word_error"] = words_kept(measures, source, output)
        even = _even(source, output, measures, values)
        return Score(reached and even and said is not False, values)


def _f0_kept(ratio: float | None) -> bool:
    """Return whether the median F0 moved by less than a semitone either way."""
    return ratio is not None and abs(math.log2(ratio)) <= math.log2(1 + F0_TOLERANCE)


def _even(
    source: Utterance, output: Utterance, measures: Measures, values: dict[str, float | None]
) -> bool:
    """Return whether all of the source is there at one pace; add measurements to ``values``."""
    tempo = source.seconds / output.seconds
    along = pace(source, output)
    uneven, lag = unevenness(along, tempo, measures.speech_spans(output))
    copied = verbatim_share(source, output, along)
    values |= {"unevenness": uneven, "lag_share": lag, "verbatim_share": copied}
    if uneven is None or lag is None:
        return False
    moved = abs(math.log(tempo))
    most = max(LEAST_VERBATIM, MOST_VERBATIM - VERBATIM_SLOPE * moved)
    pasted = moved > math.log(1 + TOTAL_TOLERANCE) and copied > most
    return uneven <= MAX_UNEVENNESS and lag <= MAX_LAG and not pasted


def _tempo_reached(edit: Speed, total: float, speech: float) -> bool:
    """Return whether total duration and speech time changed as asked."""
    asked = math.log(edit.tempo)
    allowed = max(SPEECH_SHARE * abs(asked), math.log(1 + SPEECH_TOLERANCE))
    if abs(math.log(speech) - asked) > allowed:
        return False
    if edit.rate is not None:
        return nearest_rate(total) == edit.rate
    return abs(total / edit.tempo - 1) <= TOTAL_TOLERANCE
