"""GRPO of one large step: answers drawn beforehand by the weights that ship are learned from.

python batch.py CONFIG BASE MANIFEST DRAWS.jsonl OUT SEED...

Each seed takes four of five requests, in minibatches of its own; CONFIG is one of the grpo stage.
The draws are those of the policy before its first move, so ratios of probabilities begin at 1, as
in the stage's own steps; only the drawing, which costs most, is shared by the seeds.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stepedit_paralinguistic import Paralinguistic
from stepedit_train.checkpoints import seed_everything
from stepedit_train.rl.grpo import GrpoSettings, GrpoTask
from stepedit_train.rl.layout import AnswerRow, Vocabulary, lay_out
from stepedit_train.rl.online import Experience, engine_and_prompts
from stepedit_train.rl.policy import load_policy, log_probs_of, save_policy
from stepedit_train.rl.rollouts import rollout_rules
from stepedit_train.seeds import rng_of
from stepedit_train.settings import load_settings

from stepedit_core.codes import DualCodes
from stepedit_core.llm_route.planning import request_for
from stepedit_core.registry.corpora import find_reader

SHARE = 0.8


def read_codes(marks: str) -> DualCodes:
    """Return the codes of marks, as ``DualCodes.token_string`` writes them."""
    return DualCodes.from_interleaved([int(one) for one in re.findall(r"\d+", marks)])


def laid_out(
    row: dict[str, Any], items: dict[str, Any], vocabulary: Vocabulary, rules: Any
) -> list[AnswerRow]:
    """Return the answers to a request as the model reads them."""
    speech = items[row["item"]].read()
    edit = Paralinguistic(text=row["text"])
    plan = edit.plan(speech)
    source = dataclasses.replace(read_codes(row["source"]), start=row["start"])
    request = request_for(edit, speech, source, 0, plan=plan, insertions_only=True)
    own = rules.for_edit(*plan.rules)
    answers = [read_codes(one) for one in row["codes"]]
    return [lay_out(request, one, vocabulary, own) for one in answers]


def main(config: str, base: str, manifest: str, draws: str, out: str, *seeds: str) -> None:
    """Learn from the draws by each seed."""
    torch.set_num_threads(1)
    chosen = load_settings(GrpoSettings, Path(config), [f"base={base}", f"out={out}"])
    assert isinstance(chosen, GrpoSettings)
    engine, prompts = engine_and_prompts(chosen)
    items = {one.id: one for one in find_reader(Path(manifest), None).items(Path(manifest))}
    vocabulary, rules = Vocabulary.of_parts(engine.parts), rollout_rules(engine, None, None)
    rows = [json.loads(line) for line in Path(draws).read_text().splitlines()]
    groups = [laid_out(row, items, vocabulary, rules) for row in rows]
    rewards = [np.exp(np.minimum(0.0, row["fits"])) for row in rows]
    print(f"{len(rows)} requests, mean reward {np.mean(rewards):.3f}", flush=True)
    folder = Path(chosen.base) / chosen.model
    for seed in map(int, seeds):
        begun = time.process_time()
        settings = chosen.model_copy(update={"seed": seed, "out": Path(f"{out}-{seed}")})
        seed_everything(seed)
        policy = load_policy(settings, folder)
        task = GrpoTask(policy, engine, prompts, settings, compared=settings.beta > 0)
        order = rng_of(seed, "requests").permutation(len(groups))
        taken = sorted(order[: round(SHARE * len(groups))].tolist())
        held = torch.tensor(np.stack([rewards[at] for at in taken])).float()
        known = torch.ones_like(held, dtype=torch.bool)
        batch = Experience([one for at in taken for one in groups[at]], held, known, [], {})
        optimizer = torch.optim.AdamW(
            policy.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        rest = [groups[at][0] for at in range(len(groups)) if at not in taken]
        before = log_probs_of(policy, rest, engine.parts.layout, settings, task.device)
        figures = task.update(optimizer, batch, settings).parts
        after = log_probs_of(policy, rest, engine.parts.layout, settings, task.device)
        decisions = sum(int(one.drawn.sum()) for one in rest)
        apart = float((before.chosen - after.chosen).sum()) / decisions
        place = Path(chosen.base) / f"{out}-{seed}"
        save_policy(policy, settings, folder, place)
        line = {"seed": seed, "processor_seconds": time.process_time() - begun,
                "divergence": apart, **figures}  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
