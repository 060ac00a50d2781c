"""Keep long chains where they began: the voice, and how far labels move level, pitch and tempo.

An edit towards a label (`LabelledEdit`) asks for a state. Applied twice it may deepen it, not
double it: the decoder goes on speaking from what the first one received, and the level and the
length that the label announces count from there. A model that reads its own output as its source
may run away all the same (happy four times: from 119 to 387 Hz): where pitch or length leave the
label's range, it is asked of what the first one received.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepedit_core.chain.gate import Compared, Gate
from stepedit_core.dsp.loudness import active_level
from stepedit_core.engine import answers_with_own_codes
from stepedit_core.labels.edit import LabelledEdit
from stepedit_core.labels.profile import profiles_of
from stepedit_core.llm_route.answering import Past
from stepedit_core.scoring import Case

if TYPE_CHECKING:
    from stepedit_core.chain.result import Step
    from stepedit_core.edit import Edit
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.plan import Plan
    from stepedit_core.registry.registry import Registry
    from stepedit_core.utterance import Utterance

__all__ = ["Standing", "doubled", "no_gain", "overdone", "standing", "within_label"]

_SHORTEST, _LONGEST = 0.5, 2.0
"""Bounds of a length ratio that is counted from the beginning of a run."""
_MOST_SEMITONES, _MOST_STRETCH = 4.0, 1.5
_LEAST_GAIN = 0.02
"""Growth of the scorers' intensity, of which 1 is a label's usual size, that counts as a gain."""


@dataclass(frozen=True)
class Standing:
    """Where a chain stands before a step.

    Attributes:
        utterance: what the step receives.
        before: the step before.
        to: what the step is compared with.
        past: what the decoder is to know of earlier steps; None where that is nothing.
        position: the step's place, from 0.
        run_before: the step before the present run of labels.
    """

    utterance: Utterance
    before: Step | None
    to: Compared
    past: Past | None
    position: int
    run_before: Step | None = None


def standing(
    registry: Registry,
    edit: Edit,
    received: Utterance,
    first: Utterance,
    steps: Sequence[Step],
    *,
    tells_past: bool,
) -> Standing:
    """Return where a chain stands before its next step.

    Args:
        registry: whose scorers say which edits change the voice.
        edit: of the next step.
        received: what it receives.
        first: the recording that the chain began with.
        steps: those that are finished.
        tells_past: whether the decoder is told of earlier steps.
    """
    begin = _run_start(edit, steps)
    run_before = steps[begin - 1] if begin else None
    goes_on = begin < len(steps)
    anchor = received if not goes_on else first if run_before is None else run_before.utterance
    voice = first
    for step in steps:
        if step.accepted is not False and _changes_voice(registry, step.edit):
            voice = step.utterance
    past = None
    if tells_past and goes_on:
        past = Past(anchor, None if run_before is None else run_before.latent, voice)
    elif tells_past and steps:
        past = Past(voice=voice)
    before = steps[-1] if steps else None
    to = Compared(received, first, voice, anchor)
    return Standing(received, before, to, past, len(steps), run_before)


def within_label(plan: Plan, to: Compared) -> Plan:
    """Return a plan whose level and length count from where the run of its label began."""
    if to.anchor is to.received:
        return plan
    ratio = plan.length_ratio * to.anchor.seconds / max(to.received.seconds, 1e-3)
    plan = plan.but(length_ratio=min(max(ratio, _SHORTEST), _LONGEST))
    before, now = active_level(to.anchor), active_level(to.received)
    if plan.level is None or before is None or now is None:
        return plan
    moved = now - before
    return plan.but(level=(plan.level[0] - moved, plan.level[1] - moved))


def overdone(registry: Registry, edit: Edit, to: Compared, made: Utterance) -> str | None:
    """Say that a label applied again moved the pitch or the tempo further than it should.

    The pitch may go a quarter beyond what the label usually does, and four semitones more; the
    length, between two thirds and one and a half times that of the beginning of the run, beside
    what the label usually does. A voice without pitch is not measured.
    """
    from stepedit_core.dsp.acoustics import measure

    label = getattr(edit, "to", None)
    known = profiles_of(registry, edit.name).get(label) if isinstance(label, str) else None
    cues = {} if known is None else known.cues
    usual = cues["f0"].size if "f0" in cues else 0.0
    before, after = measure(to.anchor).f0, measure(made).f0
    if before and after:
        shift = 12 * math.log2(after / before)
        if max(shift - 1.25 * max(0.0, usual), 1.25 * min(0.0, usual) - shift) > _MOST_SEMITONES:
            return f"again, the pitch moved by {shift:+.1f} semitones in all ({label}: {usual:+g})"
    ratio = (
        made.seconds / max(to.anchor.seconds, 1e-3) * (cues["tempo"].size if "tempo" in cues else 1)
    )
    if not 1 / _MOST_STRETCH <= ratio <= _MOST_STRETCH:
        return f"again, the length came to {ratio:.2f} times what {label} usually gives"
    return None


def doubled(engine: SpeechEngine | None, edit: Edit, to: Compared) -> str | None:
    """Say that a label applied again would be shifted twice, or return None.

    An engine that does the usual shift to its source's own codes knows nothing of an earlier one.
    """
    if engine is None or not answers_with_own_codes(engine, edit.plan(to.anchor)):
        return None
    return "a label is put on what the run of labels began with"


def no_gain(
    gate: Gate, edits: Sequence[Edit], first: Utterance, before: Utterance, new: Sequence[Step]
) -> str | None:
    """Say why an iteration brought nothing, or return None where it did, or nobody can say.

    Args:
        gate: asks the edits' scorers.
        edits: of one iteration.
        first: the recording that the chain began with.
        before: what the iteration before left.
        new: the iteration's steps.
    """
    if any(step.accepted is False for step in new):
        return "a step was not accepted"
    gain, known = 0.0, False
    for edit in edits:
        values = [gate.strength(edit, first, one) for one in (before, new[-1].utterance)]
        if values[0] is not None and values[1] is not None:
            gain, known = gain + values[1] - values[0], True
    if known and gain < _LEAST_GAIN:
        return f"it brought no gain ({gain:+.2f} by the edits' scorers)"
    return None


def _run_start(edit: Edit, steps: Sequence[Step]) -> int:
    """Return the index of the first step of the run of one kind of label that an edit goes on."""
    begin = len(steps)
    if not isinstance(edit, LabelledEdit):
        return begin
    while begin and type(steps[begin - 1].edit) is type(edit) and steps[begin - 1].route == "llm":
        begin -= 1
    return begin


def _changes_voice(registry: Registry, edit: Edit) -> bool:
    """Return whether an edit's scorer expects another voice after it."""
    try:
        scorer = registry.scorer(type(edit))
        waived = scorer.waives(Case(id="voice", edit=edit, audio=""))
    except Exception:  # Without a scorer, nobody says that the voice changes.
        return False
    return not scorer.expects_same_speaker or "speaker" in waived
