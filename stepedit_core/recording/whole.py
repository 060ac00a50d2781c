"""What edits mean of a whole recording, where they are carried out piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stepedit_core.errors import InvalidChainError
from stepedit_core.recording.loudness import level_of
from stepedit_core.recording.pieces import Piece
from stepedit_core.recording.streaming import read_stretches

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.edit import Edit
    from stepedit_core.recording.recording import Recording

__all__ = ["aimed_at_level", "bound_to_whole", "says_a_text"]

_ANY_LEVEL = (-20.0, 0.5)


def says_a_text(chain: Chain) -> str | None:
    """Return the name of an edit that says the same text whatever it is given, if there is one."""
    return next((e.name for e in chain.unrolled() if e.saying("x") is not None), None)


def bound_to_whole(chain: Chain) -> str | None:
    """Return the name of an edit that means one place of the whole, and how, if there is one."""
    for edit in chain.unrolled():
        if problem := edit.pieces_problem():
            return f"{edit.name} {problem}"
    return None


def aimed_at_level(
    chain: Chain, recording: Recording, pieces: Iterable[Piece]
) -> tuple[Chain, str | None]:
    """Return the chain that each piece is given where an edit brings the recording to a level.

    By itself each piece would be brought there, and soft ones would become as loud as loud ones.

    Args:
        chain: what is asked for.
        recording: as it is before the first step.
        pieces: those that are edited are measured as one.

    Returns:
        The chain, and what a user should know, or None.

    Raises:
        InvalidChainError: if several steps bring it to a level.
        AudioError: if the recording cannot be read.
    """
    aiming = [edit for edit in chain.unrolled() if edit.at_level(*_ANY_LEVEL) != edit]
    edited = [piece for piece in pieces if piece.is_edited]
    if not aiming or len(edited) < 2:
        return chain, None
    if len(aiming) > 1:
        raise InvalidChainError(
            f"{recording.path}: {len(aiming)} steps bring it to a level; it is edited in pieces, "
            "for which one of them can"
        )
    with recording.open() as sound:
        parts = (samples for _, samples in read_stretches(sound.blocks(), edited))
        loudness, peak = level_of(parts, recording.sample_rate)
    asked, moved = aiming[0], aiming[0].at_level(loudness, peak)
    told = "no loudness" if loudness is None else f"{loudness:.1f} LUFS"
    note = f"what is edited has {told} as a whole before the first step: each piece gets {moved!r}"
    return _with(chain, asked, moved), note


def _with(chain: Chain, asked: Edit, moved: Edit) -> Chain:
    """Return a chain with another edit in place of one."""
    from stepedit_core.chain.chain import Chain

    items = [
        _with(item, asked, moved) if isinstance(item, Chain) else moved if item == asked else item
        for item in chain
    ]
    return Chain(items, chain.iterations)
