"""Draw sounds by a model, decode and rate them, and let the plugin's ear choose.

python draws.py MANIFEST MODEL OUT.jsonl REQUESTS DRAWS [--skip N] [--temperature T]
    [--guidance G]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked, rated, requests

from stepedit_core.config import EngineConfig, GenerationPolicy, SamplingConfig
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.models.engine import Engine


def main() -> None:
    """Write a line for each request, and the shares at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("requests", type=int)
    parser.add_argument("draws", type=int)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--guidance", type=float, default=2.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    own = {"temperature": given.temperature, "guidance": given.guidance}
    engine = Engine.from_config(
        EngineConfig(
            name_or_path=given.model,
            device="cpu",
            sampling=SamplingConfig(edits={"paralinguistic": own}),
            generation=GenerationPolicy(edits={"paralinguistic": {"best_of": 1}}),
        )
    )
    rows = []
    with given.out.open("w") as file:
        for asked in requests(given.manifest, given.requests, skipped=given.skip):
            rows.append(_drawn(asked, engine, given.draws))
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
    ok = np.array([[one["ok"] for one in row["rated"]] for row in rows])
    chosen = np.array([own[int(np.argmax(row["fits"]))] for own, row in zip(ok, rows, strict=True)])
    print(f"draws {ok.mean():.0%}, chosen {chosen.mean():.0%}, any {ok.any(axis=1).mean():.0%}")


def _drawn(asked: Asked, engine: Engine, count: int) -> dict[str, Any]:
    """Return what becomes of one request."""
    outcomes = apply_by_llm(
        [asked.edit] * count,
        [asked.source] * count,
        engine,
        list(range(100, 100 + count)),
        plans=[asked.plan] * count,
    )
    assert asked.plan.fits is not None
    return {
        "tag": asked.tag,
        "item": asked.item.id,
        "fits": [round(asked.plan.fits(one), 3) for one in outcomes],
        "rated": [rated(asked, one.utterance) for one in outcomes],
    }


if __name__ == "__main__":
    main()
