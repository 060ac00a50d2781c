"""The transformers Trainer, with the batches in their own order and the loss on answers alone."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer

__all__ = ["SftTrainer"]


class SftTrainer(Trainer):  # type: ignore[misc,unused-ignore]
    """Trains on ``PackedBatches``, whose order is already random."""

    def __init__(self, *args: Any, smoothing: float = 0.0, **kwargs: Any) -> None:
        """Take the Trainer's arguments and the label smoothing of the training loss."""
        super().__init__(*args, **kwargs)
        self.smoothing = smoothing

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(data)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Ask the model for the loss alone, so that its head need not see the prompts."""
        asked = {**inputs, "skip_logits": True}
        if model.training:
            asked["label_smoothing"] = self.smoothing
        return super().compute_loss(model, asked, *args, **kwargs)
