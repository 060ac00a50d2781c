"""Run chains: carry their steps out through the hooks, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np

from stepedit_core.chain.accept import Accept, Ears
from stepedit_core.chain.result import (
    DEFAULT_CARRY,
    SCHEMA_VERSION,
    Carry,
    RouteChoice,
    Step,
)
from stepedit_core.chain.validation import Ready, Unrolled, look_ahead
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Outcome, Rendered, Route
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import EditError, InvalidChainError, RouteError, StepeditError
from stepedit_core.languages import untaught_language
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.plan import Plan
from stepedit_core.registry.checks import PluginInfo
from stepedit_core.registry.middleware import Layers
from stepedit_core.registry.registry import Registry, get_registry
from stepedit_core.utterance import Utterance

__all__ = [
    "ChainResult",
    "RunOptions",
    "carry_out",
    "run",
    "step_rng",
]


class RunOptions(TypedDict, total=False):
    """How a chain runs; see ``Chain.__call__``."""

    route: RouteChoice
    carry: Carry
    registry: Registry | None
    on_step: Callable[[Step], None] | None
    accept: Accept | None


# Results ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChainResult:
    """The final utterance and one record per edit.

    Attributes:
        source: what went in.
        steps: the finished steps, in order.
        seed: the chain's seed.
        engine: the engine that was given, if any.
        notes: what a user should know, such as limits that could not be judged.
    """

    source: Utterance
    steps: tuple[Step, ...]
    seed: int
    engine: SpeechEngine | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def utterance(self) -> Utterance:
        """What came out of the last step."""
        return self.steps[-1].utterance if self.steps else self.source

    def then(
        self, chain: Unrolled | Edit, *, after: int | None = None, **options: Any
    ) -> ChainResult:
        """Run more edits on what is here: from the end, or from any step, to branch or undo.

        Args:
            chain: what to do next.
            after: how many of the finished steps to keep; None keeps all, 0 starts from the
                source.
            options: as for calling a chain; engine and seed default to this result's.

        Raises:
            InvalidChainError: if there are fewer steps than ``after``.
        """
        kept = self.steps if after is None else self.steps[:after]
        if after is not None and not 0 <= after <= len(self.steps):
            raise InvalidChainError(f"cannot go on after step {after} of {len(self.steps)}")
        start = ChainResult(self.source, kept, options.pop("seed", self.seed), self.engine)
        following = _Single(chain) if isinstance(chain, Edit) else chain
        return run(following, start, engine=options.pop("engine", self.engine), **options)

    def report(self) -> dict[str, Any]:
        """Return the result as JSON data, without samples."""
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.seed,
            "engine": dict(self.engine.describe()) if self.engine is not None else None,
            "source": {
                "sha256": self.source.digest,
                "audio_seconds": round(self.source.seconds, 4),
                "sample_rate": self.source.sample_rate,
                "channels": self.source.channels,
                "transcript": self.source.transcript,
            },
            "steps": [step.report() for step in self.steps],
        }


@dataclass(frozen=True)
class _Single:
    """One edit as a chain."""

    edit: Edit

    def unrolled(self) -> list[Edit]:
        return [self.edit]


# Running ---------------------------------------------------------------------------------


def step_rng(seed: int, position: int, number: int = 0) -> np.random.Generator:
    """Return the generator of a step; it depends on the seed and the step's place alone.

    Args:
        seed: the chain's.
        position: the step's place in the chain, from 0.
        number: of the try, from 0, where a step is drawn several times.
    """
    key = (position,) if number == 0 else (position, number)
    return np.random.default_rng(np.random.SeedSequence(abs(seed), spawn_key=key))


@dataclass(frozen=True)
class _Run:
    """What holds for all steps of a run."""

    registry: Registry
    owners: Mapping[type[Edit], PluginInfo]
    engine: SpeechEngine | None
    choice: RouteChoice
    carry: Carry
    seed: int
    depth: int = 0
    accept: Accept | None = None
    ears: Ears | None = None


def run(
    chain: Unrolled,
    start: ChainResult,
    *,
    engine: SpeechEngine | None,
    route: RouteChoice = "auto",
    carry: Carry = DEFAULT_CARRY,
    registry: Registry | None = None,
    on_step: Callable[[Step], None] | None = None,
    accept: Accept | None = None,
) -> ChainResult:
    """Run a chain's edits after the steps that ``start`` has; arguments as for calling a chain.

    Raises:
        InvalidChainError: before anything runs, if a step cannot work.
        EditError: if a step fails while it runs; it carries the finished steps.
    """
    hooks = registry or get_registry()
    source, first = start.utterance, len(start.steps) + 1
    ready = look_ahead(chain, source, engine, route=route, carry=carry, first=first)
    owners = hooks.owners(step.edit for step in ready)
    ears, silent = (None, None)
    if accept is not None and accept.words is not None:
        ears, silent = Ears.of(source)
    running = _Run(hooks, owners, engine, route, carry, start.seed, accept=accept, ears=ears)
    steps = _run_steps(running, ready, source, start.steps, on_step)
    foreign = [
        untaught_language(engine, source, step.plan.words_after)
        for step in ready
        if step.route == "llm"
    ]
    notes = tuple(dict.fromkeys(note for note in (silent, *foreign) if note))
    result = ChainResult(start.source, steps, start.seed, engine, notes)
    hooks.hook.stepedit_chain_finished(result=result)
    return result


def _run_steps(
    running: _Run,
    ready: Sequence[Ready],
    utterance: Utterance,
    finished: Sequence[Step] = (),
    on_step: Callable[[Step], None] | None = None,
) -> tuple[Step, ...]:
    """Carry out steps one after the other; return them after those that are finished."""
    steps = list(finished)
    for one in ready:
        try:
            before = steps[-1] if steps else None
            steps.append(_accepted(running, one, utterance, before, len(steps)))
        except StepeditError as error:
            raise EditError(str(error), tuple(steps)) from error
        utterance = steps[-1].utterance
        if on_step is not None:
            on_step(steps[-1])
    return tuple(steps)


def _accepted(
    running: _Run, step: Ready, utterance: Utterance, before: Step | None, position: int
) -> Step:
    """Carry out one edit; where limits are set, draw again until they are kept.

    Raises:
        EditError: if the edit fails, or no try keeps the limits and the source is not to be kept.
    """
    limits = running.accept
    if limits is None:
        return _run_step(running, step, utterance, before, position)[0]
    failed: list[dict[str, Any]] = []
    for number in range(limits.tries):
        made, plan = _run_step(running, step, utterance, before, position, number)
        why = limits.complaints(utterance, made.utterance, plan, running.ears)
        if not why:
            return replace(made, failed_tries=tuple(failed), accepted=True)
        failed.append({"try": number + 1, "why": why})
        if made.route == "dsp":
            break  # signal processing gives the same again
    if limits.otherwise == "keep":
        kept = replace(made, utterance=utterance, codes=None, latent=None)
        return replace(kept, failed_tries=tuple(failed), accepted=False)
    raise EditError(
        f"step {position + 1}, {step.edit.name}: not accepted in {len(failed)} tries, the last: "
        f"{'; '.join(why)}; --accept off takes it, more --tries may help"
    )


def _run_step(
    running: _Run,
    step: Ready,
    utterance: Utterance,
    before: Step | None,
    position: int,
    number: int = 0,
) -> tuple[Step, Plan | None]:
    """Carry out one edit through the hooks and check what comes back; return its plan, too.

    Raises:
        EditError: if the edit does not fit the utterance, fails, or returns nonsense; the text
            names step, edit and plugin.
    """
    edit, owner = step.edit, running.owners[type(step.edit)]
    where = f"step {position + 1}, {edit.name}"
    begin = time.perf_counter()
    work = _Work(running, step, utterance, before)
    layers = Layers(
        running.registry,
        work.carry_out,
        {
            "edit": edit,
            "engine": running.engine if step.route == "llm" else None,
            "route": step.route,
            "codes": work.codes,
        },
    )
    try:
        work.check()
        outcome = layers.run(utterance, step_rng(running.seed, position, number))
    except (Exception, SystemExit) as error:
        plugin = layers.blamed(error)
        blame = f"{where} ({owner.distribution} {owner.version})"
        if plugin is not None:
            blame = f"{where}: stepedit_apply of {plugin}"
        kind = "" if isinstance(error, StepeditError) else f"{type(error).__name__}: "
        raise EditError(f"{blame}: {kind}{error}") from error
    where = f"{where} ({owner.distribution} {owner.version})"
    if not isinstance(outcome, Outcome):
        raise EditError(f"{where}: stepedit_apply returned {type(outcome).__name__}, not Outcome")
    made = outcome.utterance
    if len(made.samples) == 0:
        raise EditError(f"{where}: nothing is left of the utterance")
    made = _with_word_times(made, utterance, work.plan)
    is_llm = work.route == "llm"
    latent = outcome.latent
    finished = Step(
        edit=edit,
        utterance=made,
        route=work.route,
        engine=running.engine.name if is_llm and running.engine is not None else None,
        plugin=owner,
        seed=running.seed,
        seconds=time.perf_counter() - begin,
        codes=outcome.codes,
        details=outcome.details,
        latent=latent if latent is not None and latent.digest == made.digest else None,
        middleware=tuple(layers.acted),
        transcript_unverified=is_llm and made.transcript is not None,
    )
    return finished, work.plan


def _with_word_times(made: Utterance, source: Utterance, plan: Plan | None) -> Utterance:
    """Carry the words' times along where an edit keeps the words and its tempo is known."""
    known = source.alignment or (plan.alignment if plan is not None else None)
    if known is None or made.alignment is not None or made.transcript != source.transcript:
        return made
    if plan is None or not plan.uniform_tempo:
        return made
    ratio = made.seconds / source.seconds
    return made.replace(alignment=known.moved(lambda second: second * ratio))


