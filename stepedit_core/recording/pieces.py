"""What is edited at once: tiles joined or cut to the length that suits the chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from stepedit_core.chain.result import RouteChoice
from stepedit_core.chain.validation import choose_route
from stepedit_core.engine import SpeechEngine, longest_seconds
from stepedit_core.errors import InvalidChainError, StepeditError
from stepedit_core.recording.levels import Levels
from stepedit_core.recording.segments import PIECE_SECONDS, Segment, Tile
from stepedit_core.recording.streaming import Stretch

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain

__all__ = ["DSP_SECONDS", "Manner", "Piece", "manner_of", "plan_pieces"]

DSP_SECONDS = 30.0
"""Longest stretch that signal processing edits at once, unless the caller says otherwise: long
enough for an estimate of noise. At high rates it is shorter, for memory."""
_DSP_SAMPLES, _DSP_LEAST = 720_000, 10.0
_LEFT_SECONDS = 60.0  # what is left alone is copied in parts of at most this length
_SHORT_SECONDS = 2.0  # a sentence as short as this goes with the next one
_ENDS = (".", "!", "?", "…", "。", "！", "？", '"', "”", "」", "』", ")")


@dataclass(frozen=True)
class Manner:
    """How a chain is carried out on a long recording.

    Attributes:
        longest: of the pieces, in seconds.
        by_llm: whether a step takes the llm route.
        needs_words: whether a step needs the words.
        keeps_level: whether pieces keep the loudness of their source.
        needs_speakers: whether a step acts where someone speaks.
    """

    longest: float
    by_llm: bool
    needs_words: bool
    keeps_level: bool
    needs_speakers: bool


@dataclass(frozen=True)
class Piece(Stretch):
    """A stretch that is edited at once, or left alone.

    Attributes:
        number: from 1, in order of time.
        segments: in it.
        text: their words, or None.
        is_edited: whether the chain runs on it.
    """

    number: int
    segments: tuple[Segment, ...] = ()
    text: str | None = None
    is_edited: bool = False


def manner_of(
    chain: Chain,
    engine: SpeechEngine | None,
    route: RouteChoice,
    rate: int,
    longest: float | None = None,
) -> Manner:
    """Return how a chain is carried out on a long recording.

    Args:
        chain: what to do.
        engine: for the llm route; it may say how long pieces may be.
        route: one for all steps, or ``auto``.
        rate: of the recording, in Hz.
        longest: length of pieces in seconds that the caller asks for.

    Raises:
        InvalidChainError: if a step has no route.
    """
    by_llm = needs_words = False
    limits: list[float] = []
    edits = chain.unrolled()
    if not edits:
        raise InvalidChainError("the chain is empty: give at least one edit")
    for number, edit in enumerate(edits, 1):
        try:
            taken = choose_route(edit, engine, route)
        except StepeditError as error:
            raise InvalidChainError(f"step {number}, {edit.name}: {error}") from error
        needs_words |= edit.needs_transcript(taken)
        if taken == "llm":
            by_llm = True
            limits.append(longest_seconds(engine, edit) or PIECE_SECONDS)
    dsp = min(DSP_SECONDS, max(_DSP_LEAST, _DSP_SAMPLES / rate))
    most = longest or min(limits, default=dsp)
    if not most >= 1:
        raise InvalidChainError(f"pieces of at most {most:g} s cannot be edited; 1 s is the least")
    keeps = not any(edit.changes_level() for edit in edits)
    speakers = any(edit.needs_speakers() for edit in edits)
    return Manner(most, by_llm, needs_words, keeps, speakers)


def plan_pieces(
    tiles: Sequence[Tile], chosen: frozenset[int] | None, manner: Manner, levels: Levels
) -> list[Piece]:
    """Return pieces that cover the recording without gap or overlap.

    Tiles are joined up to the longest piece: all that are chosen where no step takes the llm
    route; otherwise those of one speaker whose sentence goes on, or that are very short. Longer
    tiles are cut in pauses.

    Args:
        tiles: of the recording.
        chosen: numbers of the segments that are edited; None is all of the recording.
        manner: of the chain.
        levels: of the recording.
    """
    flags = _edited(tiles, chosen, manner)
    rate = levels.rate
    groups: list[tuple[bool, list[Tile]]] = []
    for tile, flag in zip(tiles, flags, strict=True):
        if groups and groups[-1][0] == flag:
            group = groups[-1][1]
            longest = manner.longest if flag else _LEFT_SECONDS
            fits = (tile.stop - group[0].start) / rate <= longest
            if fits and (not flag or not manner.by_llm or _belong(group, tile, rate)):
                group.append(tile)
                continue
        groups.append((flag, [tile]))
    return _numbered(groups, manner, levels)


def _edited(tiles: Sequence[Tile], chosen: frozenset[int] | None, manner: Manner) -> list[bool]:
    """Say of each tile whether it is edited; a pause is where both of its neighbours are."""
    flags = [
        chosen is None or any(part.number in chosen for part in tile.segments) for tile in tiles
    ]
    for n, tile in enumerate(tiles):
        if not tile.segments and chosen is not None:
            flags[n] = 0 < n < len(tiles) - 1 and flags[n - 1] and _is_chosen(tiles[n + 1], chosen)
        if manner.needs_words and not tile.text:
            flags[n] = False
    return flags


def _is_chosen(tile: Tile, chosen: frozenset[int]) -> bool:
    """Say whether a segment of a tile is chosen."""
    return any(part.number in chosen for part in tile.segments)


def _belong(group: Sequence[Tile], tile: Tile, rate: int) -> bool:
    """Say whether a tile is edited together with those before it."""
    last = group[-1]
    if not tile.segments or not last.segments or tile.speaker != last.speaker:
        return False
    short = min(last.stop - group[0].start, tile.stop - tile.start) / rate < _SHORT_SECONDS
    goes_on = last.text is not None and not last.text.rstrip().endswith(_ENDS)
    return short or goes_on


def _numbered(
    groups: Iterable[tuple[bool, list[Tile]]], manner: Manner, levels: Levels
) -> list[Piece]:
    """Return the pieces of groups of tiles, those that are too long cut in pauses."""
    pieces: list[Piece] = []
    for flag, group in groups:
        start, stop = group[0].start, group[-1].stop
        segments = tuple(part for tile in group for part in tile.segments)
        text = " ".join(part.text for part in segments if part.text) or None
        # What has words is cut between them, by `cut_long_tiles`, before the pieces are planned.
        whole = flag and manner.needs_words
        limit = manner.longest if flag else _LEFT_SECONDS
        cuts = [] if whole else levels.cuts(start, stop, limit)
        edges = [start, *cuts, stop]
        for place, (a, b) in enumerate(pairwise(edges)):
            pieces.append(
                Piece(
                    a,
                    b,
                    len(pieces) + 1,
                    segments if not place else (),
                    text if not cuts else None,
                    flag,
                )
            )
    return pieces
