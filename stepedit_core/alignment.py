"""Word alignments: timed words and sentences, and the base classes of recognisers and aligners."""

from __future__ import annotations

import dataclasses
import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from stepedit_core.dsp.words import Word, normalised, sentence_places, split_words
from stepedit_core.errors import AlignmentError, counted
from stepedit_core.utterance import Span

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from stepedit_core.utterance import Utterance

__all__ = [
    "Aligner",
    "Alignment",
    "Ear",
    "Listener",
    "Recogniser",
    "Sentence",
    "TimedWord",
    "Transcription",
    "find_phrase",
]

Ear: TypeAlias = "Callable[[Utterance], str]"
"""Returns the words that are heard in an utterance."""


@dataclass(frozen=True)
class TimedWord:
    """One word and when it is said.

    Attributes:
        text: as written; where words are not written apart, one character.
        start: in seconds of the utterance.
        end: in seconds of the utterance.
        confidence: 0..1 that this word is said there, or None where the aligner has no measure.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None

    @property
    def span(self) -> Span:
        """The word's time."""
        return Span(self.start, self.end)


@dataclass(frozen=True)
class Sentence:
    """One sentence of the transcript.

    Attributes:
        text: as written.
        first: index of its first word.
        stop: index after its last word.
        start: in seconds.
        end: in seconds.
        speaker: who says it, where that is known.
    """

    text: str
    first: int
    stop: int
    start: float
    end: float
    speaker: str | None = None


