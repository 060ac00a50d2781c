"""Times in an utterance at which the tags of an edit belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepedit_core import Utterance
from stepedit_core.dsp.words import split_words, without_tags
from stepedit_paralinguistic.alignment import align
from stepedit_paralinguistic.insertion import moment

if TYPE_CHECKING:
    from stepedit_paralinguistic.edit import Paralinguistic

__all__ = ["places"]


def places(edit: Paralinguistic, source: Utterance) -> list[float]:
    """Return the place of each added tag in the source, in seconds; empty without speech."""
    if source.problem():
        return []
    text = source.transcript or without_tags(edit.text)
    alignment = align(source, split_words(text), text)
    return [moment(source, alignment, tag.word) for tag in edit.added(source)]
