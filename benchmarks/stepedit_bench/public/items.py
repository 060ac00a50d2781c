"""Items of public test sets: a recording, the requested edits, and the targets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepedit_bench.public.targets import Part, Target, whole_score
from stepedit_bench.suites import Unit
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.chain.result import DEFAULT_CARRY, Carry
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.interpretation import interpret
from stepedit_core.recording.hearing import transcribe, with_words
from stepedit_core.scoring import Measures, Prepared, Score
from stepedit_core.utterance import Utterance

__all__ = ["MAX_TEXT", "Item", "PublicUnit", "bounded", "inside", "phrase_at", "shortened"]

MAX_TEXT = 4_000
"""Most characters of an instruction or a transcript."""
MAX_BYTES = 200_000_000
"""Largest file of a test set that is read."""
_OUTSIDE = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*:|[/\\])")


@dataclass(frozen=True)
class Item:
    """One item of a public test set.

    Attributes:
        id: as in the set.
        row: what it is counted in.
        audio: its recording.
        language: BCP 47 tag, or None where the set does not say.
        instructions: what is asked in words; several correct each other in turn.
        requests: what is asked as data of edits, in place of words, in order.
        transcript: the words that systems may know, or None: then a recogniser hears them.
        said: the words of the recording that the set's own judge knows.
        wanted: the words that the output ought to say, or None where they are not known.
        targets: what has to be reached; every one counts.
        problem: why no edit of ours can be asked for it, or None; then it counts as failed.
        carry: what an edit hands to the next one.
        judged_elsewhere: who judges the set, where nobody here can.
        more: further facts for the results; JSON data.
    """

    id: str
    row: str
    audio: Path
    language: str | None = None
    instructions: tuple[str, ...] = ()
    requests: tuple[Mapping[str, Any], ...] = ()
    transcript: str | None = None
    said: str | None = None
    wanted: str | None = None
    targets: tuple[Target, ...] = ()
    problem: str | None = None
    judged_elsewhere: str | None = None
    carry: Carry = DEFAULT_CARRY
    more: Mapping[str, Any] = field(default_factory=dict)

    def edits(self, source: Utterance) -> tuple[Edit, ...]:
        """Return the edits that the item asks of a recording.

        Raises:
            StepeditError: if no installed edit can express it; the text says what is missing.
        """
        if self.problem is not None:
            raise StepeditError(self.problem)
        if self.requests:
            return tuple(edit_from_data(dict(data)) for data in self.requests)
        if not self.instructions:
            raise StepeditError("the item asks for nothing")
        read = interpret(self.instructions, source)
        try:
            chain = read.chain
        except StepeditError:
            if read.alternatives or source.alignment is not None or not source.transcript:
                raise
            # A region in words: now the words have to be timed.
            chain = interpret(self.instructions, with_words(source)[0]).chain
        return tuple(_flat(chain))


def _flat(chain: Chain) -> Iterator[Edit]:
    yield from chain.unrolled()


@dataclass(frozen=True)
class PublicUnit(Unit):
    """An item as a unit of work: one row of results for the recording after all its edits.

    Attributes:
        item: what is asked.
    """

    item: Item = field(kw_only=True)

    @property
    def name(self) -> str:
        """Id of the item."""
        return self.item.id

    @property
    def whole(self) -> bool:
        """Return True: rows are of the whole chain."""
        return True

    def start(self) -> Utterance:
        """Return the recording with the words that a system may know.

        Raises:
            AudioError: if it cannot be read.
        """
        item = self.item
        speech = Utterance.read(item.audio, item.transcript, item.language)
        if item.transcript is not None or not item.instructions or item.problem:
            return speech
        try:
            heard = transcribe(speech)
        except StepeditError:
            return speech
        return speech.replace(transcript=heard.text, language=speech.language or heard.language)

    @property
    def carry(self) -> Carry:
        """What an edit hands to the next one."""
        return self.item.carry

    def requests(self, iterations: int) -> tuple[Edit, ...]:
        """Return nothing: what is asked is known when the recording is."""
        return ()

    def edits_on(self, source: Utterance, iterations: int) -> tuple[Edit, ...]:
        """Return the edits, in order, once: a test set has no iterations.

        Raises:
            StepeditError: if no installed edit can express the item.
        """
        return self.item.edits(source)

    def known(self, source: Utterance) -> Utterance:
        """Return the recording with the words that its judge knows."""
        return source.replace(transcript=self.item.said) if self.item.said else source

    def promised(self, output: Utterance) -> Utterance:
        """Return an output with the words that it ought to say."""
        return output.replace(transcript=self.item.wanted) if self.item.wanted else output

    def score(self, prepared: Prepared, output: Utterance, measures: Measures) -> Score | None:
        """Return whether every target was reached, and how many were."""
        item = self.item
        if item.judged_elsewhere:
            return Score.failed(f"judged by {item.judged_elsewhere}")
        source = self.known(prepared.source)
        parts = [target.judge(source, self.promised(output), measures) for target in item.targets]
        return whole_score(parts)

    def lost(self) -> Mapping[str, float]:
        """Return the counts of an output that was not made: all errors, nothing reached."""
        return Part.together([target.lost() for target in self.item.targets])

    def expectation(
        self, source: Utterance, iteration: int
    ) -> tuple[float, bool, frozenset[str]] | None:
        """Return by how much the duration may grow, and the checks that the targets contradict."""
        waived: frozenset[str] = frozenset()
        for target in self.item.targets:
            waived |= target.waives()
        ratio = max([1.0, *(target.length_ratio(source) for target in self.item.targets)])
        return ratio, False, waived

    def facts(self) -> dict[str, Any]:
        """Return the fields of the unit that all its rows have; JSON data."""
        item = self.item
        return {
            "edit": self.edit,
            "case": item.id,
            "class": item.row,
            "speaker": None,
            "row": None,
            "request": {
                "instructions": list(item.instructions),
                "requests": [dict(data) for data in item.requests],
            },
            "seed": self.seed,
            **item.more,
        }


def inside(root: Path, relative: str) -> Path:
    """Return the path of a file of a test set.

    Raises:
        StepeditError: if it names a place outside the folder, or an address.
    """
    if not relative or _OUTSIDE.match(relative) or ".." in Path(relative).parts:
        raise StepeditError(f"{root}: {relative[:120]!r} is no path inside the folder")
    path = root / relative
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise StepeditError(f"{root}: {relative[:120]!r} leads outside the folder")
    return path


def bounded(path: Path, what: str) -> Path:
    """Return a file of a test set that may be read.

    Raises:
        StepeditError: if it is not there, or too large.
    """
    if not path.is_file():
        raise StepeditError(f"{path}: no such file; --suite-path names a copy of {what}")
    if path.stat().st_size > MAX_BYTES:
        raise StepeditError(f"{path}: larger than {MAX_BYTES // 10**6} MB; it is no part of {what}")
    return path


def phrase_at(text: str, words: tuple[int, int]) -> tuple[str, int]:
    """Return some words of a text, and which of their occurrences is meant, from 1.

    Args:
        text: a transcript.
        words: (first, stop) in it.

    Raises:
        StepeditError: if that is no word.
    """
    found = split_words(text)
    if not 0 <= words[0] < words[1] <= len(found):
        raise StepeditError("the place that is named holds no word")
    plain = [normalised(word.text) for word in found]
    first, stop = words
    size = stop - first
    which = sum(plain[n : n + size] == plain[first:stop] for n in range(first + 1))
    return text[found[first].start : found[stop - 1].end], which


def shortened(texts: Sequence[str], where: str) -> tuple[str, ...]:
    """Return texts that are not too long.

    Raises:
        StepeditError: naming the place of one that is.
    """
    for text in texts:
        if len(text) > MAX_TEXT:
            raise StepeditError(f"{where}: {len(text)} characters; {MAX_TEXT} are the most")
    return tuple(texts)