@dataclass(frozen=True)
class Alignment:
    """The words of an utterance on its time axis.

    Attributes:
        text: the transcript.
        words: its words, in order; their times do not decrease.
        aligner: what timed them.
        speakers: name of the speaker of each word, or empty where nobody is known.
        notes: what a user should know, such as words that were placed without being heard.
    """

    text: str
    words: tuple[TimedWord, ...]
    aligner: str
    speakers: tuple[str | None, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse words that do not fit the transcript or the time axis."""
        count = len(split_words(self.text))
        if count != len(self.words):
            said = counted(count, "word")
            raise AlignmentError(f"the transcript has {said}, {len(self.words)} are timed")
        if self.speakers and len(self.speakers) != len(self.words):
            raise AlignmentError(f"speakers: {len(self.speakers)}, words: {len(self.words)}")
        for word in self.words:
            if not (math.isfinite(word.start) and math.isfinite(word.end)):
                raise AlignmentError(f"the time of {word.text!r} is no finite number")
            if word.start < 0 or word.end < word.start:
                raise AlignmentError(f"{word.text!r} is timed {word.start:g} to {word.end:g} s")
        for left, right in pairwise(self.words):
            if right.start < left.start:
                raise AlignmentError(f"{right.text!r} begins before {left.text!r} does")

    # Facts -----------------------------------------------------------------------------

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the words that have one, or None."""
        known = [word.confidence for word in self.words if word.confidence is not None]
        return sum(known) / len(known) if known else None

    @property
    def places(self) -> list[Word]:
        """The words with their places in the transcript."""
        return split_words(self.text)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """The sentences of the transcript that hold words, in order."""
        places = self.places
        found: list[Sentence] = []
        for start, end in sentence_places(self.text):
            inside = [n for n, word in enumerate(places) if start <= word.start < end]
            first, stop = inside[0], inside[-1] + 1
            said = {self.speakers[n] for n in inside} if self.speakers else {None}
            found.append(
                Sentence(
                    self.text[start:end].strip(),
                    first,
                    stop,
                    self.words[first].start,
                    self.words[stop - 1].end,
                    said.pop() if len(said) == 1 else None,
                )
            )
        return tuple(found)

    def span(self, first: int, stop: int) -> Span:
        """Return the time from one word to before another, in seconds."""
        if not 0 <= first < stop <= len(self.words):
            raise AlignmentError(f"no words {first} to {stop}: there are {len(self.words)}")
        return Span(self.words[first].start, self.words[stop - 1].end)

    def find(self, phrase: str, occurrence: int | None = None) -> range:
        """Return the indices of the words of a phrase.

        Args:
            phrase: words in order; case, punctuation and width do not count.
            occurrence: which one, from 1; None is fine where there is one alone.

        Raises:
            AlignmentError: if the phrase is not there (near misses are named), or is there
                several times and ``occurrence`` does not say which.
        """
        starts = [word.start for word in self.words]
        return find_phrase([word.text for word in self.words], phrase, occurrence, starts)

    def gap(self, index: int, seconds: float) -> Span:
        """Return the time between a word and the one before it.

        Args:
            index: of the word; the number of words means after the last one.
            seconds: duration of the utterance.
        """
        start = self.words[index - 1].end if index > 0 else 0.0
        end = self.words[index].start if index < len(self.words) else seconds
        return Span(min(start, end), max(start, end))

    # Change ----------------------------------------------------------------------------

    def moved(self, to: Callable[[float], float], text: str | None = None) -> Alignment:
        """Return the alignment after an edit that moves time.

        Args:
            to: second of the source to second of the result, not decreasing.
            text: the transcript, where its letters change but its words do not.
        """
        words = tuple(
            dataclasses.replace(word, start=max(0.0, to(word.start)), end=max(0.0, to(word.end)))
            for word in self.words
        )
        return dataclasses.replace(self, words=words, text=self.text if text is None else text)

    # Data ------------------------------------------------------------------------------

    def to_data(self) -> dict[str, Any]:
        """Return JSON data: ``text``, ``words`` and ``sentences``, times in seconds."""
        words = [
            {
                "text": word.text,
                "start": round(word.start, 4),
                "end": round(word.end, 4),
                "confidence": None if word.confidence is None else round(word.confidence, 3),
            }
            | ({"speaker": self.speakers[n]} if self.speakers else {})
            for n, word in enumerate(self.words)
        ]
        sentences = [
            {
                "text": one.text,
                "start": round(one.start, 4),
                "end": round(one.end, 4),
                "words": [one.first, one.stop],
                "speaker": one.speaker,
            }
            for one in self.sentences
        ]
        return {
            "text": self.text,
            "aligner": self.aligner,
            "words": words,
            "sentences": sentences,
            "notes": list(self.notes),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Build an alignment from its JSON data; without ``text``, words are joined.

        Raises:
            AlignmentError: if a word lacks its text or times, or they are no numbers.
        """
        rows = data.get("words")
        if not isinstance(rows, list):
            raise AlignmentError("an alignment has a list under 'words'")
        words, speakers = [], []
        for number, row in enumerate(rows, start=1):
            words.append(_timed_word(row, number))
            speakers.append(row.get("speaker"))
        text = data.get("text")
        if not isinstance(text, str):
            text = _joined([word.text for word in words])
        return cls(
            text,
            tuple(words),
            str(data.get("aligner") or "file"),
            tuple(speakers) if any(speakers) else (),
            tuple(map(str, data.get("notes") or ())),
        )


@dataclass(frozen=True)
class Transcription:
    """Output of a recogniser.

    Attributes:
        text: the words.
        language: BCP 47 tag that was heard or given, or None.
        recogniser: what heard, with version.
        words: when each word is said, where the recogniser tells.
    """

    text: str
    language: str | None
    recogniser: str
    words: tuple[TimedWord, ...] = ()


class Listener(ABC):
    """What recognisers, aligners and diarisers have in common."""

    name: ClassVar[str]
    """Short name for ``--recogniser`` and ``--aligner``; ``name:model`` picks a model."""
    languages: ClassVar[frozenset[str] | None] = None
    """Primary language subtags that it knows, or None for many."""
    rank: ClassVar[int] = 50
    """``auto`` takes the lowest rank that is installed and knows the language; one of 100 or more
    is taken only where it is named."""

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load what is needed.

        Args:
            model: size, name or folder after the colon of ``name:model``.
            threads: at most this many.

        Raises:
            MissingDependencyError: if a library is not installed; the text names the cure.
            StepeditError: if the model does not exist.
        """
        del model, threads

    @classmethod
    def missing(cls) -> str | None:
        """Return a hint on what is not installed, or None; must not import heavy libraries."""
        return None

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return its title in results, with model and versions; loads nothing."""
        return f"{cls.name}:{model}" if model else cls.name

    @classmethod
    def knows(cls, language: str | None) -> bool:
        """Return whether it knows a language (BCP 47 tag); an unknown one is taken for English."""
        primary = (language or "en").split("-")[0].lower()
        return cls.languages is None or primary in cls.languages


class Recogniser(Listener):
    """Hears words: the same text for the same speech."""

    @abstractmethod
    def transcribe(self, utterance: Utterance) -> Transcription:
        """Return the words heard.

        Raises:
            StepeditError: if the recogniser fails; silence gives an empty text.
        """

    def hear(self, utterance: Utterance) -> str:
        """Return the words alone, where times would cost more; raises as ``transcribe`` does."""
        return self.transcribe(utterance).text

    def hear_roughly(self, utterance: Utterance) -> str | None:
        """Return the words heard at a fraction of the cost, or None where that cannot be done.

        More may be misheard so: where it matters, ``hear`` is asked after it.
        """
        return None

    def certainty(self, utterance: Utterance) -> list[float] | None:
        """Return how likely each word of the transcript is where it is to be said, 0..1.

        That costs less than hearing: the words are given and no others are looked for. None where
        the recogniser cannot tell. Words that the transcript lacks go unnoticed.
        """
        return None

    def encoder_states(self, utterance: Utterance) -> npt.NDArray[np.float32] | None:
        """Return the states of the recogniser's encoder, or None where it has none.

        Returns:
            Shape ``(frames, width)``, frames evenly spaced from the start to the end; what they
            mean is the model's own.
        """
        return None


class Aligner(Listener):
    """Times the words of a transcript that is known."""

    is_coarse: ClassVar[bool] = False
    """Whether times are guesses, some tenths of a second off, so that users are told."""

    @abstractmethod
    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        """Return one timed word for each word, in order.

        Words that it cannot place by sound are placed between their neighbours, with
        confidence 0.

        Raises:
            AlignmentError: if no word can be placed.
        """


def find_phrase(
    words: Sequence[str],
    phrase: str,
    occurrence: int | None = None,
    starts: Sequence[float] | None = None,
) -> range:
    """Return the indices of a phrase among words; raises as `Alignment.find` does.

    Args:
        words: in order.
        phrase: words to look for; case, punctuation and width do not count.
        occurrence: which one, from 1.
        starts: when each word is said, for messages.
    """
    asked = [normalised(word.text) for word in split_words(phrase)]
    if not asked:
        raise AlignmentError(f"{phrase!r} holds no word to look for")
    spoken = [normalised(word) for word in words]
    at = [n for n in range(len(spoken) - len(asked) + 1) if spoken[n : n + len(asked)] == asked]
    if not at:
        raise AlignmentError(f"{phrase!r} is not said{_near(spoken, asked, starts)}")
    if occurrence is None and len(at) > 1:
        where = ", ".join(f"{n}{_when(starts, k)}" for n, k in enumerate(at, 1))
        raise AlignmentError(f"{phrase!r} is said {len(at)} times ({where}): give occurrence=")
    if occurrence is not None and not 1 <= occurrence <= len(at):
        raise AlignmentError(
            f"{phrase!r} is said {counted(len(at), 'time')}; there is no {occurrence}"
        )
    start = at[(occurrence or 1) - 1]
    return range(start, start + len(asked))


def _when(starts: Sequence[float] | None, index: int) -> str:
    """Return the time of a word for a message."""
    return "" if starts is None else f" at {starts[index]:.2f} s"


def _near(spoken: Sequence[str], asked: Sequence[str], starts: Sequence[float] | None) -> str:
    """Return the words that are said instead, as the end of a message."""
    joiner = "" if all(len(word) == 1 and not word.isascii() for word in asked) else " "
    runs = {
        joiner.join(spoken[n : n + len(asked)]): n
        for n in range(max(1, len(spoken) - len(asked) + 1))
    }
    close = difflib.get_close_matches(joiner.join(asked), runs, n=1, cutoff=0.6)
    return f"; the nearest is {close[0]!r}{_when(starts, runs[close[0]])}" if close else ""


def _timed_word(row: object, number: int) -> TimedWord:
    """Return a word of JSON data; raises AlignmentError."""
    if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
        raise AlignmentError(f"word {number} has no text")
    start, end = _seconds(row, "start", number), _seconds(row, "end", number)
    confidence = None if row.get("confidence") is None else _seconds(row, "confidence", number)
    return TimedWord(row["text"], start, end, confidence)


def _seconds(row: Mapping[str, Any], key: str, number: int) -> float:
    """Return a number of JSON data; raises AlignmentError."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AlignmentError(f"word {number}: {key!r} must be a number, got {value!r}")
    return float(value)


def _joined(words: Sequence[str]) -> str:
    """Write words one after another, with blanks where their script has them."""
    text = ""
    for word in words:
        apart = text and not (_is_wide(text[-1]) and word and _is_wide(word[0]))
        text += f" {word}" if apart else word
    return text


def _is_wide(letter: str) -> bool:
    return "\u3040" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff"
