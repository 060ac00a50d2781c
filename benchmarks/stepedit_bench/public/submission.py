"""Write a submission to MMAE and the ICASSP 2027 challenge: recordings, manifest, trajectory.

======================  ==================================================================
``submission.jsonl``    ``{"id", "audio_path"}`` of every recording that was made
``audio/ID.wav``        16 kHz, mono, 16 bit
``trajectory.jsonl``    for every item, made or not: its instructions, the tool calls (edit,
                        parameters, route, engine, plugin and version, prompt of the llm
                        route), the seed, the time of each call, and what went wrong
======================  ==================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepedit_bench.store import read_results, write_text
from stepedit_bench.suites import slug
from stepedit_core.storage.stored_json import json_lines
from stepedit_core.utterance import Utterance

__all__ = ["RATE", "write_submission"]

RATE = 16_000


def write_submission(run: Path) -> Path:
    """Write the submission of a run beside its results.

    Returns:
        The path of ``submission.jsonl``.
    """
    folder = run / "submission"
    times = _times(run)
    handed, told = [], []
    for row in read_results(run):
        if row["condition"] != "edit":
            continue
        name = None
        if row["status"] == "ok":
            name = f"audio/{slug(str(row['case']))}.wav"
            speech = Utterance.read(run / row["audio"])
            speech.resample(RATE).write(folder / name, subtype="PCM_16")
            handed.append({"id": row["case"], "audio_path": name})
        told.append(_trajectory(row, name, times.get(f"{row['edit']}/{row['case']}", {})))
    for file, lines in (("trajectory", told), ("submission", handed)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text(folder / f"{file}.jsonl", text)
    return folder / "submission.jsonl"


def _times(run: Path) -> dict[str, Mapping[str, Any]]:
    """Return the times of each unit by its key."""
    path = run / "timings.jsonl"
    if not path.is_file():
        return {}
    return {str(line["unit"]): line for _, line in json_lines(path)}


def _trajectory(
    row: Mapping[str, Any], audio: str | None, times: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the record of one item."""
    calls = []
    for number, step in enumerate(row.get("details", {}).get("steps", ()), start=1):
        calls.append(
            {
                "tool": step["edit"]["edit"],
                "arguments": {k: v for k, v in step["edit"].items() if k != "edit"},
                "route": step["route"],
                "engine": step["engine"],
                "plugin": step["plugin"],
                "prompt": step.get("prompt"),
                "seed": step["seed"],
                "seconds": times.get(f"edit, edit {number}"),
                "details": step["details"],
            }
        )
    return {
        "id": row["case"],
        "instructions": row["request"]["instructions"],
        "tool_calls": calls,
        "seed": row["seed"],
        "seconds": times.get("edit"),
        "status": row["status"],
        "problem": row.get("problem"),
        "audio_path": audio,
    }
