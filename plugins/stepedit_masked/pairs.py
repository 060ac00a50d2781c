"""Pairs of partial edits: another family's pairs, with a target that differs inside one span."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    GROUP_SECONDS,
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    Patch,
    Rejected,
    Span,
    StepeditError,
    get_registry,
    splice,
)
from stepedit_masked.edit import Masked
from stepedit_masked.timing import time_map

__all__ = ["MaskedPairs"]

MIN_GROUPS = 4
MAX_SHARE = 0.6
"""A span is at least 0.48 s and at most this share of the source."""
TRIES = 12
SAME_DB = 30.0
"""A span whose difference lies this far below the speech has not changed."""


@dataclass(frozen=True)
class _Choice:
    """A span on the grid of groups: of the source, and its length and start in the target."""

    start: int
    stop: int
    length: int
    target_start: float


class MaskedPairs(PairBuilder):
    """Takes pairs of another family and keeps the source outside one span of the target.

    Spans lie on the 120 ms grid of code groups and the new part is a whole number of groups
    long, so that codes outside stay aligned; ``details["free_groups"]`` says which are free.
    """

    transcript_kept: ClassVar[bool] = True
    options: ClassVar[Mapping[str, str]] = {
        "inner": "name of the edit whose pairs are used (default speed)",
        "inner_options": "settings for its builder, as name=value;name=value",
    }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield the inner builder's jobs; raises StepeditError for an unfit inner edit."""
        name, builder, inner_options = _inner(options)
        for job in builder.jobs(items, inner_options):
            yield PairJob(f"{name}/{job.key}", job.items, job.params)

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Build the inner pairs of a job and confine each to a span."""
        name, builder, inner_options = _inner(context.options)
        inner_job = PairJob(job.key.removeprefix(f"{name}/"), job.items, job.params)
        margin = context.margin
        if margin is None and builder.default_margin is not None:
            known = get_registry().named("stepedit_margin_scorers", lambda scorer: scorer.name)
            margin = known.get(builder.default_margin)
        inner_context = dataclasses.replace(context, options=inner_options, margin=margin)
        for made in builder.build(inner_job, inner_context):
            if isinstance(made, Rejected):
                yield made
                continue
            if made.margin < self.min_margin:
                yield Rejected(f"margin below {self.min_margin:g}", {"margin": made.margin})
                continue
            made_by = {"edit": name, "builder_version": builder.version}
            yield _confine(made, context, made_by)


def _inner(options: Mapping[str, str]) -> tuple[str, PairBuilder, dict[str, str]]:
    """Return name, builder and settings of the inner edit.

    Raises:
        StepeditError: if it is masked itself, changes words, or a setting is not name=value.
    """
    name = options.get("inner", "speed")
    registry = get_registry()
    builder: PairBuilder = registry.pair_builder(registry.edit_class(name))
    if name == Masked.name or not builder.transcript_kept:
        raise StepeditError(f"inner={name}: masked pairs need a family that keeps the words")
    settings: dict[str, str] = {}
    for part in filter(None, options.get("inner_options", "").split(";")):
        key, equals, value = part.partition("=")
        if not equals or key.strip() not in builder.options:
            known = ", ".join(builder.options) or "none"
            raise StepeditError(
                f"inner_options: {part!r} is not a setting of {name}; write name=value of {known}"
            )
        settings[key.strip()] = value.strip()
    return name, builder, settings


def _confine(
    pair: EditPair, context: BuildContext, made_by: Mapping[str, Any]
) -> EditPair | Rejected:
    """Return a pair whose target is the source except inside one span."""
    source = pair.source
    target = pair.target.resample(source.sample_rate)
    if source.seconds < (MIN_GROUPS + 1) * GROUP_SECONDS:
        return Rejected("too short for a span", {"seconds": source.seconds})
    offset = context.engine.encode([source])[0].start if context.engine is not None else 0.0
    here, there, alignment = time_map(source, target)
    moments = _grid(source.seconds, offset)
    mapped = np.interp(moments, here, there)
    for choice in _choices(mapped, target.seconds / source.seconds, context.rng):
        span = Span(float(moments[choice.start]), float(moments[choice.stop]))
        room = target.seconds - choice.length * GROUP_SECONDS
        begin = min(choice.target_start, max(0.0, room))
        part = target.slice(Span(begin, begin + choice.length * GROUP_SECONDS)).samples
        old = source.slice(span).samples
        if len(part) < GROUP_SECONDS * source.sample_rate or not _changed(old, part):
            continue
        edited, placed = splice(source, [Patch(span, part)])
        details = {
            "inner": {**made_by, **dict(pair.details)},
            "span": list(span),
            "output_span": list(placed[0]),
            "free_groups": [{"start": choice.start, "stop": choice.stop, "length": choice.length}],
            "codes_start": offset,
            "alignment": alignment,
            "margin_of": "the inner pair as a whole",
        }
        edit = Masked(inner=pair.edit, spans=(span,))
        result = edited.replace(transcript=pair.target.transcript)
        return EditPair(source, result, edit, pair.margin, details)
    return Rejected("nothing changes inside any span tried", {"tries": TRIES, **made_by})


def _grid(seconds: float, offset: float) -> npt.NDArray[np.float64]:
    """Return the edges of whole code groups inside an utterance, in seconds, from group 0."""
    count = int((seconds - max(offset, 0.0)) / GROUP_SECONDS + 1e-6)
    return np.asarray(np.maximum(offset + np.arange(count + 1) * GROUP_SECONDS, 0.0))


def _choices(
    mapped: npt.NDArray[np.float64], ratio: float, rng: np.random.Generator
) -> list[_Choice]:
    """Return spans to try, in random order, out of the quarter that fits the grid best.

    A span fits where its part of the target is nearly a whole number of groups, and where it
    grows or shrinks at least half as much as the whole does.
    """
    n = len(mapped) - 1
    longest = max(MIN_GROUPS, int(n * MAX_SHARE))
    found: list[tuple[float, _Choice]] = []
    for start, size in product(range(1, n), range(MIN_GROUPS, longest + 1)):
        stop = start + size
        if stop >= n:
            continue
        groups = (mapped[stop] - mapped[start]) / GROUP_SECONDS
        length = max(1, round(float(groups)))
        growth = abs(np.log(length / size))
        if abs(np.log(ratio)) > 0.03 and growth < 0.5 * abs(np.log(ratio)):
            continue
        misfit = abs(float(groups) - length)
        found.append((misfit, _Choice(start, stop, length, float(mapped[start]))))
    found.sort(key=lambda item: (item[0], item[1].start, item[1].stop))
    best = found[: max(TRIES, len(found) // 4)]
    order = rng.permutation(len(best))[:TRIES]
    return [best[int(place)][1] for place in order]


def _changed(old: npt.NDArray[np.float32], new: npt.NDArray[np.float32]) -> bool:
    """Return whether a part differs audibly: in length, or by more than 30 dB below its power."""
    if len(old) != len(new):
        return True
    power = float(np.mean(np.square(old, dtype=np.float64)))
    change = float(np.mean(np.square(old - new, dtype=np.float64)))
    return change > 1e-9 and change > power * 10 ** (-SAME_DB / 10)
