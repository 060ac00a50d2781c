"""Validate chains: look ahead over all steps before any of them runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, get_args

from stepedit_core.chain.accept import Accept
from stepedit_core.chain.result import DEFAULT_CARRY, Carry, RouteChoice, Until
from stepedit_core.edit import Edit, Route
from stepedit_core.engine import SpeechEngine, knows, strength_problem
from stepedit_core.errors import InvalidChainError, StepeditError, suggest
from stepedit_core.llm_route.languages import untaught_language
from stepedit_core.plan import ForeseenUtterance, NotHeardYet, Plan
from stepedit_core.utterance import Utterance

__all__ = [
    "Ready",
    "check_arguments",
    "check_options",
    "check_run",
    "choose_route",
    "look_ahead",
]

MAX_DEPTH = 16
"""Most levels of composites within composites."""
_NO_ENGINE = "the llm route needs an engine; give one with engine= or --engine"


@dataclass(frozen=True)
class Ready:
    """A step that can work, as far as that is known before the chain runs.

    Attributes:
        edit: the request.
        route: the route that it will take.
        plan: its plan; of later steps only words and problem are foreseen, and the plan that
            counts is made when their utterance is there.
        is_final: whether the plan is of the utterance that the step receives.
    """

    edit: Edit
    route: Route
    plan: Plan
    is_final: bool


def check_arguments(
    utterance: object, engine: object, route: object, carry: object = DEFAULT_CARRY
) -> None:
    """Refuse what a chain cannot be called with.

    Raises:
        InvalidChainError: naming the argument and what it takes.
    """
    if not isinstance(utterance, Utterance):
        kind = type(utterance).__name__
        raise InvalidChainError(f"a chain edits an Utterance, got {kind}; use Utterance.read")
    if engine is not None and not hasattr(engine, "generate"):
        kind = type(engine).__name__
        raise InvalidChainError(f"engine is a loaded engine, got {kind}; use Engine.load")
    if route not in get_args(RouteChoice):
        raise InvalidChainError(f"route is one of {get_args(RouteChoice)}, got {route!r}")
    if carry not in get_args(Carry):
        raise InvalidChainError(f"carry is one of {get_args(Carry)}, got {carry!r}")


def check_options(
    options: Mapping[str, Any], known: Collection[str], caller: str, seed: object
) -> None:
    """Refuse options that a run would stumble over after its first steps, or never see.

    Args:
        options: the keyword arguments that were given.
        known: the names that there are.
        caller: what was called, for messages.
        seed: that of the run.

    Raises:
        TypeError: if there is no such option, as for any function.
        InvalidChainError: naming the option and what it takes.
    """
    for name in options:
        if name not in known:
            hint = suggest(name, known) or f"; there are {', '.join(sorted(known))}"
            raise TypeError(f"{caller} has no option {name!r}{hint}")
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise InvalidChainError(f"seed is a whole number, got {seed!r}")
    accept, until = options.get("accept"), options.get("until")
    if accept is not None and not isinstance(accept, Accept):
        raise InvalidChainError(f"accept is an Accept, such as Accept.of('normal'), got {accept!r}")
    if until is not None and until not in get_args(Until):
        raise InvalidChainError(f"until is one of {get_args(Until)} or None, got {until!r}")
    for name in ("on_step", "on_piece"):
        told = options.get(name)
        if told is not None and not callable(told):
            raise InvalidChainError(f"{name} is a function, got {told!r}")


def choose_route(
    edit: Edit,
    engine: SpeechEngine | None,
    choice: RouteChoice = "auto",
    utterance: Utterance | None = None,
) -> Route:
    """Return the route that an edit will take.

    ``auto`` takes the engine's own preference where it states one (``preferred_route``), then
    llm where there is an engine that was taught the edit and the utterance's language, then dsp.

    Raises:
        StepeditError: if no route fits; the text says why and what to do.
    """
    if choice != "auto":
        problem = edit.route_problem(choice)
        if problem is None and choice == "llm" and engine is None:
            problem = _NO_ENGINE
        if problem is not None:
            raise StepeditError(problem)
        return choice
    prefer = getattr(engine, "preferred_route", None)
    preferred: Route | None = prefer(edit) if callable(prefer) else None
    order: tuple[Route, ...] = ("llm", "dsp") if preferred is None else (preferred, "llm", "dsp")
    problems: dict[Route, str] = {}
    for route in dict.fromkeys(order):
        found = _route_problem(edit, route, engine, utterance)
        if found is None:
            return route
        problems[route] = found
    raise StepeditError(f"no route: {problems['llm']}; {problems['dsp']}")


def _route_problem(
    edit: Edit, route: Route, engine: SpeechEngine | None, utterance: Utterance | None
) -> str | None:
    """Say why ``auto`` does not take a route, or return None."""
    problem = edit.route_problem(route)
    if problem is not None or route == "dsp":
        return problem
    if engine is None:
        return _NO_ENGINE
    if not knows(engine, edit):
        return (
            f"the engine {engine.name!r} was not taught {edit.name!r}; teach it the edit, give an "
            "engine that knows it, or try route llm all the same"
        )
    foreign = None if utterance is None else untaught_language(engine, utterance)
    if utterance is not None and foreign is not None:  # plans cost time: some look for words
        foreign = untaught_language(engine, utterance, _plan_of(edit, utterance))
    return None if foreign is None else f"{foreign}; route llm tries it all the same"


def _plan_of(edit: Edit, utterance: Utterance) -> Plan | None:
    """Return an edit's plan; None where it depends on words or sound that are not there yet."""
    try:
        return edit.plan(utterance)
    except StepeditError:
        return None


