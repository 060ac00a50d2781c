"""Choose among spoken versions of new words by ear: the first that is heard as asked is kept.

What a language model and a phone reader hear in codes says little about what a decoder makes
audible, so that versions are listened to by whatever recogniser is installed.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from stepedit_core.alignment import Ear
from stepedit_core.dsp.words import heard_form, split_words
from stepedit_core.plan import Replacement
from stepedit_core.utterance import Utterance

__all__ = ["Heard", "Listener", "best_of"]

_BESIDE = 3
"""Words on either side of the change that have to be heard as in the source, as in doteBench."""


@dataclass(frozen=True)
class Heard:
    """What was heard of one version.

    Attributes:
        text: all of it.
        lacking: new words that were not heard.
        around: errors in the words beside them, those of the source left out.
        content: ears that heard it as asked before one objected.
    """

    text: str
    lacking: int
    around: int
    content: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the new words are there and nothing beside them was spoilt."""
        return self.lacking == 0 and self.around == 0


class Listener:
    """Listens for the new words of one change, and for the words beside them."""

    def __init__(
        self, ears: Sequence[Ear], before: str, change: Replacement, source: Utterance
    ) -> None:
        """Listen to nothing yet.

        Args:
            ears: what hears, at least one; a later one is asked where those before are content.
            before: the words that ``source`` says.
            change: of these words.
            source: the stretch of the recording around the change.
        """
        self._ears, self._before, self._change, self._source = ears, before, change, source
        self._known: dict[int, int] = {}

    def hear(self, version: Utterance) -> Heard:
        """Return what is heard of a version of the stretch, by the first ear that objects."""
        for number in range(len(self._ears)):
            heard = self._hear(number, version)
            if not heard.is_right:
                return Heard(heard.text, heard.lacking, heard.around, number)
        return Heard(heard.text, 0, 0, len(self._ears))

    def _hear(self, number: int, version: Utterance) -> Heard:
        """Return what one ear hears."""
        change = self._change
        stop = change.first + len(split_words(change.by))
        text = self._ears[number](version)
        lacking, around = _errors(change.text_after, text, change.first, stop)
        if around and not lacking:
            around = max(0, around - self._errors_of_source(number))
        return Heard(text, lacking, around)

    def _errors_of_source(self, number: int) -> int:
        """Return the errors that an ear makes beside the change in the source itself."""
        if number not in self._known:
            heard, change = self._ears[number](self._source), self._change
            self._known[number] = _errors(self._before, heard, change.first, change.stop)[1]
        return self._known[number]


def _errors(asked: str, heard: str, first: int, stop: int) -> tuple[int, int]:
    """Return how many of some words were not heard, and the errors right beside them."""
    wanted = [heard_form(word.text) for word in split_words(asked)]
    spoken = [heard_form(word.text) for word in split_words(heard)]
    inside = set(range(first, stop))
    beside = set(range(max(0, first - _BESIDE), min(len(wanted), stop + _BESIDE))) - inside
    lacking = around = 0
    matcher = difflib.SequenceMatcher(None, wanted, spoken, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            continue
        lacking += len(inside & set(range(i, j)))
        missed = len(beside & set(range(i, j)))
        # Words too many count where they stand within what is looked at.
        added = m - k if i > first - _BESIDE and j < stop + _BESIDE else 0
        around += max(missed, added - len(inside & set(range(i, j))))
    return lacking, around


def best_of(heard: Sequence[Heard]) -> int:
    """Return the number of the version that was heard best; of equals the first."""
    return min(
        range(len(heard)), key=lambda n: (-heard[n].content, heard[n].lacking, heard[n].around, n)
    )
