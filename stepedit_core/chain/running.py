"""Run chains: carry their steps out through the hooks, one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import pluggy

from stepedit_core.chain.accept import Accept
from stepedit_core.chain.drift import Standing, doubled, no_gain, overdone, standing, within_label
from stepedit_core.chain.gate import Compared, Gate
from stepedit_core.chain.result import (
    DEFAULT_CARRY,
    Carry,
    RouteChoice,
    Step,
    Until,
    notes_of,
    reported,
    with_notes,
    with_word_times,
)
from stepedit_core.chain.trying import Drawn, Trial
from stepedit_core.chain.validation import Ready, check_run, look_ahead
from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Outcome, Rendered, Route
from stepedit_core.engine import ChoosingEngine, SpeechEngine
from stepedit_core.errors import EditError, RouteError, StepeditError
from stepedit_core.llm_route.batching import Ranked, run_together
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.languages import untaught_languages
from stepedit_core.plan import Plan
from stepedit_core.registry.checks import PluginInfo
from stepedit_core.registry.middleware import Layers
from stepedit_core.registry.moved import moved_names
from stepedit_core.registry.registry import Registry
from stepedit_core.utterance import Utterance

__all__ = ["RunOptions", "carry_out", "run", "step_rng"]


class RunOptions(TypedDict, total=False):
    """How a chain runs; see ``Chain.__call__``."""

    route: RouteChoice
    carry: Carry
    on_step: Callable[[Step], None] | None
    accept: Accept | None
    until: Until | None


@dataclass(frozen=True)
class _Run:
    """What holds for all steps of a run."""

    registry: Registry
    middleware: Sequence[pluggy.HookImpl]
    engine: SpeechEngine | None
    choice: RouteChoice
    carry: Carry
    seed: int
    first: Utterance
    depth: int = 0
    accept: Accept | None = None
    gate: Gate | None = None
    owners: dict[type[Edit], PluginInfo] = field(default_factory=dict)
    """Who brings the classes of the edits that have run."""

    def owner(self, edit: Edit) -> PluginInfo:
        """Return the plugin that brings an edit; the registry is asked once for each class."""
        if type(edit) not in self.owners:
            self.owners[type(edit)] = self.registry.origin(edit)
        return self.owners[type(edit)]


def run(
    edits: Sequence[Edit],
    source: Utterance,
    finished: tuple[Step, ...],
    *,
    seed: int,
    engine: SpeechEngine | None,
    registry: Registry,
    rounds: int = 1,
    **options: Unpack[RunOptions],
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Run edits after the steps that are finished; return all steps, and notes for the user.

    Args:
        edits: what to do, one by one, all ``rounds`` of a chain that iterates.
        source: what the first of the finished steps received.
        finished: the steps so far.
        seed: of the chain.
        engine: what the llm route runs on.
        registry: whose hooks run.
        rounds: how many iterations ``edits`` are.
        options: as for calling a chain.

    Raises:
        TypeError: if there is no such option.
        InvalidChainError: before anything runs, if a step cannot work.
        EditError: if a step fails while it runs; it carries the finished steps.
    """
    route, carry = options.get("route", "auto"), options.get("carry", DEFAULT_CARRY)
    accept, until, on_step = options.get("accept"), options.get("until"), options.get("on_step")
    here = finished[-1].utterance if finished else source
    first = len(finished) + 1
    known = RunOptions.__annotations__
    ready = check_run(edits, here, engine, options, known=known, seed=seed, first=first)
    middleware = registry.hook.stepedit_apply.get_hookimpls()
    gate = None
    if accept is not None or until is not None:
        listens = accept is not None and accept.words is not None
        gate = Gate(registry, source, engine, accept.ears if listens and accept else 0)
    running = _Run(
        registry, middleware, engine, route, carry, seed, source, accept=accept, gate=gate
    )
    notes: tuple[str, ...] = ()
    if until is None:
        steps = _run_steps(running, ready, here, finished, on_step)
    else:
        steps, notes = _until_no_gain(running, ready, rounds, finished, on_step)
    if gate is not None:
        notes = (*notes, *gate.notes)
    plans = [step.plan for step in ready if step.route == "llm"]
    return steps, (*notes, *notes_of(steps), *untaught_languages(engine, here, plans))


