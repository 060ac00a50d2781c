"""Run chains: carry their steps out through the hooks, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypedDict

import numpy as np

from stepedit_core.chain.accept import Accept
from stepedit_core.chain.carrying import carry_out, notes_of, step_rng, with_notes, with_word_times
from stepedit_core.chain.drift import compared, no_gain, overdone, past_of, run_start, within_label
from stepedit_core.chain.gate import Compared, Gate
from stepedit_core.chain.result import (
    DEFAULT_CARRY,
    SCHEMA_VERSION,
    Carry,
    RouteChoice,
    Step,
    Until,
)
from stepedit_core.chain.trying import Drawn, Trial
from stepedit_core.chain.validation import Ready, Single, Unrolled, look_ahead
from stepedit_core.edit import Edit, Outcome, Route
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import EditError, InvalidChainError, StepeditError
from stepedit_core.llm_route.batching import run_together
from stepedit_core.llm_route.carrying_out import Past
from stepedit_core.llm_route.languages import untaught_languages
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
    until: Until | None


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
        following = Single(chain) if isinstance(chain, Edit) else chain
        return run(following, start, engine=options.pop("engine", self.engine), **options)

    def report(self, *, hides: bool = False) -> dict[str, Any]:
        """Return the result as JSON data, without samples.

        Of what comes before a step that hides words, no words are told.

        Args:
            hides: words were to be hidden by a step that is not among the finished ones.
        """
        hiding = [n for n, step in enumerate(self.steps) if step.edit.hides_words()]
        last = len(self.steps) if hides else max(hiding, default=-1)
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.seed,
            "engine": dict(self.engine.describe()) if self.engine is not None else None,
            "source": {
                "sha256": self.source.digest,
                "audio_seconds": round(self.source.seconds, 4),
                "sample_rate": self.source.sample_rate,
                "channels": self.source.channels,
                "transcript": None if last >= 0 else self.source.transcript,
            },
            "steps": [step.report(hides=n < last) for n, step in enumerate(self.steps)],
        }


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
    gate: Gate | None = None
    first: Utterance | None = None


@dataclass(frozen=True)
class _State:
    """Where a chain stands before a step.

    Attributes:
        utterance: what the step receives.
        before: the step before.
        to: what the step is compared with.
        past: what the decoder is to know of earlier steps.
        position: the step's place, from 0.
        run_before: the step before the present run of labels.
    """

    utterance: Utterance
    before: Step | None
    to: Compared
    past: Past | None
    position: int
    run_before: Step | None = None


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
    until: Until | None = None,
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
    gate = None
    if accept is not None or until is not None:
        listens = accept is not None and accept.words is not None
        gate = Gate(hooks, start.source, engine, accept.ears if listens and accept else 0)
    running = _Run(hooks, owners, engine, route, carry, start.seed, 0, accept, gate, start.source)
    notes: tuple[str, ...] = ()
    if until is None:
        steps = _run_steps(running, ready, source, start.steps, on_step)
    else:
        rounds = max(1, getattr(chain, "iterations", 1))
        steps, notes = _until_no_gain(running, ready, rounds, start, on_step)
    if gate is not None:
        notes = (*notes, *gate.notes)
    texts = [step.plan.words_after for step in ready if step.route == "llm"]
    notes = (*notes, *notes_of(steps), *untaught_languages(engine, source, texts))
    result = ChainResult(start.source, steps, start.seed, engine, notes)
    hooks.hook.stepedit_chain_finished(result=result)
    return result


def _until_no_gain(
    running: _Run,
    ready: Sequence[Ready],
    rounds: int,
    start: ChainResult,
    on_step: Callable[[Step], None] | None,
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Run the iterations of a chain until one brings its edits no nearer to their targets.

    What that one did is dropped.
    """
    assert running.gate is not None
    size, steps = len(ready) // rounds, start.steps
    for number in range(rounds):
        part = ready[number * size : (number + 1) * size]
        here = steps[-1].utterance if steps else start.source
        more = _run_steps(running, part, here, steps)
        new = more[len(steps) :]
        gain = None
        if number:
            gain = no_gain(running.gate, [one.edit for one in part], start.source, here, new)
        if gain is not None:
            return steps, (f"iteration {number + 1} is dropped: {gain}",)
        steps = more
        for step in new if on_step is not None else ():
            assert on_step is not None
            on_step(step)
    return steps, ()


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
            steps.append(_accepted(running, one, utterance, steps, len(steps)))
        except StepeditError as error:
            raise EditError(str(error), tuple(steps), getattr(error, "tries", ())) from error
        utterance = steps[-1].utterance
        if on_step is not None:
            on_step(steps[-1])
    return tuple(steps)


