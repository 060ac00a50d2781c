"""Dual codes: two parallel token streams of one utterance, and their 2:3 interleave.

Linguistic codes run at 16.67 Hz over 1024 values, semantic codes at 25 Hz over 4096
values. Two linguistic and three semantic codes cover the same 120 ms and form one
*group*, the unit of masks (Step-Audio technical report, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "GROUP_SECONDS",
    "GROUP_SIZE",
    "LINGUISTIC_PER_GROUP",
    "LINGUISTIC_SIZE",
    "SEMANTIC_PER_GROUP",
    "SEMANTIC_SIZE",
    "DualCodes",
    "FreeGroups",
    "answer_starts",
    "growth",
    "splice_codes",
]

LINGUISTIC_SIZE = 1024
SEMANTIC_SIZE = 4096
LINGUISTIC_PER_GROUP = 2
SEMANTIC_PER_GROUP = 3
GROUP_SIZE = LINGUISTIC_PER_GROUP + SEMANTIC_PER_GROUP
GROUP_SECONDS = 0.12

IntArray = npt.NDArray[np.int64]


def _codes(values: Iterable[int] | IntArray, size: int, what: str) -> IntArray:
    """Return a read-only int64 vector, refusing values outside ``[0, size)``."""
    raw = values if isinstance(values, np.ndarray) else list(values)
    codes = np.array(raw, dtype=np.int64).reshape(-1)
    if codes.size and (codes.min() < 0 or codes.max() >= size):
        bad = int(codes[(codes < 0) | (codes >= size)][0])
        raise ValueError(f"{what} code {bad} is outside 0..{size - 1}")
    codes.setflags(write=False)
    return codes


@dataclass(frozen=True, eq=False)
class DualCodes:
    """The two code streams of one utterance.

    Attributes:
        linguistic: int64, shape ``(n,)``, values 0..1023, 16.67 per second.
        semantic: int64, shape ``(m,)``, values 0..4095, 25 per second.
        start: second of the encoded utterance at which the first code begins; tokenizers trim
            leading silence, so it need not be 0, and padding can make it negative.
    """

    linguistic: IntArray
    semantic: IntArray
    start: float = 0.0

    def __post_init__(self) -> None:
        """Copy, check and freeze both streams."""
        object.__setattr__(
            self, "linguistic", _codes(self.linguistic, LINGUISTIC_SIZE, "linguistic")
        )
        object.__setattr__(self, "semantic", _codes(self.semantic, SEMANTIC_SIZE, "semantic"))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes of a pickle or a deep copy, whose arrays could be written to."""
        self.__dict__.update(state)
        for stream in (self.linguistic, self.semantic):
            stream.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        """Compare both streams value by value (``start`` is not compared)."""
        if not isinstance(other, DualCodes):
            return NotImplemented
        return np.array_equal(self.linguistic, other.linguistic) and np.array_equal(
            self.semantic, other.semantic
        )

    def __hash__(self) -> int:
        """Hash both streams, so that codes can key a cache."""
        return hash((self.linguistic.tobytes(), self.semantic.tobytes()))

    @property
    def groups(self) -> int:
        """Number of complete 120 ms groups."""
        return min(
            len(self.linguistic) // LINGUISTIC_PER_GROUP, len(self.semantic) // SEMANTIC_PER_GROUP
        )

    @property
    def seconds(self) -> float:
        """Duration of the complete groups, in seconds."""
        return self.groups * GROUP_SECONDS

    def interleave(self) -> IntArray:
        """Return the complete groups as one stream of token indices.

        Linguistic codes keep their value, semantic codes are offset by 1024: the ``N`` of
        ``<audio_N>``. Codes past the last complete group are left out.

        Returns:
            int64, shape ``(5 * groups,)``, values 0..5119.
        """
        n = self.groups
        rows = np.empty((n, GROUP_SIZE), dtype=np.int64)
        rows[:, :LINGUISTIC_PER_GROUP] = self.linguistic[: n * LINGUISTIC_PER_GROUP].reshape(
            n, LINGUISTIC_PER_GROUP
        )
        rows[:, LINGUISTIC_PER_GROUP:] = (
            self.semantic[: n * SEMANTIC_PER_GROUP].reshape(n, SEMANTIC_PER_GROUP) + LINGUISTIC_SIZE
        )
        return rows.reshape(-1)

    @classmethod
    def from_interleaved(cls, tokens: Sequence[int] | IntArray) -> DualCodes:
        """Split a stream of token indices that keeps the 2:3 phase.

        Args:
            tokens: values 0..5119 in groups of five; an incomplete last group is kept as far
                as it goes.

        Raises:
            ValueError: if a token has the wrong kind for its place.
        """
        flat = np.asarray(tokens, dtype=np.int64).reshape(-1)
        place = np.arange(len(flat)) % GROUP_SIZE
        is_linguistic = place < LINGUISTIC_PER_GROUP
        wrong = np.flatnonzero(is_linguistic != (flat < LINGUISTIC_SIZE))
        if wrong.size:
            at = int(wrong[0])
            want = "linguistic" if is_linguistic[at] else "semantic"
            raise ValueError(f"token {int(flat[at])} at place {at} should be a {want} code")
        return cls(flat[is_linguistic], flat[~is_linguistic] - LINGUISTIC_SIZE)

    def token_string(self) -> str:
        """Return the interleaved groups as ``<audio_N>`` marks without separators."""
        return "".join(f"<audio_{token}>" for token in self.interleave())

    def at_length(self, groups: int) -> DualCodes:
        """Return the same codes spoken evenly within another number of groups.

        Each code is the one that lies nearest in time: codes are repeated, or left out.
        """

        def near(values: IntArray, each: int) -> IntArray:
            own, wanted = each * self.groups, each * groups
            places = ((np.arange(wanted) + 0.5) * (own / max(1, wanted))).astype(np.int64)
            return values[places]

        return DualCodes(
            near(self.linguistic, LINGUISTIC_PER_GROUP),
            near(self.semantic, SEMANTIC_PER_GROUP),
            self.start,
        )

    def slice_groups(self, start: int, stop: int) -> DualCodes:
        """Return groups ``start`` to ``stop`` (exclusive)."""
        return DualCodes(
            self.linguistic[start * LINGUISTIC_PER_GROUP : stop * LINGUISTIC_PER_GROUP],
            self.semantic[start * SEMANTIC_PER_GROUP : stop * SEMANTIC_PER_GROUP],
            self.start + start * GROUP_SECONDS,
        )


