"""Score a partial edit: outside the spans nothing changes, inside the inner edit's target holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Case,
    Measures,
    PluginError,
    Prepared,
    Score,
    Scorer,
    Span,
    StepeditError,
    Utterance,
    get_registry,
    words_kept,
)
from stepedit_masked.edit import Masked

__all__ = ["MaskedScorer", "Outside", "compare_outside"]

CHANGED_DB = -30.0
"""Inside counts as changed from this difference on, relative to the source's power there."""

STEP_SECONDS = 0.03
"""Stretch on the inner side of a join whose level is compared with the source's."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outside:
    """Comparison of an output with its source outside the spans.

    Attributes:
        difference: largest absolute difference; 0 only where every sample is the same.
        inside: the output's samples for each span.
    """

    difference: float
    inside: tuple[FloatArray, ...]


class MaskedScorer(Scorer):
    """Demands identity outside the spans, and inside each what the inner edit is scored by.

    Each span goes to the inner edit's own scorer, as a recording of its own; the words are those of
    the whole recording. Level steps at the joins are measured beside the verdict. An edit of words
    inside is scored as its own scorer does: what it keeps is all but its words.
    """

    version: ClassVar[int] = 2

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Use the clean recording, or what the inner edit's own scorer makes of ``prepare``.

        So a case for ``denoise`` inside may ask for noise, in that scorer's words.
        """
        edit = case.edit
        if not case.prepare or not isinstance(edit, Masked):
            return Prepared(clean)
        scorer: Scorer = get_registry().scorer(type(edit.inner))
        made = scorer.prepare(case.model_copy(update={"edit": edit.inner}), clean, rng)
        return Prepared(made.source, _ideal(made, edit.where.resolve(made.source)), made.facts)

    def waives(self, case: Case) -> frozenset[str]:
        """Return the checks that the inner edit's target contradicts."""
        edit = case.edit
        if not isinstance(edit, Masked):
            return frozenset()
        try:
            scorer: Scorer = get_registry().scorer(type(edit.inner))
        except PluginError:
            return frozenset()
        named = scorer.waives(case.model_copy(update={"edit": edit.inner}))
        return named if scorer.expects_same_speaker else named | {"speaker"}

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Compare outside and inside the spans of the case's edit."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Masked):
            return Score.failed(f"the case asks for {edit.name}, not for masked")
        if edit.is_composite():
            return Score.failed("several edits inside are scored one by one; ask for each")
        if output.sample_rate != source.sample_rate:
            return Score(False, {"outside_max_difference": None, "inside_changed": None})
        try:
            if (of_words := edit.of_words(source)) is not None:
                scorer: Scorer = get_registry().scorer(type(edit.inner))
                asked = case.model_copy(update={"edit": of_words})
                return scorer.score(asked, prepared, output, measures)
            spans = edit.where.resolve(source)
            outside = compare_outside(source, output, spans)
        except StepeditError as error:
            return Score.failed(str(error))
        changes = [
            _change_db(source.slice(span).samples, new)
            for span, new in zip(spans, outside.inside, strict=True)
        ]
        before = sum(span.seconds for span in spans)
        after = sum(map(len, outside.inside)) / source.sample_rate
        changed = sum(change > CHANGED_DB for change in changes) / len(changes)
        values: dict[str, float | None] = {
            "outside_max_difference": outside.difference,
            "inside_changed": changed,
            "inside_change_db": float(np.mean(changes)),
            "inside_length_ratio": after / before,
            "join_step_db": _join_step(source, output, spans, outside),
        }
        if outside.difference != 0.0 or changed != 1.0:
            return Score(False, values)
        said, values["word_error"] = words_kept(measures, source, output)
        inner = [
            _inner_score(case, edit, prepared, span, new, measures)
            for span, new in zip(spans, outside.inside, strict=True)
        ]
        values["inner_reached"] = float(np.mean([score.reached is True for score in inner]))
        if said is False or any(score.reached is False for score in inner):
            return Score(False, values)
        open_ = next((score.unscored for score in inner if score.unscored), None)
        if open_ is not None:
            return Score.failed(f"{edit.inner.name} inside a span: {open_}", **values)
        return Score(True, values)


def _ideal(made: Prepared, spans: Sequence[Span]) -> Utterance | None:
    """Return the source with the spans as the inner scorer's reference has them."""
    source, reference = made.source, made.reference
    if reference is None or len(reference.samples) != len(source.samples):
        return None
    samples = source.samples.copy()
    for span in spans:
        start, end = (round(edge * source.sample_rate) for edge in span)
        samples[start:end] = reference.samples[start:end]
    return source.replace(samples=samples)


