"""The transformers Trainer of the language model: batches in their own order, losses by kind."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer

from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.lm.rows import IGNORED

__all__ = [
    "PretrainTrainer",
    "SftTrainer",
    "Sums",
    "figures_of",
    "split_labels",
]


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


_MOST = 50.0
"""Mean losses beyond this are not exponentiated."""

Sums = dict[tuple[str, str], tuple[float, int]]
"""Loss and number of ids, by kind of row and by ``text`` or ``codes``."""


def split_labels(labels: Tensor, tokenizer: TextTokenizer) -> dict[str, Tensor]:
    """Return labels of words alone and of codes alone; an end belongs to what it ends.

    Args:
        labels: int64 ``(rows, slots)``, -100 where no loss is taken.
        tokenizer: knows which ids are codes.

    Returns:
        ``text`` and ``codes``, of the same shape; slot 0 has none, as nothing predicts it.
    """
    base = tokenizer.audio_base_id
    audio = (labels >= base) & (labels < base + tokenizer.audio_count)
    after_audio = torch.zeros_like(audio)
    after_audio[:, 1:] = audio[:, :-1]
    codes = audio | ((labels == tokenizer.eot_id) & after_audio)
    codes[:, 0] = False
    text = ~codes & (labels != IGNORED)
    text[:, 0] = False
    return {
        "text": labels.masked_fill(~text, IGNORED),
        "codes": labels.masked_fill(~codes, IGNORED),
    }


def figures_of(sums: Sums) -> dict[str, float]:
    """Return ``KIND_loss``, the mean over a kind's ids, ``loss`` over all, and perplexities.

    ``text_perplexity`` and ``codes_perplexity`` are over all rows;
    ``read_codes_perplexity`` and the like tell those of rows with both parts.
    """
    figures = {"loss": _mean(sums.values())}
    for kind in sorted({kind for kind, _ in sums}):
        of_kind = {part: both for (one, part), both in sums.items() if one == kind}
        figures[f"{kind}_loss"] = _mean(of_kind.values())
        if len(of_kind) > 1:
            for part, both in of_kind.items():
                figures[f"{kind}_{part}_perplexity"] = _perplexity([both])
    for part in sorted({part for _, part in sums}):
        figures[f"{part}_perplexity"] = _perplexity(
            [both for (_, one), both in sums.items() if one == part]
        )
    return figures


def _mean(sums: Collection[tuple[float, int]]) -> float:
    return math.fsum(total for total, _ in sums) / sum(count for _, count in sums)


def _perplexity(sums: Collection[tuple[float, int]]) -> float:
    return math.exp(min(_mean(sums), _MOST))


class PretrainTrainer(SftTrainer):
    """Trains on ``PackedBatches``, and validates on those of a mapping by kind."""

    def __init__(self, *args: Any, tokenizer: TextTokenizer, **kwargs: Any) -> None:
        """Take the Trainer's arguments and the language model's vocabulary."""
        super().__init__(*args, **kwargs)
        self.vocabulary = tokenizer

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Log and return ``figures_of`` all held rows; every process looks at all of them."""
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        sums: Sums = {}
        held: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        for kind, batches in held.items():
            for at in range(len(batches)):
                for part, total, count in self._losses(model, batches[at]):
                    before = sums.get((kind, part), (0.0, 0))
                    sums[kind, part] = before[0] + total, before[1] + count
        model.train(was_training)
        figures = {f"{metric_key_prefix}_{k}": round(v, 4) for k, v in figures_of(sums).items()}
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, figures
        )
        return figures

    def _losses(self, model: Any, batch: Any) -> Iterator[tuple[str, float, int]]:
        """Yield the summed loss of words and of codes, and how many there are."""
        inputs = self._prepare_inputs(self.data_collator([batch]))
        for part, labels in split_labels(inputs.pop("labels"), self.vocabulary).items():
            count = int((labels != IGNORED).sum())
            if count:
                asked = {**inputs, "labels": labels, "skip_logits": True, "num_items_in_batch": 1}
                with torch.no_grad(), self.compute_loss_context_manager():
                    yield part, float(model(**asked).loss), count
