"""Score a partial edit: every sample outside the spans is the source's, inside is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    Span,
    StepeditError,
    Utterance,
    get_registry,
)
from stepedit_masked.edit import Masked

__all__ = ["MaskedScorer", "Outside", "compare_outside"]

CHANGED_DB = -30.0
"""Inside counts as changed from this difference on, relative to the source's power there."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outside:
    """How an output compares with its source outside the spans.

    Attributes:
        difference: largest absolute difference; 0 only where every sample is the same.
        inside: the output's samples for each span.
    """

    difference: float
    inside: tuple[FloatArray, ...]


class MaskedScorer(Scorer):
    """Demands exact identity outside the spans and an audible change inside each."""

    def prepare(self, case: Case, clean: Utterance, rng: np.random.Generator) -> Prepared:
        """Use the clean recording, or what the inner edit's own scorer makes of ``prepare``.

        So a case for ``denoise`` inside may ask for noise, in that scorer's words.
        """
        edit = case.edit
        if not case.prepare or not isinstance(edit, Masked):
            return Prepared(clean)
        scorer: Scorer = get_registry().scorer(type(edit.inner))
        made = scorer.prepare(case.model_copy(update={"edit": edit.inner}), clean, rng)
        return Prepared(made.source, facts=made.facts)

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Compare outside and inside the spans of the case's edit."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Masked):
            return Score.failed(f"the case asks for {edit.name}, not for masked")
        if output.sample_rate != source.sample_rate:
            return Score(False, {"outside_max_difference": None, "inside_changed": None})
        try:
            outside = compare_outside(source, output, edit.spans)
        except StepeditError as error:
            return Score.failed(str(error))
        changes = [
            _change_db(source.slice(span).samples, new)
            for span, new in zip(edit.spans, outside.inside, strict=True)
        ]
        before = sum(span.seconds for span in edit.spans)
        after = sum(map(len, outside.inside)) / source.sample_rate
        changed = sum(change > CHANGED_DB for change in changes) / len(changes)
        values = {
            "outside_max_difference": outside.difference,
            "inside_changed": changed,
            "inside_change_db": float(np.mean(changes)),
            "inside_length_ratio": after / before,
        }
        return Score(outside.difference == 0.0 and changed == 1.0, values)


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
    """Return where a stretch fits best from ``at`` on: least squared difference, in samples."""
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
