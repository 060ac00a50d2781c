"""Estimate the cost of the chosen judges before any of them is asked."""

from __future__ import annotations

from stepedit_bench.judging import JudgeChoice
from stepedit_bench.public.work import PUBLIC
from stepedit_bench.runner import BenchConfig, work_of
from stepedit_bench.suites import scorable_edits, units
from stepedit_core.errors import StepeditError

__all__ = ["judge_estimates"]


def judge_estimates(config: BenchConfig) -> list[str]:
    """Return one line for each chosen judge that can estimate its cost.

    A judge may bring ``estimate(calls, audio_seconds) -> str``. Calls are counted as one for
    each recording of each case: source, iterations, and identity where there is an engine.
    """
    choice = JudgeChoice(config.judges, config.judge_options)
    if config.suite in PUBLIC:
        return _of_public(config, choice)
    edits = [found.name for found in scorable_edits(config.edits, config.suite)]
    lines: list[str] = []
    for task in sorted(set(config.judges)):
        name = choice.names[task]
        tasks = edits if task == "*" else [task]
        judge = next((found for each in tasks if (found := _judge(choice, each))), None)
        estimate = getattr(judge, "estimate", None)
        if not callable(estimate):
            continue
        wanted = [edit for edit in edits if task in {"*", edit}]
        work = units(wanted, config.suite, config.limit, config.seed) if wanted else []
        per_case = config.protocol.iterations + 2
        seconds = sum(unit.start().seconds for unit in work) * per_case
        lines.append(f"judge {name}: {estimate(len(work) * per_case, seconds)}")
    return lines


def _of_public(config: BenchConfig, choice: JudgeChoice) -> list[str]:
    """Return the lines for a public test set: every item is asked about at most twice."""
    lines: list[str] = []
    work = work_of(config) if config.judges else []
    for task in sorted(set(config.judges) - {"*"}):
        estimate = getattr(_judge(choice, task), "estimate", None)
        if callable(estimate):
            calls = 2 * len(work)
            lines.append(f"judge {choice.names[task]}: {estimate(calls, 10.0 * calls)}")
    return lines


def _judge(choice: JudgeChoice, task: str) -> object | None:
    try:
        return choice.for_task(task)
    except StepeditError:
        return None
