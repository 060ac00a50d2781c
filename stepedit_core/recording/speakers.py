"""Who speaks when, where nobody said so: parts of a recording are told apart by their voices."""

from __future__ import annotations

import dataclasses
import re
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, cast

from stepedit_core.alignment import Alignment, Listener
from stepedit_core.errors import AlignmentError, counted
from stepedit_core.recording.hearing import choose_listener, load_listener
from stepedit_core.recording.segments import PIECE_SECONDS, Segment, Tile, tiles_by_pauses
from stepedit_core.recording.streaming import Stretch, read_stretches
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.recording.recording import Recording

__all__ = ["Diariser", "check_speaker", "hear_speakers", "tell_apart", "with_speakers"]

_PART_SECONDS = 3.0
"""Longest part of a recording without words that is given to one speaker."""
_LETTERS = re.compile(r"[A-Z]([2-9]|[1-9][0-9]+)?")
"""Names of voices that are told apart; see `_letters`."""
_PAUSE = 0.3
"""Words this far apart may be two speakers', in seconds."""


class Diariser(Listener):
    """Tells speakers apart by their voices: the same answer for the same parts."""

    @abstractmethod
    def tell_apart(self, parts: Iterable[Utterance]) -> list[int | None]:
        """Return the number of the speaker of each part, or None where too little is said.

        Parts are read one after the other and need not be kept.

        Args:
            parts: stretches of one recording in which one speaker speaks.
        """


def tell_apart(
    parts: Iterable[Utterance],
    diariser: str = "auto",
    language: str | None = None,
    *,
    registry: Registry | None = None,
) -> tuple[list[str | None], str]:
    """Return the speaker of each part (``A`` speaks first, then ``B``), and who told them apart.

    Parts with too little speech have the speaker before them.

    Args:
        parts: of one recording, in order.
        diariser: ``auto``, a name, or ``name:model``.
        language: BCP 47 tag, or None.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        StepeditError: if no diariser is installed.
    """
    kind, model = _choose_diariser(diariser, language, registry)
    chosen = cast(Diariser, load_listener(cast(Hashable, kind), model, 1))
    numbers = chosen.tell_apart(parts)
    names: dict[int, str] = {}
    for number in numbers:
        if number is not None:
            names.setdefault(number, _letters(len(names)))
    found: list[str | None] = []
    for number in numbers:
        before = found[-1] if found else None
        found.append(before if number is None else names[number])
    first = next((name for name in found if name is not None), None)
    return [first if name is None else name for name in found], kind.title(model)


def _choose_diariser(
    spec: str, language: str | None, registry: Registry | None = None
) -> tuple[type[Diariser], str | None]:
    """Return the class and the model that a spec names; raises as ``tell_apart`` does."""
    found = (registry or get_registry()).named("stepedit_diarisers", lambda kind: str(kind.name))
    known = cast(dict[str, type[Diariser]], dict(found))
    return choose_listener(known, spec, language, "diariser")


def check_speaker(recording: Recording, speaker: str | None) -> None:
    """Refuse a speaker who will not be told apart, before anything is heard.

    Args:
        recording: with speakers or without.
        speaker: who is asked for; None is anybody.

    Raises:
        AlignmentError: if there is no such speaker, or there cannot be.
        StepeditError: if no diariser is installed, and no speaker is named.
    """
    if any(part.speaker for part in recording.segments):
        recording.chosen(None, speaker)
        return
    _choose_diariser("auto", recording.language)
    if speaker is not None and not _LETTERS.fullmatch(speaker):
        raise AlignmentError(
            f"no speaker {speaker!r}: no segment of {recording.path} names one, and voices that "
            "are told apart are A, B, ..."
        )