def _inner_score(
    case: Case, edit: Masked, prepared: Prepared, span: Span, new: FloatArray, measures: Measures
) -> Score:
    """Score one span by the inner edit's own scorer; its words are not known by themselves."""
    try:
        scorer: Scorer = get_registry().scorer(type(edit.inner))
    except PluginError as error:
        return Score.failed(str(error))
    source = prepared.source.slice(span).replace(transcript=None)
    ideal = prepared.reference
    inner = Prepared(
        source,
        None if ideal is None else ideal.slice(span).replace(transcript=None),
        prepared.facts,
    )
    if len(new) == 0:
        return Score(False)
    output = source.replace(samples=np.ascontiguousarray(new))
    return scorer.score(case.model_copy(update={"edit": edit.inner}), inner, output, measures)


def _join_step(
    source: Utterance, output: Utterance, spans: Sequence[Span], outside: Outside
) -> float | None:
    """Return the largest step of level at a join, beyond the source's own there, in dB."""
    size = max(1, round(STEP_SECONDS * source.sample_rate))
    steps = []
    for span, new in zip(spans, outside.inside, strict=True):
        start, end = (round(edge * source.sample_rate) for edge in span)
        old = source.samples[start:end]
        if min(len(old), len(new)) < size:
            continue
        for edge in (slice(None, size), slice(-size, None)):
            steps.append(abs(_level_db(new[edge]) - _level_db(old[edge])))
    return max(steps, default=None)


def _level_db(samples: FloatArray) -> float:
    """Return the level of samples in dB, -90 at least."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return float(10 * np.log10(max(power, 1e-9)))


def compare_outside(source: Utterance, output: Utterance, spans: Sequence[Span]) -> Outside:
    """Find what lies between the spans in the output and compare it sample by sample.

    The first stretch is expected at the start and the last at the end; those between are
    searched for where they fit best, because a span may have changed its length.

    Raises:
        StepeditError: if the spans do not lie in the source.
    """
    rate, old, new = source.sample_rate, source.samples, output.samples
    edges = [round(edge * rate) for span in spans for edge in span]
    if edges != sorted(edges) or edges[-1] > len(old):
        raise StepeditError("the case's spans do not lie in the prepared utterance")
    kept = [old[a:b] for a, b in zip([0, *edges[1::2]], [*edges[::2], len(old)], strict=True)]
    starts = [0]
    for part in kept[1:-1]:
        starts.append(_find(part, new, starts[-1] + len(kept[len(starts) - 1])))
    starts.append(max(0, len(new) - len(kept[-1])))
    placed = list(zip(kept, starts, strict=True))
    worst = max(_difference(part, new[at : at + len(part)]) for part, at in placed)
    ends = [at + len(part) for part, at in placed]
    inside = tuple(new[a : max(a, b)] for a, b in zip(ends[:-1], starts[1:], strict=True))
    return Outside(worst, inside)


def _find(part: FloatArray, new: FloatArray, at: int) -> int:
    """Return the sample from ``at`` on where a part fits best, by least squared difference."""
    rest = new[at:].astype(np.float64)
    if len(part) == 0 or len(rest) < len(part):
        return min(at, len(new))
    from scipy.signal import fftconvolve

    match = fftconvolve(rest, part[::-1].astype(np.float64), mode="valid")
    power = np.cumsum(np.concatenate([[0.0], rest**2]))
    energy = power[len(part) :] - power[: -len(part)]
    return at + int(np.argmin(energy - 2 * match))


def _difference(old: FloatArray, new: FloatArray) -> float:
    """Return the largest absolute difference; samples that are missing count in full."""
    padded = np.zeros_like(old)
    padded[: len(new)] = new
    missing = 0.0 if len(new) == len(old) else 1.0
    return max(missing, float(np.abs(old - padded).max(initial=0.0)))


def _change_db(old: FloatArray, new: FloatArray) -> float:
    """Return the power of the change relative to the source's, in dB; 0 where lengths differ."""
    if len(old) != len(new):
        return 0.0
    power = float(np.mean(np.square(old, dtype=np.float64)))
    change = float(np.mean(np.square(old - new, dtype=np.float64)))
    return float(10 * np.log10(max(change, 1e-12) / max(power, 1e-9)))