def _until_no_gain(
    running: _Run,
    ready: Sequence[Ready],
    rounds: int,
    finished: tuple[Step, ...],
    on_step: Callable[[Step], None] | None,
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Run the iterations of a chain until one brings its edits no nearer to their targets.

    What that one did is dropped.
    """
    assert running.gate is not None
    size, steps = len(ready) // rounds, finished
    for number in range(rounds):
        part = ready[number * size : (number + 1) * size]
        here = steps[-1].utterance if steps else running.first
        more = _run_steps(running, part, here, steps)
        new = more[len(steps) :]
        gain = None
        if number:
            gain = no_gain(running.gate, [one.edit for one in part], running.first, here, new)
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
            steps.append(_accepted(running, one, utterance, steps))
        except StepeditError as error:
            raise EditError(str(error), tuple(steps), getattr(error, "tries", ())) from error
        utterance = steps[-1].utterance
        if on_step is not None:
            on_step(steps[-1])
    return tuple(steps)


def _accepted(running: _Run, step: Ready, utterance: Utterance, steps: Sequence[Step]) -> Step:
    """Carry out one edit; where limits are set, draw candidates until one keeps them.

    Raises:
        EditError: if the edit fails, or no try keeps the limits and the source is not to be kept.
    """
    state = _standing(running, step.edit, utterance, steps)
    if running.accept is None or running.gate is None:
        return _run_held(running, step, state)[0]

    def draw(edit: Edit, route: Route, numbers: Sequence[int], draws: int) -> list[Drawn]:
        same = edit is step.edit and route == step.route
        asked = step if same else Ready(edit, route, Plan(), False)
        return _draw(running, asked, state, numbers, draws)

    number = state.position + 1
    limits = running.accept.for_step(step.edit.name, number)
    return Trial(
        limits, running.gate, step.edit, step.route, state.to, draw, running.engine,
        f"step {number}, {step.edit.name}",
    ).run()  # fmt: skip


def _standing(running: _Run, edit: Edit, utterance: Utterance, steps: Sequence[Step]) -> Standing:
    """Return where the chain stands before a step; the first one has no past."""
    if not steps:
        first = running.first
        return Standing(utterance, None, Compared(utterance, first, first, utterance), None, 0)
    tells_past = running.carry != "audio"
    return standing(running.registry, edit, utterance, running.first, steps, tells_past=tells_past)


def _draw(
    running: _Run, step: Ready, state: Standing, numbers: Sequence[int], draws: int
) -> list[Drawn]:
    """Carry an edit out several times, with the engine's work in common batches."""
    engine = running.engine
    if draws:
        engine = Ranked(cast(ChoosingEngine, engine), len(numbers), draws)

    def one(number: int, engine: SpeechEngine | None) -> Drawn:
        drawn_as = numbers[0] if draws else number
        try:
            made, plan = _run_held(replace(running, engine=engine), step, state, drawn_as)
        except StepeditError as error:
            return Drawn(number, error=error)
        return Drawn(number, made, plan)

    if engine is None or step.route != "llm" or len(numbers) == 1:
        return [one(number, engine) for number in numbers]
    ran = run_together(engine, [partial(one, at) for at in numbers], one_at_a_time=True)
    for result in ran:
        if result.value is None:
            raise result.error or RuntimeError("a try gave nothing")
    return [result.value for result in ran if result.value is not None]


def _run_held(
    running: _Run, step: Ready, state: Standing, number: int = 0
) -> tuple[Step, Plan | None]:
    """Carry out one edit; where a label again goes too far, ask of what its run began with."""
    to = state.to
    if step.route != "llm" or state.past is None or to.anchor is to.received:
        return _run_step(running, step, state, number)
    why = doubled(running.engine, step.edit, to)
    if why is None:
        made, plan = _run_step(running, step, state, number)
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
    running: _Run, step: Ready, state: Standing, number: int = 0
) -> tuple[Step, Plan | None]:
    """Carry out one edit through the hooks and check what comes back; return its plan, too.

    Raises:
        EditError: if the edit does not fit the utterance, fails, or returns nonsense; the text
            names step, edit and plugin.
    """
    edit = step.edit
    utterance, where = state.utterance, f"step {state.position + 1}, {edit.name}"
    begin = time.perf_counter()
    work = _Work(running, step, state)
    layers = _layers(running, step, work) if running.middleware else None
    carried_out_by = work.carry_out if layers is None else layers.run
    try:
        work.check()
        outcome = carried_out_by(utterance, step_rng(running.seed, state.position, number))
    except (Exception, SystemExit) as error:
        plugin = None if layers is None else layers.blamed(error)
        owner = running.owner(edit)
        blame = f"{where} ({owner.distribution} {owner.version})"
        if plugin is not None:
            blame = f"{where}: stepedit_apply of {plugin}"
        kind = "" if isinstance(error, StepeditError) else f"{type(error).__name__}: "
        raise EditError(f"{blame}: {kind}{error}") from error
    owner = running.owner(edit)
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
        middleware=() if layers is None else tuple(layers.acted),
        transcript_unverified=is_llm and made.transcript is not None,
    )
    return finished, work.plan


