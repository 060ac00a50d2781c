"""Words of another recording: nothing is cut, hidden or put in at a place that was made up."""

from __future__ import annotations

import numpy as np
import pytest

from stepedit_core import Alignment, Chain, TimedWord, Utterance, align, get_edit, place_words
from stepedit_core.errors import EditError, InvalidChainError
from stepedit_core.recordings import packaged_speech

OTHER = "The committee will publish its report on Thursday, said the minister of finance."


@pytest.fixture(scope="module")
def foreign() -> Utterance:
    """A recording with the transcript of another one."""
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("faster_whisper")
    return packaged_speech("doubt").replace(transcript=OTHER, language="en")


def test_words_that_are_said_have_places() -> None:
    speech = packaged_speech("doubt")
    assert place_words(speech) == align(speech)


@pytest.mark.parametrize(
    ("edit", "values"),
    [
        ("delete", {"find": "report"}),
        ("redact", {"words": ["minister"]}),
        ("pause", {"after": "Thursday", "seconds": 1.0}),
        ("masked", {"inner": {"edit": "volume", "db": -6}, "words": "report"}),
    ],
)
def test_another_recordings_words(foreign: Utterance, edit: str, values: dict[str, object]) -> None:
    chain = Chain([get_edit(edit)(**values)])
    with pytest.raises((InvalidChainError, EditError), match=r"is not that of|nothing is hidden"):
        chain(foreign)


def test_plans_of_new_words(foreign: Utterance) -> None:
    plan = get_edit("replace")(find="report", by="letter").plan(foreign)
    assert plan.problem is not None and "is not that of the recording" in plan.problem


def test_times_that_are_given_are_taken(foreign: Utterance) -> None:
    known = align(foreign)
    words = tuple(TimedWord(word.text, word.start, word.end) for word in known.words)
    timed = foreign.replace(alignment=Alignment(known.text, words, "by hand"))
    result = Chain([get_edit("delete")(find="report")])(timed)
    assert "report" not in str(result.utterance.transcript)
    assert np.isfinite(result.utterance.samples).all()
