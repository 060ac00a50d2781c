"""Pairs for the pitch edit: a recording, and itself higher, lower, livelier or flatter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from stepedit_core import (
    AudioError,
    BuildContext,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
    Utterance,
)
from stepedit_pitch.dsp import shifted
from stepedit_pitch.edit import Pitch
from stepedit_pitch.measuring import formant_ratio, pitch_shift
from stepedit_pitch.scorer import FORMANT_TOLERANCE, TOLERANCE_CENTS

__all__ = ["PitchPairs", "margin_of"]

_KINDS = ("kept", "moved", "range")
_PER_SEMITONE, _PER_OCTAVE = 2.0, 8.0
_MIN_SECONDS = 0.5


def margin_of(edit: Pitch) -> float:
    """Return the margin 1..10 of a request.

    Two for each semitone: listeners hear a difference of 3 semitones in running speech surely and
    one of 1.5 hardly ('t Hart 1981, J. Acoust. Soc. Am. 69), so 3 semitones give 6. A range that
    is doubled or halved gives 8.
    """
    by_pitch = _PER_SEMITONE * abs(edit.semitones)
    by_range = _PER_OCTAVE * abs(float(np.log2(max(edit.range, 0.05))))
    return float(np.clip(max(by_pitch, by_range), 1.0, 10.0))


class PitchPairs(PairBuilder):
    """Shift each recording by drawn amounts, and use the result in both directions.

    Forward, the recording is the source. Backward, the natural recording is the target, and the
    edit the opposite one; where the formants moved, they move back.
    """

    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, str]] = {
        "kinds": "kept, moved, range, joined by +; default all three",
        "directions": "both (default), forward or backward",
    }

    def settings(self, options: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
        """Return kinds and directions; raises StepeditError as `PairOptions` does."""
        asked = PairOptions(options)
        return asked.words("kinds", _KINDS), asked.directions()

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one recording."""
        kinds, directions = self.settings(context.options)
        natural = job.items[0].read()
        if natural.seconds < _MIN_SECONDS:
            yield Rejected(f"shorter than {_MIN_SECONDS:g} s", {"seconds": natural.seconds})
            return
        for kind in kinds:
            edit = _drawn(kind, context.rng)
            try:
                changed, details = shifted(natural, edit, context.rng)
            except AudioError as error:
                yield Rejected("no voiced sound", {"error": str(error)})
                continue
            reason, facts = _measured(edit, natural, changed)
            facts = {**details, **facts}
            margin = margin_of(edit)
            if reason is not None:
                yield Rejected(reason, {**facts, "margin": margin})
                continue
            back = _opposite(edit)
            yield from self.both_ways(natural, changed, edit, back, margin, facts, directions)


def _measured(
    edit: Pitch, source: Utterance, target: Utterance
) -> tuple[str | None, dict[str, Any]]:
    """Return why a target is not what was asked, or None, and what was measured."""
    shift = pitch_shift(source, target, edit.semitones, edit.range)
    formants = formant_ratio(source, target)
    if shift is None or formants is None:
        return "too little voiced sound", {}
    asked = edit.ratio if edit.formants == "moved" else 1.0
    facts = {
        "achieved": round(shift.semitones, 3),
        "range_factor": round(shift.range, 3),
        "formant_ratio": round(formants, 4),
    }
    if abs(shift.semitones - edit.semitones) * 100 > TOLERANCE_CENTS:
        return "pitch off by more than 20 cents", facts
    if abs(formants / asked - 1) > FORMANT_TOLERANCE:
        return "formants off by more than 3 %", facts
    return None, facts


def _drawn(kind: str, rng: np.random.Generator) -> Pitch:
    """Draw a request of large margin, as likely up as down."""
    sign = 1 if rng.random() < 0.5 else -1
    if kind == "range":
        return Pitch(range=round(float(2 ** (sign * rng.uniform(0.8, 1.2))), 2))
    semitones = round(sign * float(rng.uniform(3.0, 8.0)), 1)
    return Pitch(semitones=semitones, formants="moved" if kind == "moved" else "kept")


def _opposite(edit: Pitch) -> Pitch:
    """Return the edit that leads back."""
    if edit.range != 1:
        return Pitch(range=round(1 / edit.range, 2))
    return Pitch(semitones=-edit.semitones, formants=edit.formants)