def _layers(running: _Run, step: Ready, work: _Work) -> Layers:
    """Return the middleware around core's own part of a step."""
    engine = running.engine if step.route == "llm" else None
    known = {"edit": step.edit, "engine": engine, "route": step.route, "codes": work.codes}
    return Layers(running.registry, running.middleware, work.carry_out, known)


class _Work:
    """Core's own part of one step: what the innermost ``proceed`` calls."""

    def __init__(self, running: _Run, step: Ready, state: Standing) -> None:
        self._running, self._utterance, self._state = running, state.utterance, state
        before = state.before
        self._edit = step.edit
        self.route = step.route
        hands_over = before is not None and running.carry != "audio"
        self._latent = before.latent if before is not None and hands_over else None
        self.codes = before.codes if before is not None and running.carry == "codes" else None
        self.plan = step.plan if step.is_final else None
        """The step's plan, where one was made; a composite has none."""

    def check(self) -> None:
        """Make the plan, once; raise EditError where the edit does not fit the utterance."""
        if self.plan is None and not self._edit.is_composite():
            self.plan = self._edit.plan(self._utterance)
        if self.plan is not None and self._state.past is not None:
            self.plan = within_label(self.plan, self._state.to)
        problem = self._edit.problem(self._utterance) if self.plan is None else self.plan.problem
        if problem:
            raise EditError(problem)

    def carry_out(self, utterance: Utterance, rng: np.random.Generator) -> Outcome:
        """Carry out the edit, on its own utterance or on what middleware gives instead."""
        if self.plan is None:
            return self._composite(utterance, rng)
        same = utterance is self._utterance
        return carry_out(
            self._edit,
            utterance,
            self._running.engine,
            rng,
            self.route,
            self.codes if same else None,
            plan=self.plan if same else None,
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
        edits, choice, depth = inner.unrolled(), running.choice, running.depth + 1
        ready = look_ahead(edits, utterance, running.engine, route=choice, depth=depth)
        seed = int(rng.integers(2**63))
        inside = replace(running, seed=seed, depth=depth, first=utterance)
        steps = _run_steps(inside, ready, utterance)
        self.route = "llm" if any(step.route == "llm" for step in steps) else "dsp"
        last = steps[-1]
        details = {"steps": reported(steps)}
        return Outcome(last.utterance, self.route, last.codes, details, last.latent)


def step_rng(seed: int, position: int, number: int = 0) -> np.random.Generator:
    """Return the generator of a step; it depends on the seed and the step's place alone.

    Args:
        seed: the chain's.
        position: the step's place in the chain, from 0.
        number: of the try, from 0, where a step is drawn several times.
    """
    key = (position,) if number == 0 else (position, number)
    return np.random.default_rng(np.random.SeedSequence(abs(seed), spawn_key=key))


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
        known: ``plan``, ``latent``, ``keep_latent`` and ``past`` of the llm route, see
            `apply_by_llm`.

    Raises:
        RouteError: if there is no engine, or ``render()`` returns nonsense.
    """
    if route == "dsp":
        rendered = edit.render(utterance, rng)
        if not isinstance(rendered, Rendered):
            raise RouteError(f"render() returned {type(rendered).__name__}, not Rendered")
        try:
            json.dumps(dict(rendered.details))
        except (TypeError, ValueError) as error:  # the report would fail after all steps
            raise RouteError(
                f"details of render() are no JSON data ({error}); make NumPy's numbers float or int"
            ) from error
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
        pasts=[known.get("past")],
    )[0]


__getattr__ = moved_names(__name__, {"ChainResult": "stepedit_core.chain.chain"})
