"""Conditions: the recordings that are made of a case, the edit and those it is compared with.

============  ==========================================================================
condition     recording
============  ==========================================================================
``source``    the edit's input, untouched
``dsp``       the edit by signal processing
``world``     the speech taken apart and put together by the WORLD vocoder
``identity``  the speech coded and decoded by the engine: tokenize, decode
``target``    the codes of an ideal output, decoded in the source's voice: what a faultless
              language model would reach, so that it parts the share of tokenizers and decoder
              in a failure from the language model's
``edit``      the edit by the route of the protocol
============  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stepedit_bench.suites import Unit, slug
from stepedit_core.chain.chain import Chain, ChainResult
from stepedit_core.chain.result import Carry, RouteChoice
from stepedit_core.chain.validation import choose_route
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.dsp.prosody import ProsodyRecipe, transform
from stepedit_core.edit import Edit
from stepedit_core.engine import DecodeRequest, SpeechEngine, regenerates_insertions_only
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.batching import PromptFixed, run_together
from stepedit_core.llm_route.carrying_out import reconstructed
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.scoring import Prepared
from stepedit_core.utterance import Utterance

__all__ = ["BY_ENGINE", "Condition", "Outputs", "Recorded", "Recordings", "Request", "make"]

Condition = Literal["dsp", "world", "identity", "target", "edit"]
BY_ENGINE: tuple[Condition, ...] = ("identity", "target", "edit")
"""Conditions that an engine is asked for; the recordings of others serve all engines."""


@dataclass(frozen=True)
class Recorded:
    """One recording, and what carried the edit out.

    Attributes:
        audio: the recording.
        file: where it is kept, or None.
        route: the route of the edit, or None where nothing was edited.
        engine: name of the engine that ran, or None.
        details: facts that the route reported.
    """

    audio: Utterance
    file: Path | None = None
    route: str | None = None
    engine: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """Recordings of one unit in one condition.

    Attributes:
        steps: one recording for each edit, in order; fewer than asked for where one failed.
        status: ``ok``, ``unsupported`` (no such route for these parameters) or ``failed``.
        problem: what went wrong, or None.
        seconds: wall-clock time of each edit, kept apart from the results.
    """

    steps: tuple[Recorded, ...] = ()
    status: str = "ok"
    problem: str | None = None
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Request:
    """A unit in one condition: what to carry out, on what.

    Attributes:
        unit: the unit.
        prepared: its input.
        edits: what to carry out, in order.
        ideal: what an edit without fault would give, or None.
        problem: why no edit can be asked for what the unit wants, or None.
    """

    unit: Unit
    prepared: Prepared
    edits: tuple[Edit, ...]
    ideal: Utterance | None
    problem: str | None = None


@dataclass(frozen=True)
class Recordings:
    """Recordings kept as 16-bit FLAC: what is there is read, and all measure the same bytes.

    Their names hold the mark of the unit, so that what other code or another seed made stays apart.

    Attributes:
        shared: folder for what does not depend on an engine.
        own: folder of the engine.
    """

    shared: Path
    own: Path

    def path(self, unit: Unit, condition: str, step: int = 0) -> Path:
        """Return the path of a recording."""
        folder = self.own if condition in BY_ENGINE else self.shared
        number = f"-{step + 1}" if step else ""
        name = f"{slug(unit.name)}.{condition}{number}.{unit.mark}.flac"
        return folder / slug(unit.edit) / name

    def keep(self, speech: Utterance, path: Path, like: Utterance) -> Utterance:
        """Write a recording and return what is in the file, with the words of another."""
        if not path.is_file():
            speech.write(path, subtype="PCM_16")
        return Utterance.read(path, like.transcript, like.language)

    def read(
        self, request: Request, condition: Condition, routes: Sequence[str | None]
    ) -> Outputs | None:
        """Return the stored recordings of a condition, or None where one is missing.

        Args:
            request: what was carried out.
            condition: which.
            routes: that its edits took, in order; empty where nothing was edited.
        """
        words = _words(request, condition)
        paths = [self.path(request.unit, condition, step) for step in range(len(words))]
        if not all(path.is_file() for path in paths):
            return None
        language = request.prepared.source.language
        return Outputs(
            tuple(
                Recorded(Utterance.read(path, text, language), path, route)
                for path, text, route in zip(
                    paths, words, routes or [None] * len(paths), strict=True
                )
            )
        )

    def keep_all(self, request: Request, condition: Condition, made: Outputs) -> Outputs:
        """Keep what a condition gave, with the words that it ought to say."""
        words, source = _words(request, condition), request.prepared.source
        steps = []
        for number, (step, text) in enumerate(zip(made.steps, words, strict=False)):
            path = self.path(request.unit, condition, number)
            kept = self.keep(step.audio, path, source.replace(transcript=text))
            steps.append(replace(step, audio=kept, file=path))
        return replace(made, steps=tuple(steps))


def _words(request: Request, condition: Condition) -> list[str | None]:
    """Return the words that each recording of a condition ought to say."""
    words, state = [], request.prepared.source
    if condition in ("identity", "world"):
        return [state.transcript] * request.unit.recodings
    for edit in request.edits:
        state = state.replace(transcript=edit.transcript_after(state))
        words.append(state.transcript)
    return words


def make(
    condition: Condition,
    requests: Sequence[Request],
    engine: SpeechEngine | None,
    route: RouteChoice,
    prompt_fixed: bool = False,
    recordings: Recordings | None = None,
) -> list[Outputs]:
    """Make the recordings of several units, with the engine's work in common batches.

    Args:
        condition: which.
        requests: what to carry out.
        engine: who does; None for signal processing.
        route: of the condition ``edit``.
        prompt_fixed: whether ``edit`` carries codes on and keeps the voice of the source.
        recordings: what is kept; None keeps nothing.
    """
    found = [
        recordings.read(one, condition, _routes(one, condition, engine, route))
        if recordings
        else None
        for one in requests
    ]
    todo = [one for one, made in zip(requests, found, strict=True) if made is None]
    work = partial(_work, condition, route, prompt_fixed)
    tasks = [partial(work, one) for one in todo]
    if condition not in BY_ENGINE or engine is None or len(todo) == 1:
        used = engine if condition in BY_ENGINE else None
        fresh = [task(used) for task in tasks]
    else:
        fresh = []
        for ran in run_together(engine, tasks):
            if ran.value is None:
                raise ran.error or RuntimeError(f"{condition}: nothing came out")
            fresh.append(ran.value)
    if recordings:
        kept = zip(todo, fresh, strict=True)
        fresh = [recordings.keep_all(one, condition, made) for one, made in kept]
    new = iter(fresh)
    return [next(new) if made is None else made for made in found]


def _routes(
    request: Request, condition: Condition, engine: SpeechEngine | None, route: RouteChoice
) -> list[str | None]:
    """Return the routes that edits take in a condition: None for one that has none."""
    if condition not in ("edit", "dsp"):
        return []
    used, asked = (engine, route) if condition == "edit" else (None, "dsp")
    found: list[str | None] = []
    for edit in request.edits:
        try:
            found.append(choose_route(edit, used, asked))
        except StepeditError:
            found.append(None)
    return found


def _work(
    condition: Condition,
    route: RouteChoice,
    prompt_fixed: bool,
    request: Request,
    engine: SpeechEngine | None,
) -> Outputs:
    """Make one unit's recordings; what goes wrong is told in the result."""
    source, seed = request.prepared.source, request.unit.seed
    if condition == "edit":
        return _edited(request, engine, route, prompt_fixed)
    if condition == "dsp":
        return _edited(request, None, "dsp", False)
    try:
        if condition == "target":
            assert engine is not None
            return Outputs((Recorded(_target(request, engine)),))
        recode: Callable[[Utterance], Utterance] = _world
        if condition == "identity":
            assert engine is not None
            used = engine
            recode = lambda speech: reconstructed(used, [speech], [seed])[0]  # noqa: E731
        steps: list[Recorded] = []
        for _ in range(request.unit.recodings):
            steps.append(Recorded(recode(steps[-1].audio if steps else source)))
    except StepeditError as error:
        return Outputs((), "failed", str(error))
    return Outputs(tuple(steps))