@dataclass(frozen=True)
class FreeGroups:
    """Groups of a source that a model may replace; all others are copied.

    Attributes:
        start: first group, inclusive.
        stop: last group, exclusive.
        length: how many groups to generate in their place.
        new: whether they are put in: all but the first and the last half of a group is nothing
            that the source holds.
    """

    start: int
    stop: int
    length: int
    new: bool = False


def answer_starts(free: Sequence[FreeGroups]) -> list[int]:
    """Return the group at which each free part begins in the answer; parts are in order."""
    starts, shift = [], 0
    for part in free:
        starts.append(part.start + shift)
        shift += part.length - (part.stop - part.start)
    return starts


def growth(free: Sequence[FreeGroups]) -> int:
    """Return by how many groups the free parts grow together."""
    return sum(part.length - (part.stop - part.start) for part in free)


def splice_codes(source: DualCodes, output: DualCodes, free: Sequence[FreeGroups]) -> DualCodes:
    """Keep a source's groups outside the free ones and take an output's groups inside.

    Audio outside a span may be identical and its codes still differ, because a tokenizer hears
    context; this makes codes of a masked pair, or of a confined generation, exact.

    Args:
        source: codes before the edit.
        output: codes after it, aligned so that each free part holds ``length`` groups.
        free: parts that changed, in groups of the source; they do not overlap.

    Returns:
        Codes of whole groups that begin where the source's do. The output is looked at inside
        the free parts alone.

    Raises:
        ValueError: if the output ends before the last free part does.
    """
    pieces: list[DualCodes] = []
    at = 0
    parts = sorted(free, key=lambda item: item.start)
    for part, begin in zip(parts, answer_starts(parts), strict=True):
        if output.groups < begin + part.length:
            raise ValueError(
                f"groups {begin}..{begin + part.length} are wanted of an output of {output.groups}"
            )
        pieces += [
            source.slice_groups(at, part.start),
            output.slice_groups(begin, begin + part.length),
        ]
        at = part.stop
    pieces.append(source.slice_groups(at, source.groups))
    return DualCodes(
        np.concatenate([piece.linguistic for piece in pieces]),
        np.concatenate([piece.semantic for piece in pieces]),
        source.start,
    )
