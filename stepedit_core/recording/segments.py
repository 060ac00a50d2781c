"""Segments of a recording (a subtitle, a sentence, a stretch between pauses) and their tiles.

Segments say who speaks when. Tiles cover the recording without gap or overlap: each reaches from
pause to pause around its segments, so that what lies between two words is edited with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

from stepedit_core.errors import AlignmentError, suggest
from stepedit_core.recording.levels import Levels
from stepedit_core.recording.subtitles import Cue

__all__ = [
    "PIECE_SECONDS",
    "Segment",
    "Tile",
    "choose",
    "parse_numbers",
    "tiles_by_pauses",
    "tiles_of_segments",
]

PIECE_SECONDS = 15.0
"""Longest stretch that a language model edits at once, unless its engine says otherwise."""
LONG_GAP = 2.0
"""A pause this long between segments, in seconds, is a tile of its own."""
_REACH = 0.8  # how far from its segment a tile goes into such a pause, in seconds
_TOUCH = 0.15  # where segments touch, the pause between them is looked for so near, in seconds


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording that is edited or left alone as a whole.

    Attributes:
        number: from 1, in order of time.
        start: in seconds of the recording.
        end: in seconds.
        text: the words, or None where they are not known.
        speaker: who speaks, or None.
    """

    number: int
    start: float
    end: float
    text: str | None = None
    speaker: str | None = None

    @property
    def cue(self) -> Cue:
        """The segment as a subtitle."""
        return Cue(self.start, self.end, self.text or "", self.speaker)


@dataclass(frozen=True)
class Tile:
    """A stretch of samples, and the segments in it; none in a long pause.

    Attributes:
        start: first sample.
        stop: sample after the last.
        segments: by start.
    """

    start: int
    stop: int
    segments: tuple[Segment, ...] = ()

    @property
    def text(self) -> str | None:
        """The words of all its segments, or None where there are none."""
        words = " ".join(part.text for part in self.segments if part.text)
        return words or None

    @property
    def speaker(self) -> str | None:
        """The one speaker, or None."""
        names = {part.speaker for part in self.segments}
        return names.pop() if len(names) == 1 else None


def tiles_by_pauses(levels: Levels, longest: float) -> list[Tile]:
    """Return tiles of at most so many seconds, cut in pauses; each is one segment."""
    edges = [0, *levels.cuts(0, levels.samples, longest), levels.samples]
    rate = levels.rate
    return [
        Tile(start, stop, (Segment(number, start / rate, stop / rate),))
        for number, (start, stop) in enumerate(pairwise(edges), 1)
    ]


def tiles_of_segments(segments: Sequence[Segment], levels: Levels) -> list[Tile]:
    """Return tiles around segments; those that overlap by half or more share one.

    Args:
        segments: by start, all beginning inside the recording.
        levels: of the recording.
    """
    groups = _groups(segments)
    found: list[tuple[int, int, list[Segment]]] = []
    at = 0
    for place, group in enumerate(groups):
        if not place:
            at = _open(found, at, group[0].start, levels)
        after = groups[place + 1][0].start if place + 1 < len(groups) else None
        stop, following = _between(max(part.end for part in group), after, levels)
        stop, following = max(stop, at), max(following, at)
        if stop > at or not found:
            found.append((at, stop, group))
        else:
            found[-1][2].extend(group)
        if following > stop:
            found.append((stop, following, []))
        at = following
    return [Tile(start, stop, tuple(inside)) for start, stop, inside in found]


def _groups(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Return the segments, those together that overlap by half of the shorter one."""
    groups: list[list[Segment]] = []
    before = 0.0
    for segment in segments:
        shared = before - segment.start
        shorter = min(
            segment.end - segment.start,
            before - groups[-1][0].start if groups else segment.end,
        )
        if groups and shared > 0 and shared >= 0.5 * shorter:
            groups[-1].append(segment)
            before = max(before, segment.end)
        else:
            groups.append([segment])
            before = segment.end
    return groups


def _open(
    found: list[tuple[int, int, list[Segment]]], at: int, opening: float, levels: Levels
) -> int:
    """Put what lies before the first segment into a tile of its own where it is long."""
    if opening <= LONG_GAP:
        return at
    stop = levels.quietest(round((opening - _REACH) * levels.rate), round(opening * levels.rate))
    found.append((at, stop, []))
    return stop


def _between(end: float, start: float | None, levels: Levels) -> tuple[int, int]:
    """Return where a tile ends and the next one begins; both are one cut in short pauses."""
    rate = levels.rate
    total = levels.samples / rate
    if start is None:
        if total - end <= LONG_GAP:
            return levels.samples, levels.samples
        return levels.quietest(round(end * rate), round((end + _REACH) * rate)), levels.samples
    if start - end > LONG_GAP:
        first = levels.quietest(round(end * rate), round((end + _REACH) * rate))
        return first, levels.quietest(round((start - _REACH) * rate), round(start * rate))
    low, high = min(end, start), max(end, start)
    if high - low < _TOUCH:
        low, high = (low + high) / 2 - _TOUCH, (low + high) / 2 + _TOUCH
    cut = levels.quietest(max(0, round(low * rate)), min(levels.samples, round(high * rate)))
    return cut, cut


def choose(
    segments: Sequence[Segment], numbers: Iterable[int] | None, speaker: str | None
) -> frozenset[int] | None:
    """Return the numbers of the segments that are meant; None means all of the recording.

    Args:
        segments: of the recording.
        numbers: those asked for, or None.
        speaker: only this speaker's, or None.

    Raises:
        AlignmentError: if there is no such segment or speaker; near misses are named.
    """
    if numbers is None and speaker is None:
        return None
    chosen = {part.number for part in segments}
    if numbers is not None:
        asked = set(numbers) if isinstance(numbers, Iterable) else {numbers}
        if not asked or not all(isinstance(one, Integral) for one in asked):
            raise AlignmentError(f"segments are numbers such as [3, 4], got {numbers!r}")
        if asked - chosen:
            missing = min(asked - chosen)
            there = "there is one" if max(chosen) == 1 else f"there are 1 to {max(chosen)}"
            raise AlignmentError(f"no segment {missing}: {there}")
        chosen = asked
    if speaker is not None:
        names = sorted({part.speaker for part in segments if part.speaker})
        if speaker not in names:
            verb = "is" if len(names) == 1 else "are"
            known = f"; there {verb} {', '.join(names[:8])}" if names else "; no speaker is known"
            raise AlignmentError(f"no speaker {speaker!r}{suggest(speaker, names) or known}")
        chosen &= {part.number for part in segments if part.speaker == speaker}
        if not chosen:
            raise AlignmentError(f"{speaker!r} speaks in none of the segments asked for")
    return frozenset(chosen)


def parse_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of ``3-7`` or ``1,4,6-9``.

    Raises:
        AlignmentError: if the text is no list of numbers and ranges.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError:
            low, high = 0, -1
        if not 1 <= low <= high or high > 1_000_000:
            raise AlignmentError(f"segments are numbers such as 3-7 or 1,4,6-9, got {text!r}")
        numbers += range(low, high + 1)
    return tuple(dict.fromkeys(numbers))