def _edited(
    request: Request, engine: SpeechEngine | None, route: RouteChoice, prompt_fixed: bool
) -> Outputs:
    """Carry the edits out, each on the output of the one before."""
    source = request.prepared.source
    if request.problem is not None:
        return Outputs((), "unsupported", request.problem)
    if prompt_fixed and engine is None:
        raise StepeditError("--prompt-fixed needs an engine: it is about the decoder's prompt")
    heard = PromptFixed(engine, source) if prompt_fixed and engine is not None else engine
    try:
        for edit in request.edits:
            choose_route(edit, heard, route)
    except StepeditError as error:
        return Outputs((), "unsupported", str(error))
    result, problem = ChainResult(source, (), request.unit.seed, heard), None
    carry: Carry = "codes" if prompt_fixed else request.unit.carry
    try:
        for edit in request.edits:
            result = Chain([edit]).run_from(result, engine=heard, route=route, carry=carry)
    except StepeditError as error:
        problem = str(error)
    seconds = tuple(step.seconds for step in result.steps)
    steps: tuple[Recorded, ...]
    if request.unit.whole:
        steps = (_whole(request.unit, result),) if problem is None and result.steps else ()
    else:
        steps = tuple(
            Recorded(step.utterance, None, step.route, step.engine, step.details)
            for step in result.steps
        )
    return Outputs(steps, "ok" if problem is None else "failed", problem, seconds)


