"""Hear new sound with a little of what surrounds it: the rest of an answer is its source."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from stepedit_core.codes import GROUP_SECONDS, DualCodes, growth
from stepedit_core.edit import Outcome
from stepedit_core.engine import GenerateRequest
from stepedit_core.llm_route.planning import inserted_groups
from stepedit_core.utterance import Span, Utterance

__all__ = ["Stretch", "stretch_around"]


@dataclass(frozen=True)
class Stretch:
    """A part of a request, of which an answer can be made by itself.

    Attributes:
        request: of the part.
        first: group of the source that it begins with.
        stop: group of the source that it ends before.
        span: of the source, in seconds.
        whole: the source.
    """

    request: GenerateRequest
    first: int
    stop: int
    span: Span
    whole: Utterance

    def codes_of(self, answer: DualCodes) -> DualCodes:
        """Return what an answer to the whole request says here."""
        stop = self.stop + growth(self.request.free or ())
        return dataclasses.replace(
            answer.slice_groups(self.first, stop), start=self.request.codes.start
        )

    def joined(self, outcome: Outcome, answer: DualCodes) -> Outcome:
        """Return the outcome of an answer to the whole request.

        Args:
            outcome: of the part.
            answer: to the whole request.
        """
        before = self.whole.slice(Span(0.0, self.span.start)).samples
        after = self.whole.slice(Span(self.span.end, self.whole.seconds)).samples
        made = outcome.utterance
        samples = np.concatenate([before, made.samples, after])
        details = dict(outcome.details)
        if "output_spans" in details:
            shift = len(before) / made.sample_rate
            details["output_spans"] = [
                [second + shift for second in span] for span in details["output_spans"]
            ]
        details.pop("free_groups", None)
        return dataclasses.replace(
            outcome, utterance=made.replace(samples=samples), codes=answer, details=details
        )


def stretch_around(request: GenerateRequest, seconds: float) -> Stretch | None:
    """Return the part of a request with so many seconds on either side of what is put in.

    Args:
        request: one that copies all but its insertions.
        seconds: on either side, in whole groups.

    Returns:
        The part, or None where something else is generated, or the part is all there is.
    """
    free = request.free
    if not free or not all(part.new for part in free) or not request.plan.insertions:
        return None
    codes, beside = request.codes, math.ceil(seconds / GROUP_SECONDS)
    first = max(0, free[0].start - beside)
    stop = min(codes.groups, free[-1].stop + beside)
    if (first, stop) == (0, codes.groups):
        return None
    speech = request.utterance
    begin = max(0.0, codes.start + first * GROUP_SECONDS) if first else 0.0
    end = codes.start + stop * GROUP_SECONDS if stop < codes.groups else speech.seconds
    # The part begins with a whole sample, or what is put together again would be a sample off.
    begin, end = (round(edge * speech.sample_rate) / speech.sample_rate for edge in (begin, end))
    own = codes.slice_groups(first, stop)
    own = dataclasses.replace(own, start=own.start - begin)
    plan = request.plan.but(
        insertions=tuple(
            dataclasses.replace(one, at=one.at - begin) for one in request.plan.insertions
        )
    )
    moved = tuple(
        dataclasses.replace(part, start=part.start - first, stop=part.stop - first) for part in free
    )
    if inserted_groups(plan.insertions, own) != moved:
        return None
    part = speech.slice(Span(begin, end)).replace(transcript=speech.transcript)
    cut = dataclasses.replace(request, codes=own, utterance=part, plan=plan, free=moved)
    return Stretch(cut, first, stop, Span(begin, end), speech)
