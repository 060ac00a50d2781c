"""Targets of the items of public test sets, and how each is measured.

The rules are doteBench's (v1.0, docs/evaluation.md) where a set has none of its own that can be
followed without its models: text is right where no error is heard in the changed words and three
words on either side; pitch moves by a semitone or more, the tempo by a tenth or more, a pause by
160 ms or more, each in the direction asked for; a recording that was not made has all errors and
has reached nothing, and stays in the denominator. Labels are judged by the plugins' own scorers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_bench.measuring.text_error import counts_characters, normalise
from stepedit_core.alignment import Alignment
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.dsp.words import nominal_seconds, split_words
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import align
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Case, Measures, Prepared, Score
from stepedit_core.utterance import Span, Utterance

__all__ = ["Acoustic", "By", "Part", "Target", "Words", "labelled", "local_errors", "whole_score"]

AROUND = 3
"""Words on either side of a change that are looked at."""
LEAST = {"pitch": 1.0, "rate": 0.1, "pause": 0.16}
"""Least change that counts: semitones, share of the duration, seconds."""
_PAD = 0.25
"""Seconds around a region that is judged by itself."""
_WORST_PITCH = 8.0
"""Error of a pitch shift that was not made, in semitones."""


@dataclass(frozen=True)
class Part:
    """Result of one target.

    Attributes:
        kind: of the target.
        reached: None where it cannot be measured; the others decide then.
        counts: sums that are pooled over items.
        why: why it could not be measured, or None.
    """

    kind: str
    reached: bool | None
    counts: Mapping[str, float] = field(default_factory=dict)
    why: str | None = None

    @staticmethod
    def together(parts: Iterable[Part]) -> dict[str, float]:
        """Return the sums of all parts; operations are counted where they could be measured."""
        sums: dict[str, float] = {}
        for part in parts:
            if part.reached is not None:
                for name, value in (("operations", 1.0), ("operations_reached", part.reached)):
                    sums[name] = sums.get(name, 0.0) + float(value)
            for name, value in part.counts.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums


def whole_score(parts: Sequence[Part]) -> Score:
    """Return the score of an item: reached where every part that can be measured was."""
    sums: dict[str, float | None] = dict(Part.together(parts))
    known = [part.reached for part in parts if part.reached is not None]
    if known:
        return Score(all(known), sums)
    whys = [part.why for part in parts if part.why] or ["the item has no target"]
    return Score.failed("; ".join(dict.fromkeys(whys)), **sums)


class Target(ABC):
    """One thing that an item has to reach."""

    @abstractmethod
    def judge(self, source: Utterance, output: Utterance, measures: Measures) -> Part:
        """Return the target's part of the mark.

        Args:
            source: before, with its words.
            output: after, with the words that it ought to say.
            measures: the bench's measurements.
        """

    @abstractmethod
    def lost(self) -> Part:
        """Return the part of an output that was not made: failed."""

    def waives(self) -> frozenset[str]:
        """Return the checks of preservation that the target contradicts."""
        return frozenset()

    def length_ratio(self, source: Utterance) -> float:
        """Return duration after over duration before, where it may grow."""
        return 1.0


# Words -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words(Target):
    """The changed words, and three on either side, are heard as they ought to be.

    Attributes:
        wanted: the whole text after the edit.
        regions: (first, stop) of the changed words in it, in words (characters of Chinese); equal
            where words were taken out.
        language: BCP 47 tag.
    """

    wanted: str
    regions: tuple[tuple[int, int], ...]
    language: str | None = None

    def judge(self, source: Utterance, output: Utterance, measures: Measures) -> Part:
        """Listen to the output."""
        try:
            heard = measures.transcribe(output)
        except StepeditError as error:
            return Part("text", None, why=f"the words could not be heard: {error}")
        local, around, errors, length = local_errors(
            self.wanted, heard, self.regions, self.language or output.language
        )
        return Part("text", local == 0, _text_counts(local, around, errors, length))

    def lost(self) -> Part:
        """Every word is an error, once."""
        tokens, mask = _reference(self.wanted, self.regions, self.language)
        around = int(mask.sum())
        return Part("text", False, _text_counts(around, around, len(tokens), len(tokens)))

    def waives(self) -> frozenset[str]:
        """Return nothing: the words are compared with those that are wanted."""
        return frozenset()

    def length_ratio(self, source: Utterance) -> float:
        """Return the ratio of how long both texts take to say."""
        before = nominal_seconds(source.transcript or "")
        return nominal_seconds(self.wanted) / before if before else 2.0


def _text_counts(local: int, around: int, errors: int, length: int) -> dict[str, float]:
    return {
        "local_errors": local,
        "local_length": around,
        "outside_errors": errors - local,
        "outside_length": length - around,
        "errors": errors,
        "length": length,
    }


def _tokens(text: str, language: str | None) -> list[str]:
    """Return the words of a text, or its characters, in the form in which they are compared."""
    plain = normalise(text, language)
    return list(plain) if counts_characters(language) else plain.split()


def _reference(
    wanted: str, regions: Iterable[tuple[int, int]], language: str | None
) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return the tokens of the wanted text, and which of them are looked at.

    Each stretch is brought to its comparable form by itself, so that a number that the form
    writes in digits does not blur where a change begins.
    """
    words = split_words(wanted)
    tokens: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for first, stop in sorted(regions):
        begin = words[first].start if first < len(words) else len(wanted)
        end = words[stop - 1].end if stop > first else begin
        tokens += _tokens(wanted[at:begin], language)
        start = len(tokens)
        tokens += _tokens(wanted[begin:end], language)
        places.append((start, len(tokens)))
        at = end
    tokens += _tokens(wanted[at:], language)
    mask = np.zeros(len(tokens), bool)
    for first, stop in places:
        mask[max(0, first - AROUND) : stop + AROUND] = True
    return tokens, mask


