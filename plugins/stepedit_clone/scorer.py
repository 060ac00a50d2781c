"""Score a clone: the words asked for, in the voice of the prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from stepedit_clone.edit import Clone
from stepedit_clone.prompt import Dialect
from stepedit_core import Case, Measures, Prepared, Score, Scorer, StepeditError, Utterance

__all__ = ["MAX_ERROR", "MIN_SIMILARITY", "CloneScorer"]

MAX_ERROR = 0.2
"""Highest word (or character) error rate of a clone that says what it should."""
MIN_SIMILARITY = 0.7
"""Lowest speaker similarity: half way between Resemblyzer's mean for one speaker (0.88) and for
two (0.53), measured on LibriSpeech test-other clips."""

_LANGUAGES: Mapping[Dialect, str] = {
    "Sichuanese": "zh",
    "Cantonese": "yue",
    "Japanese": "ja",
    "Korean": "ko",
}


class CloneScorer(Scorer):
    """Word error against the text asked for, and speaker similarity to the prompt.

    A text with pinyin is expected to be heard as ``meta["spoken"]`` of its case says. The
    language to listen in is ``meta["text_language"]``, otherwise that of the dialect, otherwise
    Mandarin for a text in Chinese characters and the prompt's language for any other.
    """

    expects_same_duration: ClassVar[bool] = False
    expects_same_speaker: ClassVar[bool] = True

    def waives(self, case: Case) -> frozenset[str]:
        """Return the level: a clone is new speech, not the prompt made louder or softer."""
        return frozenset({"level"})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure words and voice; a measurement that fails leaves the case unscored."""
        if not isinstance(case.edit, Clone):
            return Score.failed(f"the case asks for {case.edit.name}, not for clone")
        expected = str(case.meta.get("spoken", case.edit.text))
        language = case.meta.get("text_language") or _language(case.edit, prepared.source.language)
        heard = output.replace(language=language)
        error, why = _try(lambda: measures.word_error(expected, heard))
        similarity, other = _try(lambda: measures.speaker_similarity(prepared.source, output))
        values = {"word_error": error, "speaker_similarity": similarity}
        if error is None or similarity is None:
            return Score.failed(why or other or "not measured", **values)
        return Score(error <= MAX_ERROR and similarity >= MIN_SIMILARITY, values)


def _language(edit: Clone, prompt_language: str | None) -> str | None:
    """Return the language of the words to say (BCP 47)."""
    if edit.dialect is not None:
        return _LANGUAGES[edit.dialect]
    return "zh" if re.search(r"[\u4e00-\u9fff]", edit.text) else prompt_language


def _try(measure: Callable[[], float]) -> tuple[float | None, str | None]:
    """Return a measurement, or None and why it failed."""
    try:
        return float(measure()), None
    except StepeditError as error:
        return None, str(error)