class _Work:
    """Core's own part of one step: what the innermost ``proceed`` calls."""

    def __init__(
        self, running: _Run, step: Ready, utterance: Utterance, before: Step | None
    ) -> None:
        self._running, self._utterance = running, utterance
        self._edit, self._ready = step.edit, step
        self.route = step.route
        hands_over = before is not None and running.carry != "audio"
        self._latent = before.latent if before is not None and hands_over else None
        self.codes = before.codes if before is not None and running.carry == "codes" else None
        self._plan = step.plan if step.is_final else None

    @property
    def plan(self) -> Plan | None:
        """The step's plan, where one was made."""
        return self._plan

    def check(self) -> None:
        """Make the plan, once; raise EditError where the edit does not fit the utterance."""
        if self._plan is None and not self._edit.is_composite():
            self._plan = self._edit.plan(self._utterance)
        problem = self._edit.problem(self._utterance) if self._plan is None else self._plan.problem
        if problem:
            raise EditError(problem)

    def carry_out(self, utterance: Utterance, rng: np.random.Generator) -> Outcome:
        """Carry out the edit, on its own utterance or on what middleware gives instead."""
        if self._edit.is_composite():
            return self._composite(utterance, rng)
        same = utterance is self._utterance
        return carry_out(
            self._edit,
            utterance,
            self._running.engine,
            rng,
            self.route,
            self.codes if same else None,
            plan=self._plan if same else None,
            latent=self._latent,
            keep_latent=self._running.carry != "audio",
        )

    def _composite(self, utterance: Utterance, rng: np.random.Generator) -> Outcome:
        """Run the chain that a composite stands for, as one step."""
        running = self._running
        inner = self._edit.expand(utterance)
        if inner is None:
            raise EditError(f"{type(self._edit).__name__}.expand() gave no chain")
        depth = running.depth + 1
        ready = look_ahead(inner, utterance, running.engine, route=running.choice, depth=depth)
        owners = running.registry.owners(step.edit for step in ready)
        seed = int(rng.integers(2**63))
        steps = _run_steps(
            replace(running, owners=owners, seed=seed, depth=depth), ready, utterance
        )
        self.route = "llm" if any(step.route == "llm" for step in steps) else "dsp"
        last = steps[-1]
        details = {"steps": [step.report() for step in steps]}
        return Outcome(last.utterance, self.route, last.codes, details, last.latent)