def _accepted(
    running: _Run, step: Ready, utterance: Utterance, steps: Sequence[Step], position: int
) -> Step:
    """Carry out one edit; where limits are set, draw candidates until one keeps them.

    Raises:
        EditError: if the edit fails, or no try keeps the limits and the source is not to be kept.
    """
    first = running.first or utterance
    to = compared(running.registry, step.edit, utterance, first, steps)
    past = None if running.carry == "audio" else past_of(to, step.edit, steps)
    before = steps[-1] if steps else None
    begin = run_start(step.edit, steps)
    state = _State(utterance, before, to, past, position, steps[begin - 1] if begin else None)
    if running.accept is None or running.gate is None:
        return _run_held(running, step, state)[0]

    def draw(edit: Edit, route: Route, numbers: Sequence[int]) -> list[Drawn]:
        same = edit is step.edit and route == step.route
        asked = step if same else Ready(edit, route, Plan(), False)
        return _draw(running, asked, state, numbers)

    where = f"step {position + 1}, {step.edit.name}"
    limits = running.accept.for_step(step.edit.name, position + 1)
    return Trial(limits, running.gate, step.edit, step.route, to, draw, running.engine, where).run()


def _draw(running: _Run, step: Ready, state: _State, numbers: Sequence[int]) -> list[Drawn]:
    """Carry an edit out several times, with the engine's work in common batches."""

    def one(number: int, engine: SpeechEngine | None) -> Drawn:
        try:
            made, plan = _run_held(replace(running, engine=engine), step, state, number)
        except StepeditError as error:
            return Drawn(number, error=error)
        return Drawn(number, made, plan)

    if running.engine is None or step.route != "llm" or len(numbers) == 1:
        return [one(number, running.engine) for number in numbers]
    tasks = [partial(one, number) for number in numbers]
    ran = run_together(running.engine, tasks, one_at_a_time=True)
    for result in ran:
        if result.value is None:
            raise result.error or RuntimeError("a try gave nothing")
    return [result.value for result in ran if result.value is not None]


def _run_held(
    running: _Run, step: Ready, state: _State, number: int = 0
) -> tuple[Step, Plan | None]:
    """Carry out one edit; where a label again goes too far, ask of what its run began with."""
    made, plan = _run_step(running, step, state, number)
    to = state.to
    if step.route != "llm" or state.past is None or to.anchor is to.received:
        return made, plan
    why = overdone(running.registry, step.edit, to, made.utterance)
    if why is None:
        return made, plan
    earlier = replace(
        state,
        utterance=to.anchor,
        before=state.run_before,
        to=replace(to, received=to.anchor),
        past=replace(state.past, reference=None, latent=None),
    )
    made, plan = _run_step(running, replace(step, is_final=False), earlier, number)
    return replace(made, details={**made.details, "asked_again": why}), plan


def _run_step(
    running: _Run, step: Ready, state: _State, number: int = 0
) -> tuple[Step, Plan | None]:
    """Carry out one edit through the hooks and check what comes back; return its plan, too.

    Raises:
        EditError: if the edit does not fit the utterance, fails, or returns nonsense; the text
            names step, edit and plugin.
    """
    edit = step.edit
    owner = running.owners.get(type(edit)) or running.registry.origin(edit)
    utterance, where = state.utterance, f"step {state.position + 1}, {edit.name}"
    begin = time.perf_counter()
    work = _Work(running, step, state)
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
        outcome = layers.run(utterance, step_rng(running.seed, state.position, number))
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
    made = with_word_times(made, utterance, work.plan)
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
        details=with_notes(outcome.details, work.plan),
        latent=latent if latent is not None and latent.digest == made.digest else None,
        middleware=tuple(layers.acted),
        transcript_unverified=is_llm and made.transcript is not None,
    )
    return finished, work.plan


class _Work:
    """Core's own part of one step: what the innermost ``proceed`` calls."""

    def __init__(self, running: _Run, step: Ready, state: _State) -> None:
        self._running, self._utterance, self._state = running, state.utterance, state
        before = state.before
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
        if self._plan is not None and self._state.past is not None:
            self._plan = within_label(self._plan, self._state.to)
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
            past=self._state.past,
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
        inside = replace(running, owners=owners, seed=seed, depth=depth, first=utterance)
        steps = _run_steps(inside, ready, utterance)
        self.route = "llm" if any(step.route == "llm" for step in steps) else "dsp"
        last = steps[-1]
        details = {"steps": ChainResult(utterance, steps, seed).report()["steps"]}
        return Outcome(last.utterance, self.route, last.codes, details, last.latent)
