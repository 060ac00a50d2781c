"""Scorer of the voice edit: nearer to the voice asked for than to the source's, words kept."""

from __future__ import annotations

from typing import ClassVar

from stepedit_core import Case, Measures, Prepared, Score, Scorer, StepeditError, Utterance
from stepedit_core.dsp.likeness import likeness
from stepedit_voice.edit import Voice

__all__ = ["MAX_ADDED_ERROR", "MIN_GAP", "VoiceScorer"]

MIN_GAP = 0.05
"""By how much two voices must differ (cosine), so that there is something to move between."""
MAX_ADDED_ERROR = 0.15
"""Word errors that the edit may add, as a share of the words."""
MIN_COURSE = 0.5
"""Least correlation of the level's course with the source's: prosody is kept."""


class VoiceScorer(Scorer):
    """Speaker similarity to the target and to the source, words, and the course of the level.

    Reached: the output is more like the voice asked for than like the source's, at most 15 points
    of word error are added, and the level still rises and falls where the source's does. A copy of
    the voice's recording is the nearest to it, and has neither the words nor the course.
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True
    expects_same_speaker: ClassVar[bool] = False

    def waives(self, case: Case) -> frozenset[str]:
        """Return the level, which a decoder takes from the voice's recording."""
        return frozenset({"level", "loudness"})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure voice, words and the course of the level."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Voice):
            return Score.failed(f"the voice scorer was given the edit {edit.name}")
        values: dict[str, float | None] = {}
        try:
            target = edit.voice()
            between = float(measures.speaker_similarity(source, target))
            values["source_to_target"] = between
            if between > 1 - MIN_GAP:
                return Score.failed("source and target are one voice", **values)
            values["to_target"] = near = float(measures.speaker_similarity(target, output))
            values["to_source"] = far = float(measures.speaker_similarity(source, output))
            text = source.transcript
            added = None
            if text:
                before, after = (float(measures.word_error(text, x)) for x in (source, output))
                added = after - before
        except StepeditError as error:
            return Score.failed(str(error), **values)
        alike = likeness(source, output)
        course = None if alike is None else alike.level
        values |= {"word_error_added": added, "level_course": course}
        kept = course is not None and course >= MIN_COURSE
        said = added is None or added <= MAX_ADDED_ERROR
        return Score(near > far and kept and said, values)
