"""Choose among drawn sounds by their surroundings alone, and by the whole recording with each.

python parts.py MANIFEST MODEL OUT.jsonl REQUESTS [--skip N]

Requests that OUT.jsonl has are not carried out again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked, rated, requests

from stepedit_core.config import EngineConfig, GenerationPolicy
from stepedit_core.edit import Outcome
from stepedit_core.engine import SpeechEngine
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.models.engine import Engine

ONE_DRAW = GenerationPolicy(edits={"paralinguistic": {"best_of": 1}})


class WithoutExcerpts:
    """An engine that decodes answers whole alone."""

    def __init__(self, engine: Engine) -> None:
        """Hide what the engine can do."""
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        """Return what the engine has, excerpts aside."""
        if name in ("excerpt_context", "decode_excerpts"):
            raise AttributeError(name)
        return getattr(self._engine, name)


def main() -> None:
    """Write a line for each request, and sums at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("requests", type=int)
    parser.add_argument("--skip", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine.load(given.model, device="cpu")
    one = Engine.from_config(
        EngineConfig(name_or_path=given.model, device="cpu", generation=ONE_DRAW)
    )
    known = given.out.read_text().splitlines() if given.out.is_file() else []
    rows = [json.loads(line) for line in known]
    asked_for = requests(given.manifest, given.requests, skipped=given.skip)
    with given.out.open("a") as file:
        for place, asked in enumerate(asked_for):
            if place >= len(rows):
                rows.append(_compared(asked, engine, one, place))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    same = sum(row["same"] for row in rows)
    right = {way: sum(row[way]["ok"] for row in rows) for way in ("part", "whole")}
    seconds = {way: sum(row["seconds"][way] for row in rows) for way in rows[0]["seconds"]}
    print(f"the same draw {same} of {len(rows)}, rated right {right}, processor time {seconds}")


def _compared(asked: Asked, engine: Engine, one: Engine, place: int) -> dict[str, Any]:
    """Return what becomes of one request, and what it costs."""
    whole, took_whole = _timed(asked, WithoutExcerpts(engine), engine, place)
    part, took_part = _timed(asked, engine, engine, place)
    _, took_one = _timed(asked, one, one, place)
    rate = rated(asked, whole.utterance)
    is_same = whole.codes == part.codes
    apart = np.abs(whole.utterance.samples - part.utterance.samples).max() if is_same else None
    return {
        "tag": asked.tag,
        "item": asked.item.id,
        "length": asked.source.seconds,
        "same": is_same,
        "largest_difference": None if apart is None else float(apart),
        "fit": {"part": part.details["fit"], "whole": whole.details["fit"]},
        "whole": rate,
        "part": rate if is_same else rated(asked, part.utterance),
        "seconds": {"one": took_one, "part": took_part, "whole": took_whole},
    }


def _timed(asked: Asked, route: SpeechEngine, engine: Engine, place: int) -> tuple[Outcome, float]:
    """Return the outcome by a first call, and the processor time that it takes."""
    engine.forget()
    begin = time.process_time()
    (made,) = apply_by_llm([asked.edit], [asked.source], route, [1000 + place], plans=[asked.plan])
    return made, time.process_time() - begin


if __name__ == "__main__":
    main()
