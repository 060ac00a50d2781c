"""What the language model may emit: grammar and mask constraints.

A constraint is a sequence of segments. ``Free`` lets the model speak in groups of two
linguistic and three semantic tokens; ``Copy`` puts given tokens; ``Follow`` holds a whole answer to
ways through its source. One ``Free`` is a grammar;
``Copy`` and ``Free`` in turn are a mask, as in masked editing. Without a constraint the model
may emit anything, as the public system does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepedit_core.codes import (
    GROUP_SIZE,
    LINGUISTIC_SIZE,
    SEMANTIC_PER_GROUP,
    SEMANTIC_SIZE,
    DualCodes,
)
from stepedit_core.errors import BudgetError
from stepedit_core.llm_route.omissions import Passage

__all__ = [
    "CODE_COUNT",
    "Copy",
    "Follow",
    "Free",
    "Plan",
    "grammar",
    "mask",
    "most_tokens",
    "plan",
]

CODE_COUNT = LINGUISTIC_SIZE + SEMANTIC_SIZE
"""Audio tokens in use; in a constrained step this index stands for the end of turn."""


@dataclass(frozen=True)
class Copy:
    """Put these tokens without asking the model.

    Attributes:
        tokens: audio token indices 0..5119 in whole groups.
    """

    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse tokens that are not whole groups in the 2:3 phase."""
        if len(self.tokens) % GROUP_SIZE:
            raise ValueError(f"{len(self.tokens)} copied tokens are not whole groups of five")
        DualCodes.from_interleaved(self.tokens)


@dataclass(frozen=True)
class Free:
    """Let the model speak; an end-of-turn token ends the segment.

    Attributes:
        min_groups: groups (120 ms each) before the end may come.
        max_groups: groups after which the segment ends by itself; None: up to the budget.
        end_at_boundary: the end may come only after a whole group. False allows it anywhere
            and is meant for a single segment, as whatever follows needs whole groups.
    """

    min_groups: int = 0
    max_groups: int | None = None
    end_at_boundary: bool = True

    def __post_init__(self) -> None:
        """Refuse empty ranges."""
        if self.min_groups < 0 or (
            self.max_groups is not None and self.max_groups < self.min_groups
        ):
            raise ValueError(f"group range {self.min_groups}..{self.max_groups} is empty")


@dataclass(frozen=True)
class Follow:
    """Say a source's own codes; the model chooses where silence is left and entered again.

    It is a whole answer: no other segment stands beside it.

    Attributes:
        passage: the ways through the source.
    """

    passage: Passage


Segment = Copy | Free | Follow


def grammar(
    min_groups: int = 0, max_groups: int | None = None, *, end_at_boundary: bool = True
) -> tuple[Segment, ...]:
    """Return the constraint that keeps the 2:3 phase and the valid range of ids."""
    return (Free(min_groups, max_groups, end_at_boundary),)


def mask(
    source: DualCodes, spans: Sequence[tuple[int, int]], frees: Sequence[Free] | None = None
) -> tuple[Segment, ...]:
    """Return the constraint that copies ``source`` outside given spans.

    Args:
        source: the codes to copy.
        spans: (start, stop) in groups, in order, without overlap.
        frees: what may stand in each span; by default as many groups as it had.

    Raises:
        ValueError: if spans are out of order or outside the source, or counts differ.
    """
    done = 0
    for start, stop in spans:
        if not done <= start <= stop <= source.groups:
            raise ValueError(
                f"span {start}..{stop} overlaps the one before or is outside the source's "
                f"{source.groups} groups"
            )
        done = stop
    frees = [Free(stop - start, stop - start) for start, stop in spans] if frees is None else frees
    if len(frees) != len(spans):
        raise ValueError(f"{len(spans)} spans but {len(frees)} free segments")
    segments: list[Segment] = []
    done = 0
    for (start, stop), free in zip(spans, frees, strict=True):
        segments += [_copied(source, done, start), free]
        done = stop
    return (*segments, _copied(source, done, source.groups))


def _copied(source: DualCodes, start: int, stop: int) -> Copy:
    return Copy(tuple(source.slice_groups(start, stop).interleave().tolist()))


