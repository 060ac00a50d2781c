"""Contract checks of one request: data, prompt, signal processing, and the engine route."""

from __future__ import annotations

import json
import re

import numpy as np

from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import edit_from_data, format_edit, parse_edit
from stepedit_core.edit import Edit, Rendered
from stepedit_core.errors import StepeditError
from stepedit_core.plan import ForeseenUtterance, NotHeardYet, Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing import signals
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.subject import Subject, require, skip
from stepedit_core.utterance import Utterance

__all__ = ["EDIT_CHECKS"]

_UNEVEN = 0.05
"""Largest relative difference of a known duration from the one that is announced."""
_TEXTS = ("", "Plain words.", "你好，世界！", "Zażółć gęślą jaźń", 'with {braces} and "quotes"')


def survives_json(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check that the request is equal after a trip through JSON."""
    data = json.loads(json.dumps(edit.to_data()))
    require(edit_from_data(data) == edit, f"{edit}: {data} does not give the same edit back")
    chain = Chain([edit])
    require(Chain.from_json(chain.to_json()) == chain, f"{edit}: its chain changes in JSON")


def survives_notation(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check that the request is equal after a trip through the command line's form."""
    text = format_edit(edit)
    require(parse_edit(text) == edit, f"{text!r} does not give the same edit back")


def is_frozen(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check that the request can be hashed, as an immutable value can."""
    try:
        hash(edit)
    except TypeError as error:
        require(False, f"{edit}: not hashable ({error}); use tuples instead of lists in fields")


def prompts_well(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check that the prompt is repeatable, filled in, and fit for any words."""
    if edit.route_problem("llm") or edit.is_composite() or edit.keeps_codes:
        skip("no llm route, a composite of others, or one that keeps the codes")
    for text in (utterance.transcript, *_TEXTS):
        spoken = utterance.replace(transcript=text)
        if subject.problem(edit, spoken):
            continue
        prompt = edit.prompt(spoken)
        require(isinstance(prompt, Prompt), f"{edit}: prompt() returned {type(prompt).__name__}")
        require(prompt == edit.prompt(spoken), f"{edit}: two calls of prompt() differ")
        words = prompt.text.replace(text or "\0", "")
        for key in type(edit).model_fields:
            require(f"{{{key}}}" not in words, f"{edit}: {{{key}}} is left unfilled in the prompt")
        require(not re.search(r"\{\}|\{\d\}", words), f"{edit}: a brace is left in the prompt")
        if edit.shows_transcript() and text:
            require(
                text in prompt.text,
                f"{edit}: the prompt lacks the transcript {text!r}; say so by shows_transcript()",
            )


def plans_well(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check that the plan is repeatable, makes sense, and says what the edit's methods say."""
    plan = edit.plan(utterance)
    require(isinstance(plan, Plan), f"{edit}: plan() returned {type(plan).__name__}")
    require(plan == edit.plan(utterance), f"{edit}: two calls of plan() differ")
    require(
        plan.problem is None or "\n" not in plan.problem,
        f"{edit}: the plan's problem takes more than one line",
    )
    problem = edit.problem(utterance)
    require(
        plan.problem == problem,
        f"{edit}: the plan's problem is {plan.problem!r}, problem() says {problem!r}",
    )
    if plan.problem:
        skip(f"does not fit the sample: {plan.problem}")
    after = edit.transcript_after(utterance)
    require(
        edit.is_composite() or plan.words_after == after,
        f"{edit}: the plan's words_after is {plan.words_after!r}, transcript_after() {after!r}",
    )
    require(0 < plan.length_ratio < 100, f"{edit}: the plan's length_ratio is {plan.length_ratio}")
    for span in plan.spans or ():
        inside = 0 <= span.start < span.end <= utterance.seconds + 1e-6
        require(inside, f"{edit}: the plan's {span} is not inside the utterance")
    for one in plan.insertions:
        inside = 0 <= one.at <= utterance.seconds + 1e-6 and one.seconds > 0
        require(inside, f"{edit}: the plan's {one} is not inside the utterance")
    _foresees_well(edit, utterance)
    _keeps_the_inner_plan(edit, plan, utterance)


def _foresees_well(edit: Edit, utterance: Utterance) -> None:
    """Check that words and problem are the same where the words alone are known."""
    foreseen = ForeseenUtterance(utterance.transcript, utterance.sample_rate, utterance.language)
    try:
        problem = edit.problem(foreseen)
    except NotHeardYet:
        return
    require(
        problem is None or problem == edit.problem(utterance),
        f"{edit}: problem() refuses words whose sound it takes: {problem!r}",
    )


def _keeps_the_inner_plan(edit: Edit, plan: Plan, utterance: Utterance) -> None:
    """Check that an edit that carries out another one by its prompt keeps its label and rules."""
    for key, inner in edit:
        if not isinstance(inner, Edit) or edit.is_composite():
            continue
        if edit.route_problem("llm") or inner.keeps_codes:
            continue
        if edit.prompt(utterance) != inner.prompt(utterance):
            continue
        own = inner.plan(utterance)
        require(
            plan.rules[: len(own.rules)] == own.rules,
            f"{edit}: the plan's rules {plan.rules} do not begin with those of {key}, {own.rules}; "
            "make it by Plan.inside()",
        )
        require(
            plan.label == (edit.name if own.insertions else own.label),
            f"{edit}: the plan's label is {plan.label!r}, that of {key} is {own.label!r}; make it "
            "by Plan.inside()",
        )


def expands_well(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check that a composite stands for a chain that fits the utterance, the same each time."""
    if not edit.is_composite():
        skip("not a composite")
    require(not edit.problem(utterance), f"{edit}: does not fit the sample")
    chain = edit.expand(utterance)
    require(isinstance(chain, Chain), f"{edit}: expand() returned {type(chain).__name__}")
    require(chain == edit.expand(utterance), f"{edit}: two calls of expand() differ")
    engine = FakeEngine()
    first, again = (
        Chain([edit])(utterance, engine, seed=3, registry=subject.registry) for _ in range(2)
    )
    require(first.utterance.digest == again.utterance.digest, f"{edit}: same seed, other samples")


def renders_well(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check the dsp route on an utterance that the request fits: sound, repeatable output."""
    if edit.route_problem("dsp") or edit.is_composite():
        skip("no dsp route for these parameters, or a composite of others")
    problem = subject.problem(edit, utterance)
    if problem:
        skip(f"does not fit the sample: {problem}")
    first = _rendered(edit, utterance)
    again = _rendered(edit, utterance)
    require(
        first.utterance.digest == again.utterance.digest, f"{edit}: same rng seed, other samples"
    )
    require(
        edit.transcript_after(utterance) == first.utterance.transcript,
        f"{edit}: transcript_after() says {edit.transcript_after(utterance)!r}, render() gave "
        f"{first.utterance.transcript!r}",
    )
    plan = edit.plan(utterance)
    if plan.has_known_length:
        grown = first.utterance.seconds / utterance.seconds
        require(
            abs(grown / plan.length_ratio - 1) < _UNEVEN,
            f"{edit}: render() gave {grown:.2f} times the duration, the plan's length_ratio is "
            f"{plan.length_ratio:.2f}; an edit of uniform tempo or exact length keeps to it",
        )


def _rendered(edit: Edit, utterance: Utterance, seed: int = 0) -> Rendered:
    """Render and hold the rules that every output keeps."""
    before = utterance.digest
    result = edit.render(utterance, np.random.default_rng(seed))
    where = f"{edit} on {utterance!r}"
    require(isinstance(result, Rendered), f"{where}: render() returned {type(result).__name__}")
    out = result.utterance
    require(utterance.digest == before, f"{where}: render() changed its input")
    require(out.sample_rate == utterance.sample_rate, f"{where}: the rate became {out.sample_rate}")
    require(len(out.samples) > 0, f"{where}: no samples came back")
    ceiling = max(1.0, float(np.abs(utterance.samples).max(initial=0.0))) + 1e-4
    peak = float(np.abs(out.samples).max(initial=0.0))
    require(peak <= ceiling, f"{where}: the peak is {peak:.3f}; limit it to {ceiling:.3f}")
    try:
        json.dumps(dict(result.details))
    except TypeError as error:
        require(False, f"{where}: details are not JSON data ({error})")
    return result


def renders_odd_input(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check the dsp route on short, long, silent, clipped, and low- and high-rate input."""
    if edit.route_problem("dsp"):
        skip("no dsp route for these parameters")
    words = utterance.transcript
    odd = {
        "0.1 s": signals.speech_like(0.1, transcript=words),
        "30 s at 8 kHz": signals.speech_like(30.0, 8_000, transcript=words),
        "silence": signals.silence(0.5).replace(transcript=words),
        "clipping": signals.clipped(signals.speech_like(1.0, 16_000, transcript=words)),
        "96 kHz": signals.speech_like(0.6, 96_000, transcript=words),
    }
    for label, sound in odd.items():
        if edit.problem(sound):
            continue
        try:
            _rendered(edit, sound)
        except StepeditError as error:
            require("\n" not in str(error), f"{edit} on {label}: the refusal has several lines")


def runs_on_an_engine(subject: Subject, edit: Edit, utterance: Utterance) -> None:
    """Check the llm route through a chain and the fake engine."""
    if edit.route_problem("llm") or edit.is_composite():
        skip("no llm route, or a composite of others")
    spoken = utterance
    if edit.needs_transcript("llm") and not utterance.transcript:
        spoken = utterance.replace(transcript=signals.DEFAULT_TRANSCRIPT)
    problem = subject.problem(edit, spoken)
    if problem:
        skip(f"does not fit the sample: {problem}")
    chain = Chain([edit])
    first, again = (
        chain(spoken, FakeEngine(), seed=3, route="llm", registry=subject.registry)
        for _ in range(2)
    )
    step = first.steps[0]
    require(step.route == "llm", f"{edit}: asked for the llm route, {step.route} ran")
    require(step.codes is not None, f"{edit}: the llm route gave no codes")
    require(
        step.utterance.digest == again.steps[0].utterance.digest,
        f"{edit}: same engine and seed, other samples",
    )
    expected = edit.transcript_after(spoken)
    require(
        step.utterance.transcript == expected,
        f"{edit}: the transcript became {step.utterance.transcript!r}, not {expected!r}",
    )


EDIT_CHECKS = (
    survives_json,
    survives_notation,
    is_frozen,
    prompts_well,
    plans_well,
    expands_well,
    renders_well,
    runs_on_an_engine,
)
"""Checks of every sample request."""

ODD_INPUT_CHECKS = (renders_odd_input,)
"""Checks of the first sample request with a dsp route, because they take longer."""
