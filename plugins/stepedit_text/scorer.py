"""Scorer of edits of the words: the asked words are said, the others too, nothing else changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import Case, Measures, Prepared, Score, Scorer, StepeditError, Utterance
from stepedit_core.dsp.words import heard_form, split_words
from stepedit_text.changes import Change
from stepedit_text.edit import TextEdit

__all__ = ["TextScorer", "local_errors", "misheard", "share_kept"]

AROUND = 3
"""Words on either side of a change that are looked at, as doteBench does."""
SLACK_SECONDS = 0.4
"""How much more than the changed words may differ from the source's samples."""
_PROBE_SECONDS = 0.005
"""Samples between two changes are looked for by so many of them at a time."""

FloatArray = npt.NDArray[np.float32]


class TextScorer(Scorer):
    """Listen for the words around each change and compare the samples elsewhere.

    Reached: a recogniser hears the changed words and three words on either side as they were
    asked for, without one error, and all samples but the changed stretch are the source's. Words
    that it does not hear in the source either are not asked for again; where it hears none of them,
    nothing is scored.
    """

    version: ClassVar[int] = 3

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure the words around the changes and the share of samples that is kept."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, TextEdit):
            return Score.failed(f"the text scorer was given the edit {edit.name}")
        text = source.transcript or ""
        asked = edit.transcript_after(source) or ""
        changes = edit.changes(text)
        if not changes:
            return Score.failed("the case asks for no change of the words")
        try:
            heard = measures.transcribe(output)
            unheard = misheard(text, measures.transcribe(source))
        except StepeditError as error:
            return Score.failed(f"the words could not be heard: {error}")
        errors, looked_at = local_errors(asked, changes, heard, unheard)
        if looked_at <= sum(len(split_words(change.by)) for change in changes):
            return Score.failed("none of the words beside the changes is heard in the source")
        kept = share_kept(source, output, len(changes))
        words = [word.seconds for word in split_words(text)]
        moved = sum(sum(words[c.first : c.stop]) for c in changes)
        moved += sum(word.seconds for c in changes for word in split_words(c.by))
        allowed = 1.0 - min(1.0, (2 * moved + SLACK_SECONDS * len(changes)) / output.seconds)
        values: dict[str, float | None] = {
            "local_error": errors / max(1, looked_at),
            "samples_kept": kept,
            "duration_ratio": output.seconds / source.seconds,
        }
        return Score(errors == 0 and kept >= allowed, values)


def misheard(text: str, heard: str) -> frozenset[int]:
    """Return the indices of a transcript's words that were not heard."""
    wanted, spoken = (
        [heard_form(word.text) for word in split_words(said)] for said in (text, heard)
    )
    matcher = difflib.SequenceMatcher(None, wanted, spoken, autojunk=False)
    found = {n for i, _, size in matcher.get_matching_blocks() for n in range(i, i + size)}
    return frozenset(range(len(wanted))) - found


def local_errors(
    asked: str,
    changes: Sequence[Change],
    heard: str,
    unheard: frozenset[int] = frozenset(),
) -> tuple[int, int]:
    """Return the word errors around the changes, and how many words were looked at.

    Args:
        asked: the transcript that was asked for.
        changes: that led to it.
        heard: what a recogniser hears in the output.
        unheard: indices of words of the transcript before that are not heard in the source: their
            errors do not count.
    """
    wanted = [heard_form(word.text) for word in split_words(asked)]
    spoken = [heard_form(word.text) for word in split_words(heard)]
    windows, shift = set(), 0
    edges: set[int] = set()
    for change in sorted(changes):
        new = len(split_words(change.by))
        start = change.first + shift
        windows |= set(range(max(0, start - AROUND), min(len(wanted), start + new + AROUND)))
        edges |= set(range(max(0, start - AROUND), start + new + AROUND + 1))
        shift += new - (change.stop - change.first)
    excused = _places_after(changes, unheard)
    errors = 0
    matcher = difflib.SequenceMatcher(None, wanted, spoken, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            continue
        missed = len((windows - excused) & set(range(i, j)))
        added = (m - k) if (edges & set(range(i, j + 1))) else 0
        errors += max(missed, added - len(excused & set(range(i, j))))
    return errors, len(windows - excused)


def _places_after(changes: Sequence[Change], places: Iterable[int]) -> set[int]:
    """Return where words of a transcript stand after changes; those that go are left out."""
    found = set()
    for n in places:
        if not any(change.first <= n < change.stop for change in changes):
            before = [change for change in changes if change.stop <= n]
            found.add(n + sum(len(split_words(c.by)) - (c.stop - c.first) for c in before))
    return found


def share_kept(source: Utterance, output: Utterance, places: int = 1) -> float:
    """Return the share of an output that is the source's samples, in order, around changes.

    Args:
        source: the recording.
        output: what came out.
        places: in how many places it was changed. What lies between them is looked for by its
            samples, wherever it went.
    """
    if source.sample_rate != output.sample_rate:
        return 0.0
    a, b = source.samples, output.samples
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    head = int(differs[0]) if len(differs) else n
    differs = np.flatnonzero(a[len(a) - n :][::-1] != b[len(b) - n :][::-1])
    tail = min(int(differs[0]) if len(differs) else n, n - head)
    size = max(2, round(_PROBE_SECONDS * source.sample_rate))
    inside = a[head : len(a) - tail], b[head : len(b) - tail]
    between, _ = _kept_between(*inside, places - 1, size)
    return (head + tail + between) / max(1, len(b))


def _kept_between(a: FloatArray, b: FloatArray, runs: int, size: int) -> tuple[int, int]:
    """Return how many samples of ``b`` are those of ``a`` in some runs at most, and their number.

    Args:
        a: samples of the source.
        b: samples of the output.
        runs: the most that are looked for, the longest first.
        size: samples of the shortest.
    """
    if runs < 1:
        return 0, 0
    start, at, length = _longest_run(a, b, size)
    if not length:
        return 0, 0
    left, used = _kept_between(a[:start], b[:at], runs - 1, size)
    rest = a[start + length :], b[at + length :]
    right, more = _kept_between(*rest, runs - 1 - used, size)
    return left + length + right, 1 + used + more


def _longest_run(a: FloatArray, b: FloatArray, size: int) -> tuple[int, int, int]:
    """Return where the longest run of equal samples begins in both, and its length; 0 is none."""
    best, start, content = (0, 0, 0), 0, b.tobytes()
    while start + size <= len(a):
        probe = a[start : start + size]
        place = -1 if np.ptp(probe) == 0 else content.find(probe.tobytes())
        if place < 0 or place % b.itemsize:
            start += size
            continue
        at = place // b.itemsize
        n = min(len(a) - start, len(b) - at)
        differs = np.flatnonzero(a[start : start + n] != b[at : at + n])
        ahead = int(differs[0]) if len(differs) else n
        m = min(start, at)
        differs = np.flatnonzero(a[start - m : start][::-1] != b[at - m : at][::-1])
        behind = int(differs[0]) if len(differs) else m
        best = max(best, (start - behind, at - behind, ahead + behind), key=lambda run: run[2])
        start += ahead
    return best