def check_run(
    edits: Iterable[Edit],
    utterance: Utterance,
    engine: SpeechEngine | None,
    options: Mapping[str, Any],
    *,
    known: Collection[str],
    seed: object,
    first: int,
) -> list[Ready]:
    """Check the options of a run, then the whole chain as `look_ahead` does; raises as both do."""
    check_options(options, known, "a chain", seed)
    route, carry = options.get("route", "auto"), options.get("carry", DEFAULT_CARRY)
    return look_ahead(edits, utterance, engine, route=route, carry=carry, first=first)


def look_ahead(
    edits: Iterable[Edit],
    utterance: Utterance,
    engine: SpeechEngine | None,
    *,
    route: RouteChoice = "auto",
    carry: Carry = DEFAULT_CARRY,
    first: int = 1,
    depth: int = 0,
) -> list[Ready]:
    """Check a whole chain against an utterance without running anything.

    The first step is asked for its plan; later ones receive what is foreseen: the words that the
    step before leaves. What depends on their sound is left to the run.

    Args:
        edits: what will run, one by one.
        utterance: what it will receive.
        engine: what it will run on.
        route: one for all steps, or ``auto``.
        carry: what its steps will hand to each other.
        first: number of the first step, for messages.
        depth: of composites around it.

    Raises:
        InvalidChainError: naming the first step that cannot work, why, and the cure.
    """
    check_arguments(utterance, engine, route, carry)
    trouble = utterance.problem()
    if trouble:
        raise InvalidChainError(trouble)
    steps: list[Ready] = []
    state = utterance
    for number, edit in enumerate(edits, start=first):
        if steps:
            words = steps[-1].plan.words_after
            state = ForeseenUtterance(words, utterance.sample_rate, utterance.language)
        try:
            step = _ready(edit, state, utterance, engine, route, depth)
            problem = step.plan.problem
        except StepeditError as error:
            problem = str(error)
        if problem:
            raise InvalidChainError(f"step {number}, {edit.name}: {problem}")
        steps.append(step)
    if not steps:
        raise InvalidChainError("the chain is empty: give at least one edit")
    return steps


def _ready(
    edit: Edit,
    state: Utterance,
    source: Utterance,
    engine: SpeechEngine | None,
    choice: RouteChoice,
    depth: int,
) -> Ready:
    """Look at one step; ``state`` is the source itself, or what is foreseen of its utterance."""
    if edit.composite and edit.is_composite():
        return _composite_ready(edit, state, engine, choice, depth)
    route = choose_route(edit, engine, choice, state)
    if not (state.transcript or "").strip() and edit.needs_transcript(route):
        text = f"the {route} route needs the transcript; give it with transcript= or --text"
        return Ready(edit, route, Plan(problem=text), False)
    is_final = not isinstance(state, ForeseenUtterance)
    plan = _foreseen(edit, state, source) if isinstance(state, ForeseenUtterance) else None
    plan = edit.plan(state) if plan is None else plan
    if route == "llm" and plan.strength != 1.0 and plan.problem is None:
        plan = plan.but(problem=strength_problem(engine, plan))
    return Ready(edit, route, plan, is_final)


def _foreseen(edit: Edit, state: ForeseenUtterance, source: Utterance) -> Plan:
    """Return what can be said of a step before its sound is there: its words, and a problem."""
    try:
        return edit.plan(state)
    except NotHeardYet:
        pass
    try:
        words = edit.transcript_after(state)
    except NotHeardYet:
        words = edit.transcript_after(source.replace(transcript=state.transcript))
    try:
        problem = edit.problem(state)
    except NotHeardYet:
        problem = None
    return Plan(words_after=words, problem=problem)


def _composite_ready(
    edit: Edit, state: Utterance, engine: SpeechEngine | None, choice: RouteChoice, depth: int
) -> Ready:
    """Look at a composite: at the chain that it stands for."""
    if depth >= MAX_DEPTH:
        raise InvalidChainError(f"composites are nested more than {MAX_DEPTH} deep")
    route: Route = choice if choice != "auto" else "dsp" if engine is None else "llm"
    try:
        problem = edit.problem(state)
        inner = edit.expand(state) if problem is None else None
        if inner is None:
            nothing = f"{type(edit).__name__}.expand() gave no chain"
            return Ready(edit, route, Plan(problem=problem or nothing), False)
        steps = look_ahead(inner.unrolled(), state, engine, route=choice, depth=depth + 1)
    except NotHeardYet:
        return Ready(edit, route, Plan(words_after=state.transcript), False)
    taken: Route = "llm" if any(step.route == "llm" for step in steps) else "dsp"
    return Ready(edit, taken, Plan(words_after=steps[-1].plan.words_after), False)
