"""Words of a reference text, written as a recogniser writes them.

Corpora such as LibriSpeech give words alone, of whole recordings. People give texts with sentences,
and of a part of a recording only some of the words are said: the recogniser's text says where
sentences end and which part of the reference it is, and the reference which words they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from stepedit_core.dsp.words import heard_form

__all__ = ["repeats_itself", "with_reference_words"]

_MOST_ERRORS = 0.5
"""Above this share of wrong words, what was heard is not taken for a part of the reference."""
_ENDS = re.compile(r"[.!?]+")
_AROUND = re.compile(r"^\W+|\W+$")


def _form(word: str) -> str:
    """Return the form in which two words are compared; empty for signs alone."""
    return heard_form(_AROUND.sub("", word))


def with_reference_words(heard: str, reference: str) -> str | None:
    """Return what was heard with the words of the reference.

    The part of the reference is found that has the fewest errors against all that was heard
    (Levenshtein distance by words, both ends of the reference free).

    Args:
        heard: a recogniser's text of the recording, or of a part of it.
        reference: words of the whole recording.

    Returns:
        The text, or None where more than half of what was heard is not in the reference.
    """
    said = [word for word in heard.split() if _form(word)]
    words = reference.split()
    if not said or not words:
        return None
    table = _distances([_form(one) for one in said], [_form(one) for one in words])
    # Of equal ends the last: a word heard wrong is more likely than one that nobody said.
    end = len(words) - int(table[-1, ::-1].argmin())
    if table[-1, end] > _MOST_ERRORS * len(said):
        return None
    written: list[str] = []
    row, column = len(said), end
    while row:
        errors = table[row, column]
        match = column > 0 and _form(said[row - 1]) == _form(words[column - 1])
        if match and errors == table[row - 1, column - 1]:
            row, column = row - 1, column - 1
            written.append(said[row])
        elif column and errors == table[row, column - 1] + 1:
            column -= 1
            written.append(words[column])
        elif column and errors == table[row - 1, column - 1] + 1:
            row, column = row - 1, column - 1
            written.append(_written_as(words[column], said[row]))
        else:
            row -= 1
    return " ".join(reversed(written))


def _distances(
    said: Sequence[str], words: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the least errors of the first words said against any stretch ending at a word."""
    table = np.zeros((len(said) + 1, len(words) + 1), np.int64)
    table[:, 0] = np.arange(len(said) + 1)
    for row, one in enumerate(said, start=1):
        for column, other in enumerate(words, start=1):
            table[row, column] = min(
                table[row - 1, column - 1] + (one != other),
                table[row - 1, column] + 1,
                table[row, column - 1] + 1,
            )
    return table


def _written_as(word: str, heard: str) -> str:
    """Return a word with the capital and the signs of the one that was heard in its place."""
    before, after = re.match(r"\W*", heard), re.search(r"\W*$", heard)
    assert before is not None and after is not None
    core = heard[before.end() : after.start()]
    word = word[:1].upper() + word[1:] if core[:1].isupper() else word
    return f"{before.group()}{word}{after.group()}"


def repeats_itself(text: str) -> bool:
    """Return whether a text has a sentence twice: recognisers leave out what is repeated."""
    sentences = [" ".join(map(_form, one.split())).strip() for one in _ENDS.split(text)]
    said = [one for one in sentences if one]
    return len(set(said)) < len(said)
