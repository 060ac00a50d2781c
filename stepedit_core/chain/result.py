"""What a step of a chain gives: one record per finished edit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from stepedit_core.edit import Edit, Route
from stepedit_core.registry.checks import PluginInfo
from stepedit_core.registry.middleware import Acted
from stepedit_core.registry.moved import moved_names
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.codes import DualCodes
    from stepedit_core.engine import Latent
    from stepedit_core.plan import Plan

__all__ = [
    "DEFAULT_CARRY",
    "SCHEMA_VERSION",
    "WITHHELD",
    "Carry",
    "RouteChoice",
    "Step",
    "Until",
    "notes_of",
    "reported",
    "with_notes",
    "with_word_times",
]

SCHEMA_VERSION = 1
RouteChoice = Literal["auto", "llm", "dsp"]
Carry = Literal["audio", "codes", "latent"]
"""What a step hands to the next one.

``audio``: its sound, which is encoded again, as the public system does for each edit.
``latent``: its sound and, as long as that is untouched and the engine can go on from it, what the
engine made it from (codes and mel), so that nothing is lost by coding it again.
``codes``: the same, and its output codes even where its sound was joined with its source's.
"""
DEFAULT_CARRY: Carry = "latent"
WITHHELD = "a later step hides words"
"""Why a record says nothing of a step."""
Until = Literal["no gain"]
"""When the iterations of a chain end: where one brings its edits no nearer to their targets."""


@dataclass(frozen=True)
class Step:
    """One finished edit of a chain.

    Attributes:
        edit: the request.
        utterance: what came out.
        route: the route that ran.
        engine: name of the engine that ran, or None for the dsp route.
        plugin: the plugin that brings the edit.
        seed: the chain's seed.
        seconds: wall-clock time, in seconds.
        codes: output codes of the llm route.
        details: facts that the route reported; JSON data.
        latent: what the engine made ``utterance`` from, where it keeps that.
        middleware: plugins whose ``stepedit_apply`` had a part in the outcome, innermost first.
        transcript_unverified: whether ``utterance.transcript`` is what the edit promises, and
            nobody has heard whether the model said it.
        accepted: whether the step kept the limits that were set (`Accept`); False: its source was
            kept instead; None: no limits.
        failed_tries: the tries that did not, each with the reasons; JSON data.
        judged: what was measured of the accepted try, or of the best one: how many were ``drawn``,
            ``word_error``, ``voice``, ``level`` and the like, and limits ``unjudged`` with the
            reason; JSON data.
    """

    edit: Edit
    utterance: Utterance
    route: Route
    engine: str | None
    plugin: PluginInfo
    seed: int
    seconds: float
    codes: DualCodes | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    latent: Latent | None = field(default=None, repr=False, compare=False)
    middleware: tuple[Acted, ...] = ()
    transcript_unverified: bool = False
    accepted: bool | None = None
    failed_tries: tuple[Mapping[str, Any], ...] = ()
    judged: Mapping[str, Any] = field(default_factory=dict)

    def acceptance(self) -> dict[str, Any]:
        """Return what was tried and measured where limits were set, as JSON data; else nothing."""
        further: dict[str, Any] = {}
        if self.accepted is not None:
            further["accepted"] = self.accepted
        if self.failed_tries:
            further["failed_tries"] = [dict(one) for one in self.failed_tries]
        if self.judged:
            further["judged"] = dict(self.judged)
        return further

    def report(self, *, hides: bool = False) -> dict[str, Any]:
        """Return the step as JSON data, without its samples.

        Args:
            hides: a later step hides words, so none may be told of this one, nor what was asked.
        """
        further: dict[str, Any] = {}
        if self.middleware:
            further["middleware"] = [asdict(one) for one in self.middleware]
        if self.transcript_unverified:
            further["transcript_unverified"] = True
        told = self.acceptance()
        if hides or self.edit.hides_words():  # limits name the words that were heard
            told = {name: told[name] for name in ("accepted",) if name in told}
        further |= told
        return {
            "edit": {"edit": self.edit.name} if hides else self.edit.public_data(),
            "route": self.route,
            "engine": self.engine,
            "plugin": {
                "name": self.plugin.name,
                "distribution": self.plugin.distribution,
                "version": self.plugin.version,
            },
            "seed": self.seed,
            "wall_seconds": round(self.seconds, 4),
            "audio_seconds": round(self.utterance.seconds, 4),
            "sample_rate": self.utterance.sample_rate,
            "transcript": None if hides else self.utterance.transcript,
            "details": {"withheld": WITHHELD} if hides else dict(self.details),
            **further,
        }


def notes_of(steps: Iterable[Step]) -> tuple[str, ...]:
    """Return what steps have to say, each note once; those that hide words say nothing."""
    open_steps = (step for step in steps if not step.edit.hides_words())
    said = (str(note) for step in open_steps for note in step.details.get("notes", ()))
    return tuple(dict.fromkeys(said))


def with_notes(details: Mapping[str, Any], plan: Plan | None) -> Mapping[str, Any]:
    """Return the facts of a step with what its plan's alignment has to say."""
    said = plan.alignment.notes if plan is not None and plan.alignment is not None else ()
    notes = tuple(dict.fromkeys((*details.get("notes", ()), *said)))
    return {**details, "notes": list(notes)} if said else details


def with_word_times(made: Utterance, source: Utterance, plan: Plan | None) -> Utterance:
    """Carry the words' times along where an edit keeps the words and its tempo is known."""
    known = source.alignment or (plan.alignment if plan is not None else None)
    if known is None or made.alignment is not None or made.transcript != source.transcript:
        return made
    if plan is None or not plan.uniform_tempo:
        return made
    ratio = made.seconds / source.seconds
    return made.replace(alignment=known.moved(lambda second: second * ratio))


def reported(steps: Sequence[Step], *, hides: bool = False) -> list[dict[str, Any]]:
    """Return the records of steps that ran one after the other, as JSON data.

    Of what comes before a step that hides words, no words are told.

    Args:
        steps: in order.
        hides: words were to be hidden by a later step, which is not among them.
    """
    hiding = [n for n, step in enumerate(steps) if step.edit.hides_words()]
    last = len(steps) if hides else max(hiding, default=-1)
    return [step.report(hides=n < last) for n, step in enumerate(steps)]


__getattr__ = moved_names(
    __name__,
    {
        "ChainResult": "stepedit_core.chain.chain",
        "check_arguments": "stepedit_core.chain.validation",
        "choose_route": "stepedit_core.chain.validation",
    },
)
