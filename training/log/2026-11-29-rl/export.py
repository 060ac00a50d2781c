"""Write the mean of a GRPO run's checkpoints, or one, as a model folder.

python export.py SETTINGS.toml BASE OUT CHECKPOINT.pt...
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import torch
from stepedit_train.lm.training import base_and_out
from stepedit_train.rl.grpo import GrpoSettings
from stepedit_train.rl.policy import load_policy, save_policy


def main(settings: str, base: str, out: str, checkpoints: Sequence[str]) -> None:
    """Write ``OUT/model``."""
    given = tomllib.loads(Path(settings).read_text()) | {"base": base, "out": out}
    made = GrpoSettings.model_validate(given)
    model, run = base_and_out(made, made.model)
    policy = load_policy(made, model)
    held = [torch.load(one, map_location="cpu", weights_only=True)["model"] for one in checkpoints]
    mean = dict(held[0])
    for name, own in mean.items():
        if own.is_floating_point():
            mean[name] = sum(one[name].double() for one in held) / len(held)
    policy.load_state_dict(mean)
    save_policy(policy, made, model, run)


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