@dataclass(frozen=True)
class Plan:
    """A constraint made ready: what needs no model is taken out.

    Attributes:
        prefix: tokens copied before the model speaks; they join the prompt.
        body: segments that begin and end with ``Free``, alternating with ``Copy``; empty if
            the model is not needed at all.
        suffix: tokens copied after the model has spoken.
    """

    prefix: tuple[int, ...]
    body: tuple[Segment, ...]
    suffix: tuple[int, ...]

    @property
    def most_tokens(self) -> int:
        """Return the largest number of tokens that the body can give."""
        return sum(most_tokens(segment) for segment in self.body)


def most_tokens(segment: Segment) -> int:
    """Return the largest number of tokens that a bounded segment can give."""
    if isinstance(segment, Copy):
        return len(segment.tokens)
    if isinstance(segment, Follow):
        return GROUP_SIZE * -(-len(segment.passage.groups) // SEMANTIC_PER_GROUP)
    return GROUP_SIZE * (segment.max_groups or 0)


def plan(segments: Sequence[Segment], max_new_tokens: int) -> Plan:
    """Join and bound the segments of one item.

    Free segments without a maximum share what the budget leaves, so a mask's copied tokens
    are never cut off.

    Raises:
        BudgetError: if the least that the segments need exceeds ``max_new_tokens``.
        ValueError: if a segment that may end inside a group is followed by another, or one that
            is a whole answer stands beside others.
    """
    if any(isinstance(one, Follow) for one in segments):
        return _followed(segments, max_new_tokens)
    merged = _merge(segments)
    if any(isinstance(s, Free) and not s.end_at_boundary for s in merged[:-1]):
        raise ValueError("only the last segment may end inside a group")
    merged = _bound(merged, max_new_tokens)
    body = [s for s in merged if not (isinstance(s, Free) and s.max_groups == 0)]
    body = _merge(body)
    first = body[0].tokens if body and isinstance(body[0], Copy) else ()
    body = body[1:] if first else body
    last = body[-1].tokens if body and isinstance(body[-1], Copy) else ()
    return Plan(first, tuple(body[:-1] if last else body), last)


def _followed(segments: Sequence[Segment], max_new_tokens: int) -> Plan:
    """Return the plan of an answer that follows its source."""
    if len(segments) > 1:
        raise ValueError("what follows its source is a whole answer")
    most = most_tokens(segments[0])
    if most > max_new_tokens:
        raise BudgetError(
            f"the source has {most} tokens but {max_new_tokens} are allowed: use shorter audio or "
            "allow more"
        )
    return Plan((), tuple(segments), ())


def _merge(segments: Sequence[Segment]) -> list[Segment]:
    """Join neighbours of the same kind and leave out empty copies."""
    merged: list[Segment] = []
    for segment in segments:
        last = merged[-1] if merged else None
        if isinstance(segment, Copy):
            if isinstance(last, Copy):
                merged[-1] = Copy(last.tokens + segment.tokens)
            elif segment.tokens:
                merged.append(segment)
        elif isinstance(last, Free) and isinstance(segment, Free):
            both = last.max_groups is not None and segment.max_groups is not None
            most = (last.max_groups or 0) + (segment.max_groups or 0) if both else None
            least = last.min_groups + segment.min_groups
            merged[-1] = Free(least, most, segment.end_at_boundary)
        else:
            merged.append(segment)
    return merged


def _bound(segments: list[Segment], max_new_tokens: int) -> list[Segment]:
    """Give every free segment a maximum, so that all together fit the budget."""
    copied = sum(len(s.tokens) for s in segments if isinstance(s, Copy))
    frees = [s for s in segments if isinstance(s, Free)]
    least = copied + GROUP_SIZE * sum(s.min_groups for s in frees)
    if least > max_new_tokens:
        raise BudgetError(
            f"the constraint needs at least {least} new tokens but {max_new_tokens} are "
            "allowed: use shorter audio or allow more"
        )
    spare = (max_new_tokens - least) // GROUP_SIZE  # groups above the minima
    bounded: list[Segment] = []
    left = len(frees)
    for segment in segments:
        if isinstance(segment, Free):
            wish = spare // left if segment.max_groups is None else spare
            most = segment.min_groups + wish
            if segment.max_groups is not None:
                most = min(most, segment.max_groups)
            spare -= most - segment.min_groups
            left -= 1
            segment = replace(segment, max_groups=most)
        bounded.append(segment)
    return bounded