def carry_out(
    edit: Edit,
    utterance: Utterance,
    engine: SpeechEngine | None,
    rng: np.random.Generator,
    route: Route,
    codes: DualCodes | None = None,
    **known: Any,
) -> Outcome:
    """Carry out an edit by the prompt and the engine, or by its own signal processing.

    Args:
        edit: the request.
        utterance: what to edit.
        engine: needed by the llm route.
        rng: the only source of randomness.
        route: ``llm`` or ``dsp``.
        codes: of the utterance, where they are known.
        known: ``plan``, ``latent`` and ``keep_latent`` of the llm route, see `apply_by_llm`.

    Raises:
        RouteError: if there is no engine, or ``render()`` returns nonsense.
    """
    if route == "dsp":
        rendered = edit.render(utterance, rng)
        if not isinstance(rendered, Rendered):
            raise RouteError(f"render() returned {type(rendered).__name__}, not Rendered")
        return Outcome(rendered.utterance, "dsp", details=rendered.details)
    if engine is None:
        raise RouteError(f"{edit.name}: the llm route needs an engine")
    plan, latent = known.get("plan"), known.get("latent")
    return apply_by_llm(
        [edit],
        [utterance],
        engine,
        [int(rng.integers(2**63))],
        [codes],
        plans=None if plan is None else [plan],
        latents=[latent],
        keep_latent=known.get("keep_latent", False),
    )[0]
