"""Pairs for the volume edit: a recording, and itself louder or softer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from stepedit_core import (
    BuildContext,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    Utterance,
)
from stepedit_core.dsp.loudness import loudness
from stepedit_volume.dsp import levelled
from stepedit_volume.edit import Volume

__all__ = ["VolumePairs", "margin_of"]

_KINDS = ("db", "lufs", "peak")
_MIN_SECONDS, _PER_STEP_LU, _MOST_LIMITED_DB = 0.4, 1.0, 12.0


def margin_of(loudness_units: float) -> float:
    """Return the margin 1..10 of a change of loudness: its just noticeable differences.

    One step is 1 dB, the customary figure for broadband sound (Zwicker & Fastl 2007,
    Psychoacoustics, ch. 7), so 6 LU give 6 and 10 LU give 10.
    """
    return float(np.clip(abs(loudness_units) / _PER_STEP_LU, 1.0, 10.0))


class VolumePairs(PairBuilder):
    """Bring each recording to drawn levels; the target is the recording at its new level."""

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "kinds": "db, lufs, peak, joined by +; default all three",
        "each": "how many requests of each kind to draw for each recording; default 1",
    }

    def settings(self, options: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
        """Return kinds and how many of each; raises StepeditError as `PairOptions` does."""
        asked = PairOptions(options)
        return asked.words("kinds", _KINDS), asked.count("each", 1)

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one recording."""
        kinds, each = self.settings(context.options)
        source = job.items[0].read()
        before = loudness(source)
        if source.seconds < _MIN_SECONDS or before is None:
            yield Rejected("shorter than 0.4 s, or silent", {"seconds": source.seconds})
            return
        for kind in kinds:
            for _ in range(each):
                edit = _drawn(kind, before, context.rng)
                yield self._checked(source, edit, before)

    def _checked(self, source: Utterance, edit: Volume, before: float) -> EditPair | Rejected:
        """Return the pair if its loudness changed enough and the limiter took little."""
        target, details = levelled(source, edit)
        after = loudness(target)
        if after is None:
            return Rejected("the target is silent", details)
        margin = margin_of(after - before)
        if details["notes"] or details["limited_db"] > _MOST_LIMITED_DB:
            return Rejected("the limiter takes too much", details)
        return self.kept(source, target, edit, margin, details)


def _drawn(kind: str, before: float, rng: np.random.Generator) -> Volume:
    """Draw a request that moves the loudness by 6.5 to 15 LU, as likely up as down."""
    step = float(rng.uniform(6.5, 15.0)) * (1 if rng.random() < 0.5 else -1)
    if kind == "db":
        return Volume(db=round(step, 1))
    if kind == "lufs":
        # Speech below -45 LUFS is lost in noise, and above -10 LUFS in the limiter.
        asked = before + step
        asked = asked if -45 <= asked <= -10 else before - step
        return Volume(lufs=round(float(np.clip(asked, -60, -8)), 1))
    return Volume(peak=round(float(rng.uniform(-30, -1)), 1))
