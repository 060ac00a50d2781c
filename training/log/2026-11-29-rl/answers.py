"""Rewards of sixteen answers to each held-out request, by the rules that a model ships with.

python answers.py SETTINGS.toml BASE MODEL_FOLDER OUT.jsonl

Requests that OUT.jsonl holds already are passed over.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import torch
from stepedit_train.rl.grpo import GrpoSettings, GrpoTask
from stepedit_train.rl.online import engine_and_prompts

from stepedit_core.models.lm.step1 import load_step1


def main(settings: str, base: str, model: str, out: str) -> None:
    """Draw answers by a model and write their rewards."""
    given = tomllib.loads(Path(settings).read_text()) | {"base": base, "temperature": None}
    made = GrpoSettings.model_validate(given)
    engine, prompts = engine_and_prompts(made)
    policy = load_step1(Path(model), dtype=torch.float32)
    task = GrpoTask(policy, engine, prompts, made, compared=False)
    done = Path(out).read_text().splitlines() if Path(out).is_file() else []
    known = {json.loads(line)["name"] for line in done}
    with Path(out).open("a") as file, torch.inference_mode():
        for prompt in prompts[1]:
            if prompt.name in known:
                continue
            for group in task.rollouts.draw([prompt], 16, 1, "eval", decoded=False)[0]:
                rewards = task.rewards(group.answers).totals
                file.write(json.dumps({"name": prompt.name, "rewards": rewards}) + "\n")
                file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
