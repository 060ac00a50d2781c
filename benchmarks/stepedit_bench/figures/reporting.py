"""Write figures.json, routes.json, report.json and report.md of a run."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stepedit_bench.figures.gates import BESIDE
from stepedit_bench.figures.joint import routes_of
from stepedit_bench.figures.running import Run, Settings
from stepedit_bench.figures.summing import cost_rows, figure_rows, unscored_reasons
from stepedit_bench.store import write_text
from stepedit_core.engine import SpeechEngine

__all__ = ["write_figures"]

FIGURES, ROUTES = "figures.json", "routes.json"


def write_figures(
    run: Run,
    settings: Settings,
    engine: SpeechEngine | None,
    cost: Mapping[str, float] | None,
    command: str,
    pictures: Sequence[Path] = (),
) -> Path:
    """Write all reports into the run's folder and return the Markdown one."""
    rows = [*figure_rows(run, settings.seed), *(cost_rows(cost) if cost else ())]
    described = {} if engine is None else dict(engine.describe())
    measured = {
        "command": command,
        "machine": f"{platform.machine()} {platform.system()}, {_processor()}",
        "version": version("stepedit"),
        "python": platform.python_version(),
        "day": datetime.now(UTC).date().isoformat(),
        "seed": settings.seed,
        "utterances": _utterances(run),
    }
    model = described.get("weights") or described.get("name") or "none"
    routes = {"model": model, "edits": routes_of(run)}
    figures = {"model": model, "rows": rows, "measured": measured}
    problems = unscored_reasons(run)
    everything = {**figures, "engine": described, "routes": routes["edits"], "problems": problems}
    for name, data in ((FIGURES, figures), (ROUTES, routes), ("report.json", everything)):
        if engine is not None or name == "report.json":
            write_text(run.folder / name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    page = run.folder / "report.md"
    write_text(page, _page(everything, pictures))
    return page


def _processor() -> str:
    """Return what the processor calls itself."""
    about = Path("/proc/cpuinfo")
    if about.is_file():
        for line in about.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "processor unknown"


def _utterances(run: Run) -> dict[str, Any]:
    """Return how many utterances and speakers of each kind were used, and whose words."""
    held = {item.held.id: item.held for item in run.items}.values()
    found = {}
    for kind in dict.fromkeys(one.kind for one in held):
        own = [one for one in held if one.kind == kind]
        found[kind] = {
            "utterances": len(own),
            "speakers": len({one.speaker for one in own}),
            "seconds": round(sum(one.speech.seconds for one in own), 1),
            "words_from_whisper": sum(one.text_source == "whisper" for one in own),
        }
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["gate_met"] is None:
        return "-"
    return "goal" if row["goal_met"] else "gate" if row["gate_met"] else "**missed**"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of figures."""
    lines = [
        f"| figure | speech | value | 95 % | n | gate | goal | met | {' | '.join(BESIDE)} |",
        "| --- " * (8 + len(BESIDE)) + "|",
    ]
    for row in rows:
        known = row["low"] is not None
        interval = f"{_number(row['low'])} .. {_number(row['high'])}" if known else "-"
        beside = " | ".join(_number(row["beside"].get(name)) for name in BESIDE)
        sign = ">=" if row["higher_is_better"] else "<="
        lines.append(
            f"| {row['row']} ({row['unit']}) | {row['kind']} | {_number(row['value'])} | "
            f"{interval} | {row['n']} | {sign} {row['gate']:g} | {sign} {row['goal']:g} | "
            f"{_verdict(row)} | {beside} |"
        )
    return lines


def _page(found: Mapping[str, Any], pictures: Sequence[Path]) -> str:
    """Return the Markdown report."""
    measured, engine = found["measured"], found["engine"]
    spoken = "; ".join(
        f"{kind}: {about['utterances']} utterances of {about['speakers']} speakers, "
        f"{about['seconds']:g} s, {about['words_from_whisper']} with words by Whisper on the "
        "original (there word error is agreement with the original)"
        for kind, about in measured["utterances"].items()
    )
    lines = [
        "# Figures",
        "",
        f"Engine: {engine.get('name', 'none: baselines alone')}, weights {found['model']}.  ",
        f"Command: `{measured['command']}`, stepedit {measured['version']}, seed "
        f"{measured['seed']}, {measured['day']}, {measured['machine']}.  ",
        f"Speech of held-out speakers: {spoken}.",
        "",
        *_table(found["rows"]),
        "",
        "`value` is the identity edit in the rows of `identity`, otherwise the llm route; beside "
        "it the same figure for the recording itself, signal processing, WORLD copy-synthesis, "
        "the identity edit (tokenize, decode), and the codes of an ideal output decoded in the "
        "source's voice (`target`): what a faultless language model would reach. Intervals: "
        "bootstrap over utterances, Wilson where all agree. `_pocketsphinx` rows repeat word error "
        "with a recogniser of another kind.",
        "",
    ]
    if found["routes"]:
        lines += ["| edit | llm | dsp | n | better route |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {name} | {_number(each['llm'])} | {_number(each['dsp'])} | {each['n']} | "
            f"{each['route']} |"
            for name, each in found["routes"].items()
        ]
        lines += ["", "Joint success: target reached and all else kept, on the same cases.", ""]
    if found["problems"]:
        lines += ["Failed or not measured:", ""]
        lines += [f"- {count} x {reason}" for reason, count in found["problems"].items()]
        lines.append("")
    lines += [f"![{path.stem}](pictures/{path.name})\n" for path in pictures]
    return "\n".join(lines)
