"""Parts of a secret that a recogniser still hears: digits in a row, or one of its own words."""

from __future__ import annotations

from collections.abc import Sequence

from stepedit_core.dsp.words import normalised, split_words
from stepedit_redact.spoken import digit_runs, tokens_of

__all__ = ["heard_again"]

LEAST_DIGITS = 4
"""So many digits of a number in a row, heard again, give it away in part."""
_COMMON = frozenset(
    {
        *("at", "dot", "com", "org", "net", "de", "co", "uk", "gmail", "the", "a", "an", "and"),
        *("to", "of", "in", "is", "it", "me", "my", "on", "for", "you", "underscore", "dash"),
        *("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        *("double", "plus", "mr", "mrs", "ms", "dr"),
    }
)


def heard_again(secret: str, heard: str, public: str) -> list[str]:
    """Return the parts of a secret that are heard: digits in a row, and words; empty is good.

    Words that stand in the public rest of the transcript, and words such as "at" and "dot", give
    nothing away.

    Args:
        secret: the private words as they stand in the transcript.
        heard: what a recogniser hears after the edit.
        public: the transcript after the edit.
    """
    found = _digits_again(secret, heard)
    own = {normalised(word.text).removesuffix("'s") for word in split_words(secret)}
    own -= {normalised(word.text) for word in split_words(public)} | _COMMON
    own = {word for word in own if not word.isdecimal() and (len(word) > 2 or not word.isascii())}
    said = [normalised(word.text).removesuffix("'s") for word in split_words(heard)]
    return [*found, *sorted(own & set(said))]


def _digits_again(secret: str, heard: str) -> list[str]:
    """Return the longest stretch of a secret's digits that is heard, where it is long enough."""
    asked = _all_digits(secret)
    least = min(LEAST_DIGITS, len(asked))
    if len(asked) < 2:
        return []
    said: Sequence[str] = [run.digits for run in digit_runs(tokens_of(heard))]
    for size in range(len(asked), least - 1, -1):
        for first in range(len(asked) - size + 1):
            part = asked[first : first + size]
            if any(part in digits for digits in said):
                return [part]
    return []


def _all_digits(secret: str) -> str:
    """Return all digits of a text that says a number, in order."""
    return "".join(run.digits for run in digit_runs(tokens_of(secret)))