def _whole(unit: Unit, result: ChainResult) -> Recorded:
    """Return the recording after all edits, with what is to be known of each."""
    told, before = [], result.source
    for step in result.steps:
        about = step.report()
        del about["wall_seconds"]  # results are the same however fast a machine is
        if step.route == "llm":
            prompt = step.edit.prompt(before)
            turns = {"system": prompt.system, "user": prompt.user}
            about["prompt"] = {name: [str(part) for part in turn] for name, turn in turns.items()}
        told.append(about)
        before = step.utterance
    last = result.steps[-1]
    routes = "+".join(dict.fromkeys(step.route for step in result.steps))
    engines = [step.engine for step in result.steps if step.engine]
    engine = engines[-1] if engines else None
    return Recorded(unit.promised(last.utterance), None, routes, engine, {"steps": told})


def _world(speech: Utterance) -> Utterance:
    """Return speech taken apart and put together by the WORLD vocoder, nothing changed."""
    return transform(speech, ProsodyRecipe(), np.random.default_rng(0))


def _target(request: Request, engine: SpeechEngine) -> Utterance:
    """Return the ideal output as an answer without fault would sound: coded, then decoded.

    Without a recorded one, what signal processing gives is the ideal.
    """
    source, wanted, (edit,) = request.prepared.source, request.ideal, request.edits
    if wanted is None:
        made = _edited(request, None, "dsp", False)
        if not made.steps:
            raise StepeditError(made.problem or "signal processing gave nothing")
        wanted = made.steps[-1].audio
    asked, is_timed = _as_answered(engine, edit, source, wanted, request.unit.seed)
    audio = engine.decode([asked])[0]
    return fit_to_source_timing(audio, asked.codes.start, wanted.seconds)[0] if is_timed else audio


def _as_answered(
    engine: SpeechEngine, edit: Edit, source: Utterance, wanted: Utterance, seed: int
) -> tuple[DecodeRequest, bool]:
    """Return how an ideal output is decoded as an answer, and whether at the source's tempo."""
    own, codes = engine.encode([source, wanted])
    plan = edit.plan(source)
    alone = regenerates_insertions_only(engine, plan)
    request = request_for(edit, source, own, 0, plan=plan, insertions_only=alone)
    tempo = 1 / request.length_ratio if plan.uniform_tempo else 1.0
    offset = (tempo * codes.start - own.start) / GROUP_SECONDS
    source_map = request.source_map(codes.groups, offset)
    return DecodeRequest(codes, source, seed, source_map), plan.uniform_tempo
