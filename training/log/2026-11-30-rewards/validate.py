"""Draw sounds of validation speakers by several weights, and let the judge of events rate them.

python validate.py draw MANIFEST OUT.jsonl REQUESTS DRAWS NAME=FOLDER... [--skip N] [--words]
python validate.py report OUT.jsonl START

A folder holds ``model.safetensors`` and ``config.json``. All weights get the same requests and
seeds, by the rules that ship. Lines that OUT.jsonl holds already are passed over. With words, the
first draw of each request is heard by Whisper base. The report compares single draws, and the one
that the plugin's ear prefers of four and of all, with START.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked, WithCodes, rated, requests
from stepedit_train.rl.rollouts import OwnGenerator, rollout_rules

from stepedit_core.codes import DualCodes
from stepedit_core.dsp.words import without_tags, word_error
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.llm_route.planning import request_for
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.recording.hearing import load_recogniser

FIRST_SEED = 100
DRAWN, SAMPLES = 4, 10_000


def drawn(
    asked: Asked, engine: Engine, generator: OwnGenerator, source: DualCodes, count: int
) -> list[Any]:
    """Return the outcomes of so many single draws."""
    plan = asked.plan.but(fits=None)
    seeds = list(range(FIRST_SEED, FIRST_SEED + count))
    asking = [
        request_for(asked.edit, asked.source, source, seed, plan=plan, insertions_only=True)
        for seed in seeds
    ]
    rules = rollout_rules(engine, None, None).for_edit(*plan.rules)
    own = rules.policy.model_copy(update={"best_of": 1})
    codes = generator.generate(asking, type(rules)(rules.sampling, own))
    held: Any = WithCodes(engine, codes)
    return apply_by_llm(
        [asked.edit] * count, [asked.source] * count, held, seeds, [source] * count,
        plans=[plan] * count,
    )  # fmt: skip


def draw(given: argparse.Namespace) -> None:
    """Write a line for each request and weights."""
    torch.set_num_threads(1)
    engine = Engine.load(device="cpu")
    folders = dict(one.split("=", 1) for one in given.weights)
    models = {
        name: load_step1(Path(folder), dtype=torch.float32).eval()
        for name, folder in folders.items()
    }
    lines = given.out.read_text().splitlines() if given.out.is_file() else []
    known = {(row["weights"], row["item"], row["tag"]) for row in map(json.loads, lines)}
    whisper = load_recogniser("whisper") if given.words else None
    with given.out.open("a") as file, torch.inference_mode():
        for asked in requests(given.manifest, given.requests, skipped=given.skip):
            left = [one for one in models if (one, asked.item.id, asked.tag) not in known]
            if not left:
                continue
            (source,) = engine.encode([asked.source])
            for name in left:
                generator = OwnGenerator(engine, models[name], 64)
                outcomes = drawn(asked, engine, generator, source, given.draws)
                assert asked.plan.fits is not None
                row = {
                    "weights": name,
                    "tag": asked.tag,
                    "item": asked.item.id,
                    "fits": [round(asked.plan.fits(one), 3) for one in outcomes],
                    "rated": [rated(asked, one.utterance) for one in outcomes],
                }
                if whisper is not None:
                    heard = whisper.transcribe(outcomes[0].utterance).text
                    said = without_tags(asked.source.transcript or "")
                    row["word_error"] = word_error(said, without_tags(heard))
                file.write(json.dumps(row) + "\n")
                file.flush()


def _figures(rows: list[dict[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Return figures of each request, ``(requests,)``."""
    ok = [np.array([one["ok"] for one in row["rated"]], float) for row in rows]
    fits = [np.array(row["fits"]) for row in rows]
    pairs = list(zip(ok, fits, strict=True))
    found = {
        "one draw": np.array([own.mean() for own in ok]),
        "rated 3": np.array([np.mean([one["score"] == 3 for one in row["rated"]]) for row in rows]),
        "of 4": np.array([own[int(fit[:DRAWN].argmax())] for own, fit in pairs]),
        "of all": np.array([own[int(fit.argmax())] for own, fit in pairs]),
        "one is right": np.array([own.max() for own in ok]),
        "reward": np.array([np.exp(np.minimum(0.0, fit)).mean() for fit in fits]),
    }
    if all("word_error" in row for row in rows):
        found["word error"] = np.array([min(1.0, row["word_error"]) for row in rows])
    return found


def agreement(rows: list[dict[str, Any]]) -> str:
    """Say how often the ear prefers, of two draws of a request, the one that is right."""
    wins = [
        (one > other) + 0.5 * (one == other)
        for row in rows
        for one, right in zip(row["fits"], row["rated"], strict=True)
        for other, wrong in zip(row["fits"], row["rated"], strict=True)
        if right["ok"] and not wrong["ok"]
    ]
    return f"{np.mean(wins):.2f} of {len(wins)} pairs" if wins else "no pairs"


def report(given: argparse.Namespace) -> None:
    """Print a line for each weights and figure, with 95 % intervals over requests."""
    rows: dict[str, dict[tuple[str, str], Any]] = {}
    for line in given.out.read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(row["weights"], {})[(row["item"], row["tag"])] = row
    rng = np.random.default_rng(0)
    for name, own in rows.items():
        keys = [key for key in own if key in rows[given.start]]
        print(f"{name}: the ear prefers the right one in {agreement(list(own.values()))}")
        now = _figures([own[key] for key in keys])
        before = _figures([rows[given.start][key] for key in keys])
        picks = rng.integers(len(keys), size=(SAMPLES, len(keys)))
        for figure in now.keys() & before.keys():
            apart = now[figure] - before[figure]
            low, high = np.percentile(apart[picks].mean(axis=1), [2.5, 97.5])
            print(
                f"{name:12} {figure:12} n={len(keys)} {100 * before[figure].mean():5.1f} -> "
                f"{100 * now[figure].mean():5.1f}  {100 * apart.mean():+.1f} "
                f"({100 * low:+.1f} to {100 * high:+.1f})"
            )


def main() -> None:
    """Draw or report."""
    parser = argparse.ArgumentParser()
    parts = parser.add_subparsers(required=True)
    drawing = parts.add_parser("draw")
    drawing.set_defaults(run=draw)
    drawing.add_argument("manifest", type=Path)
    drawing.add_argument("out", type=Path)
    drawing.add_argument("requests", type=int)
    drawing.add_argument("draws", type=int)
    drawing.add_argument("weights", nargs="+")
    drawing.add_argument("--skip", type=int, default=0)
    drawing.add_argument("--words", action="store_true")
    reporting = parts.add_parser("report")
    reporting.set_defaults(run=report)
    reporting.add_argument("out", type=Path)
    reporting.add_argument("start")
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