def local_errors(
    wanted: str, heard: str, regions: Sequence[tuple[int, int]], language: str | None
) -> tuple[int, int, int, int]:
    """Count errors around the changed words, and in the whole text.

    An inserted word belongs to the wanted word that follows it, at the end to the last one, so
    that errors inside and outside add up to all of them.

    Returns:
        Errors looked at, words looked at, all errors, all words.
    """
    jiwer = need("jiwer", "jiwer", "local error")
    ours, mask = _reference(wanted, regions, language)
    theirs = _tokens(heard, language)
    if not ours:
        return len(theirs), 0, len(theirs), 0
    if not theirs:
        return int(mask.sum()), int(mask.sum()), len(ours), len(ours)
    # Tokens may hold anything; letters stand for them, so that none is split or dropped.
    names = {token: f"w{n}" for n, token in enumerate(dict.fromkeys([*ours, *theirs]))}
    texts = (" ".join(names[token] for token in tokens) for tokens in (ours, theirs))
    found = jiwer.process_words(*texts).alignments[0]
    local = total = 0
    for chunk in found:
        if chunk.type == "equal":
            continue
        if chunk.type == "insert":
            count = chunk.hyp_end_idx - chunk.hyp_start_idx
            local += count * bool(mask[min(chunk.ref_start_idx, len(ours) - 1)])
        else:
            count = chunk.ref_end_idx - chunk.ref_start_idx
            local += int(mask[chunk.ref_start_idx : chunk.ref_end_idx].sum())
        total += count
    return local, int(mask.sum()), total, len(ours)


# Pitch, tempo and pauses -------------------------------------------------------------------


@dataclass(frozen=True)
class Acoustic(Target):
    """Pitch, tempo or a pause moves in the direction asked for, by enough.

    Attributes:
        kind: which.
        amount: semitones; factor of tempo; 1 for a longer pause, -1 for a shorter one.
        before: (first, stop) of the words in the source; a pause lies before ``first``.
        after: the same in the output.
    """

    kind: Literal["pitch", "rate", "pause"]
    amount: float
    before: tuple[int, int]
    after: tuple[int, int]

    def judge(self, source: Utterance, output: Utterance, measures: Measures) -> Part:
        """Time the words of both recordings and compare."""
        try:
            old, new = align(source), align(output)
            if self.kind == "pitch":
                return self._pitch(source, output, old, new, measures)
            return self._rate(old, new) if self.kind == "rate" else self._pause(old, new)
        except (StepeditError, IndexError) as error:
            return Part(self.kind, None, why=f"{self.kind}: {error}")

    def _pitch(
        self, source: Utterance, output: Utterance, old: Alignment, new: Alignment, m: Measures
    ) -> Part:
        """Return the mean shift over pairs of words that have a pitch in both recordings."""
        shifts = []
        for one, other in zip(range(*self.before), range(*self.after), strict=False):
            low = _f0(source, old.words[one].span, m)
            high = _f0(output, new.words[other].span, m)
            if low and high:
                shifts.append(12 * np.log2(high / low))
        if not shifts:
            return Part("pitch", None, why="pitch: no word has one in both recordings")
        shift = float(np.mean(shifts))
        reached = shift * np.sign(self.amount) >= LEAST["pitch"]
        return Part("pitch", bool(reached), {"pitch_error": abs(shift - self.amount), "pitches": 1})

    def _rate(self, old: Alignment, new: Alignment) -> Part:
        """Compare how long the words take."""
        before = old.words[self.before[1] - 1].end - old.words[self.before[0]].start
        after = new.words[self.after[1] - 1].end - new.words[self.after[0]].start
        if before <= 0:
            return Part("rate", None, why="rate: the words take no time")
        moved = 1 - after / before  # positive where the words take less time
        reached = moved * np.sign(self.amount - 1) >= LEAST["rate"]
        error = abs(after - before / self.amount)
        return Part("rate", bool(reached), {"rate_error": error, "rates": 1})

    def _pause(self, old: Alignment, new: Alignment) -> Part:
        """Compare the gaps."""
        moved = _gap(new, self.after[0]) - _gap(old, self.before[0])
        return Part("pause", bool(moved * self.amount >= LEAST["pause"]), {"pause_change": moved})

    def lost(self) -> Part:
        """Return a failure; a shift of pitch counts as eight semitones off."""
        worst = {"pitch": {"pitch_error": _WORST_PITCH, "pitches": 1.0}}
        return Part(self.kind, False, worst.get(self.kind, {}))

    def length_ratio(self, source: Utterance) -> float:
        """Return the ratio of durations by the tempo, or by a pause of a second."""
        if self.kind == "rate":
            return max(1.0, 1 / self.amount)
        return 1 + 1 / max(source.seconds, 0.5) if self.kind == "pause" else 1.0


