"""How far the phones of sixteen answers to a request differ, and whether their errors are local.

python probe.py PAIRS MODEL REQUESTS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from stepedit_train.rl.heard_phones import HeardPhones
from stepedit_train.rl.measures import Tools, TrainingMeasures
from stepedit_train.rl.prompts import PromptSource, read_prompts
from stepedit_train.rl.rollouts import OwnGenerator, Rollouts, rollout_rules

from stepedit_core.config import EngineConfig
from stepedit_core.models.engine import Engine
from stepedit_core.reward import RewardOptions


def main(pairs: str, model: str, most: str) -> None:
    """Print a line for each request."""
    torch.set_num_threads(1)
    prompts, _ = read_prompts([PromptSource(path=Path(pairs))], 0.0, 0)
    engine = Engine.from_config(EngineConfig(name_or_path=model, device="cpu"))
    generator = OwnGenerator(engine, engine.parts.network("spoken"), 64)
    rollouts = Rollouts(engine, generator, rollout_rules(engine, None, None), 700, 64)
    reward = HeardPhones(Tools(engine, TrainingMeasures(engine)), RewardOptions())
    with torch.inference_mode():
        for prompt in prompts[: int(most)]:
            (group,) = rollouts.draw([prompt], 16, 0, "probe", decoded=True)[0]
            found = reward.by_part(group.answers)
            sure = np.array([[part.value for part in own] for own in found if own is not None])
            alike = np.corrcoef(
                (sure - sure.mean(0)).T + 1e-9 * np.random.default_rng(0).normal(size=sure.T.shape)
            )
            near, far = (float(np.mean(np.diag(alike, apart))) for apart in (1, 6))
            print(
                f"{sure.shape[1]} phones, mean {sure.mean():.3f}; deviation of answers "
                f"{sure.mean(1).std():.3f}, of a phone {sure.std(0).mean():.3f}; correlation of "
                f"neighbours {near:.2f}, six apart {far:.2f}: {prompt.edit.text}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:4])