def with_speakers(utterance: Utterance, alignment: Alignment) -> Alignment:
    """Return an alignment with a speaker for each word; one that has them is returned as it is.

    A run of words up to a pause of 0.3 s or the end of a sentence is one speaker's.

    Raises:
        AlignmentError: if nobody can be told apart.
        StepeditError: if no diariser is installed.
    """
    if any(alignment.speakers):
        return alignment
    ends = {sentence.stop for sentence in alignment.sentences}
    words = alignment.words
    starts = [
        n
        for n in range(len(words))
        if n == 0 or n in ends or words[n].start - words[n - 1].end >= _PAUSE
    ]
    stops = [*starts[1:], len(words)]
    parts = (
        utterance.slice((words[a].start, words[b - 1].end))
        for a, b in zip(starts, stops, strict=True)
    )
    names, teller = tell_apart(parts, language=utterance.language)
    speakers = tuple(
        name for name, a, b in zip(names, starts, stops, strict=True) for _ in range(b - a)
    )
    if not any(speakers):
        raise AlignmentError("no voice is heard that could be told from another")
    note = f"{counted(len(set(speakers)), 'speaker')} told apart by {teller}"
    return dataclasses.replace(alignment, speakers=speakers, notes=(*alignment.notes, note))


def hear_speakers(recording: Recording) -> tuple[list[Tile], str]:
    """Return the tiles of a recording with a speaker for each segment, and a note.

    Segments with words keep their borders. Without words, parts of at most 3 s between pauses are
    told apart, and those of one speaker that follow each other are joined.

    Raises:
        AlignmentError: if nobody can be told apart.
        StepeditError: if no diariser is installed.
    """
    has_words = recording.has_words
    tiles = recording.tiles if has_words else tiles_by_pauses(recording.levels, _PART_SECONDS)
    stretches = [Stretch(tile.start, tile.stop) for tile in tiles]

    def parts() -> Iterator[Utterance]:
        with recording.open() as sound:
            for stretch, samples in read_stretches(sound.blocks(), stretches):
                del stretch
                yield Utterance(samples, recording.sample_rate, language=recording.language)

    names, teller = tell_apart(parts(), language=recording.language)
    if not any(names):
        raise AlignmentError(f"{recording.path}: no voice is heard that could be told from another")
    rate = recording.sample_rate
    named = _named(tiles, names) if has_words else _joined(tiles, names, rate)
    return named, _note(named, teller, rate)


def _named(tiles: Sequence[Tile], names: Sequence[str | None]) -> list[Tile]:
    """Return tiles whose segments have the tile's speaker."""
    return [
        dataclasses.replace(
            tile,
            segments=tuple(dataclasses.replace(part, speaker=name) for part in tile.segments),
        )
        for tile, name in zip(tiles, names, strict=True)
    ]


def _joined(tiles: Sequence[Tile], names: Sequence[str | None], rate: int) -> list[Tile]:
    """Return one tile for neighbouring ones of one speaker, up to the longest piece."""
    joined: list[Tile] = []
    for name, run in groupby(zip(tiles, names, strict=True), key=lambda pair: pair[1]):
        start = None
        for tile, _ in run:
            if start is not None and (tile.stop - joined[-1].start) / rate <= PIECE_SECONDS:
                joined.pop()
            else:
                start = tile.start
            number = len(joined) + 1
            segment = Segment(number, start / rate, tile.stop / rate, None, name)
            joined.append(Tile(start, tile.stop, (segment,)))
    return joined


def _note(tiles: Sequence[Tile], teller: str, rate: int) -> str:
    """Say who was told apart, and where each of them speaks first."""
    seconds: dict[str, float] = {}
    first: dict[str, float] = {}
    for tile in tiles:
        if tile.segments and tile.speaker:
            seconds[tile.speaker] = seconds.get(tile.speaker, 0) + (tile.stop - tile.start) / rate
            first.setdefault(tile.speaker, tile.segments[0].start)
    shown = [f"{name} {total:.0f} s from {first[name]:.1f} s" for name, total in seconds.items()]
    rest = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    told = ", ".join(shown[:8])
    return f"{counted(len(seconds), 'speaker')} told apart by {teller}: {told}{rest}"


def _letters(number: int) -> str:
    """Return A, B, ... Z, A2, B2 and so on."""
    turn, place = divmod(number, 26)
    return chr(ord("A") + place) + (str(turn + 1) if turn else "")