def _f0(speech: Utterance, span: Span, measures: Measures) -> float | None:
    """Return the median F0 of a stretch in Hz; None where it has none."""
    if span.seconds < 0.04:
        return None
    try:
        return measures.median_f0(speech.slice(span))
    except StepeditError:
        return None


def _gap(alignment: Alignment, index: int) -> float:
    """Return the pause before a word, in seconds, 0 or more."""
    if not 0 < index < len(alignment.words):
        raise StepeditError("a pause at either end has no neighbour")
    left, right = alignment.words[index - 1 : index + 1]
    return max(0.0, right.start - left.end)


# Labels ------------------------------------------------------------------------------------


def labelled(edit: str, label: str) -> dict[str, Any]:
    """Return the data of an edit towards a label that its plugin may spell otherwise."""
    word = label.strip().lower()
    try:
        known = getattr(get_registry().edit_class(edit), "synonyms", {})
    except StepeditError:
        known = {}
    return {"edit": edit, "to": known.get(word, word)}


@dataclass(frozen=True)
class By(Target):
    """The scorer of an edit's plugin says that the edit was reached.

    Attributes:
        request: the edit as data.
        before: (first, stop) of its words in the source, or None for the whole recording.
        after: the same in the output.
    """

    request: Mapping[str, Any]
    before: tuple[int, int] | None = None
    after: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """Name of the edit."""
        return str(self.request.get("edit"))

    def judge(self, source: Utterance, output: Utterance, measures: Measures) -> Part:
        """Ask the plugin's scorer about the recording, or about the region."""
        try:
            edit = edit_from_data(dict(self.request))
            old = _region(source, self.before)
            new = _region(output, self.after)
            case = Case(id="item", edit=edit, audio="item.wav", transcript=old.transcript)
            scorer = get_registry().scorer(type(edit))
            score = scorer.score(case, Prepared(old), new, measures)
        except StepeditError as error:
            return Part(self.kind, None, why=f"{self.kind}: {error}")
        return Part(self.kind, score.reached, why=score.unscored)

    def lost(self) -> Part:
        """Return a failure."""
        return Part(self.kind, False)

    def _edit(self) -> Edit | None:
        try:
            return edit_from_data(dict(self.request))
        except StepeditError:
            return None

    def waives(self) -> frozenset[str]:
        """Return the checks that the plugin's scorer waives."""
        edit = self._edit()
        if edit is None:
            return frozenset()
        scorer = get_registry().scorer(type(edit))
        named = scorer.waives(Case(id="item", edit=edit, audio="item.wav"))
        return named if scorer.expects_same_speaker else named | {"speaker"}

    def length_ratio(self, source: Utterance) -> float:
        """Return the ratio of durations that the edit plans."""
        edit = self._edit()
        return 1.0 if edit is None else float(edit.plan(source).length_ratio)


def _region(speech: Utterance, words: tuple[int, int] | None) -> Utterance:
    """Return the stretch of some words with a quarter of a second around it."""
    if words is None:
        return speech
    known = align(speech)
    first, last = known.words[words[0]], known.words[words[1] - 1]
    span = Span(max(0.0, first.start - _PAD), min(speech.seconds, last.end + _PAD))
    places = known.places
    text = known.text[places[words[0]].start : places[words[1] - 1].end]
    return speech.slice(span).replace(transcript=text, alignment=None)
