"""The reward model: a language model with one number for each token of an answer.

After Step-Audio-EditX (arXiv:2511.03601): it begins as the model of supervised fine-tuning, reads
codes and never audio, and is trained on preferences by the likelihood of Bradley and Terry. An
answer's score is the mean over its tokens, so that each token's part of it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stepedit_core.atomic import replace_file
from stepedit_core.errors import CheckpointError
from stepedit_core.models.lm.step1 import load_step1
from stepedit_train.rl.log_probs import AnswerBatch, answer_states
from stepedit_train.rl.policy import ScalarHead

__all__ = [
    "HEAD",
    "RewardModel",
    "calibration_error",
    "load_reward_model",
    "save_head",
]

HEAD = "reward_head.safetensors"
"""File beside the weights of a reward model."""


class RewardModel(nn.Module):
    """A language model's stack and a scalar head.

    Attributes:
        model: Step1 for causal language modelling; its own head is not used.
        head: a number for each state.
        centre: mean score of the answers that it was trained on.
        spread: their standard deviation.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, model: Any, width: int) -> None:
        super().__init__()
        self.model = model
        self.head = ScalarHead(width)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def token_scores(self, batch: AnswerBatch) -> Tensor:
        """Return a number for each code of each answer, float32 ``(rows, longest)``, 0 elsewhere.

        The state that is judged has read the code; the end of turn is none.
        """
        scores: Tensor = self.head(answer_states(self.model, batch, batch.ids, 0))
        return scores.masked_fill(~batch.spoken, 0.0)

    def forward(self, batch: AnswerBatch) -> Tensor:
        """Return the score of each answer, float32 ``(rows,)``: the mean over its codes."""
        return self.token_scores(batch).sum(1) / batch.spoken.sum(1).clamp(min=1)


def save_head(model: RewardModel, folder: Path) -> None:
    """Write the head into a model's folder."""
    tensors = {
        "weight": model.head.linear.weight,
        "bias": model.head.linear.bias,
        "centre": model.centre,
        "spread": model.spread,
    }
    held = {name: value.detach().float().cpu().contiguous() for name, value in tensors.items()}
    replace_file(folder / HEAD, lambda partial: save_file(held, partial))


def load_reward_model(
    folder: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> RewardModel:
    """Load what the ``reward`` stage wrote.

    Raises:
        CheckpointError: if a file is missing, damaged or of another model.
    """
    path = folder / HEAD
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: `stepedit train reward` writes it")
    model: Any = load_step1(folder, dtype=dtype, device=device)
    made = RewardModel(model, int(model.config.hidden_size))
    try:
        tensors = load_file(path)
        state = {
            "head.linear.weight": tensors["weight"],
            "head.linear.bias": tensors["bias"],
            "centre": tensors["centre"],
            "spread": tensors["spread"],
        }
        made.load_state_dict(state, strict=False)
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is damaged or of another model ({error})") from error
    return made.to(device).eval().requires_grad_(False)


def calibration_error(margins: Sequence[float], bins: int = 10) -> float:
    """Return the expected calibration error of preferences (Naeini et al. 2015), 0..1.

    Args:
        margins: score of the better answer above the worse one; its sigmoid is the probability
            that the model gives the preference.
        bins: of equal width over the confidence, 0.5 to 1.
    """
    if not margins:
        return 0.0
    gap = torch.tensor(margins, dtype=torch.float64)
    confidence, right = gap.abs().sigmoid(), (gap > 0).double()
    place = ((confidence - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    total = 0.0
    for one in range(bins):
        inside = place == one
        if bool(inside.any()):
            total += float(
                (confidence[inside].mean() - right[inside].mean()).abs() * inside.sum() / len(gap)
            )
    return total
