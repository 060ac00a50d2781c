"""The mixture of pair folders, held-out speakers, and batches of about equal size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.chat import MAX_TOKENS, PromptEncoding
from stepedit_core.models.lm.step1 import alignment_tensor
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.batching import BatchPlan
from stepedit_train.seeds import rng_of, share_of
from stepedit_train.settings import Settings
from stepedit_train.sft.noise import NoiseSettings, with_noise
from stepedit_train.sft.packing import load_examples, read_cached
from stepedit_train.sft.rows import IGNORED, Example

__all__ = ["Mixture", "PackedBatches", "Source", "collate", "read_mixture"]


class Source(Settings):
    """One folder of `stepedit pairs`, or one file of pre-tokenised examples (``.npz``)."""

    path: Path
    """The folder or file."""
    share: float = Field(default=1.0, gt=0)
    """How often its rows are seen in an epoch: 0.5 takes half of them, 2 takes each twice."""
    confined: bool = False
    """Copy all but what was put in (``details.at`` of the rows), as engines do that keep the
    rest: ``GenerationPolicy.regenerate="insertions"``."""


@dataclass(frozen=True)
class Mixture:
    """Examples to train on and to validate on.

    Attributes:
        train: with repetitions, as the shares ask.
        dev: of speakers that are not in ``train``.
        skipped: rows left out, by reason.
    """

    train: list[Example]
    dev: list[Example]
    skipped: Counter[str]


def _repeated(examples: list[Example], share: float, seed: int, name: str) -> list[Example]:
    """Take every example ``floor(share)`` times and a seeded part of them once more."""
    whole = int(share)
    order = rng_of(seed, "share", name).permutation(len(examples))
    extra = order[: round((share - whole) * len(examples))]
    return examples * whole + [examples[index] for index in sorted(extra.tolist())]


def read_mixture(
    sources: Sequence[Source],
    tokenizer: TextTokenizer,
    encoding: PromptEncoding,
    *,
    max_tokens: int = MAX_TOKENS,
    dev_share: float = 0.02,
    seed: int = 0,
    cache: Path | None = None,
) -> Mixture:
    """Read pair folders, keep some speakers for validation, and mix.

    Args:
        sources: folders (or files of examples), their paths absolute.
        tokenizer: the language model's.
        encoding: prompt encoding of the model.
        max_tokens: longer examples are left out.
        dev_share: part of the speakers that is kept for validation.
        seed: of the rows that a fractional share takes.
        cache: folder for pre-tokenised rows; None reads the shards every time.

    Raises:
        StepeditError: if no row is left.
    """
    train: list[Example] = []
    dev: list[Example] = []
    skipped: Counter[str] = Counter()
    for source in sources:
        path = source.path
        if path.suffix == ".npz":
            examples, left_out = load_examples(path)
        else:
            examples, left_out = read_cached(
                path,
                tokenizer,
                encoding,
                max_tokens=max_tokens,
                cache=cache,
                confined=source.confined,
            )
        skipped += left_out
        kept = [one for one in examples if share_of("sft", one.speaker) >= dev_share]
        dev += [one for one in examples if share_of("sft", one.speaker) < dev_share]
        train += _repeated(kept, source.share, seed, path.name)
    if not train:
        reasons = "; ".join(f"{count}: {reason}" for reason, count in skipped.items())
        raise StepeditError(f"no row is left to train on ({reasons or 'the folders are empty'})")
    return Mixture(train, dev, skipped)


class PackedBatches(Dataset[list[Example]]):
    """The batches of a whole run, each within a token budget and one item for the Trainer.

    Every pass over the examples is packed anew. An index stands for one batch of the run, and
    what is random about it depends on seed and index alone, so a run may be resumed anywhere.

    Args:
        examples: what to batch.
        tokens: budget, padding included.
        seed: of the grouping and the noise.
        count: number of batches; None is one pass.
        noise: what is changed, and the vocabulary; None changes nothing.
        lengths: ids of each example, for sequences that make examples when they are asked.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokens: int,
        seed: int,
        count: int | None = None,
        noise: tuple[NoiseSettings, TextTokenizer] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.examples = examples
        self.seed, self.noise = seed, noise
        costs = [len(one.ids) for one in examples] if lengths is None else lengths
        plan = BatchPlan(costs, tokens, seed)
        self.batches = plan.epoch(0)
        self.per_pass = len(self.batches)
        passes = 1
        while count is not None and len(self.batches) < count:
            self.batches += plan.epoch(passes)
            passes += 1
        self.batches = self.batches[:count]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> list[Example]:
        """Return a batch."""
        batch = [self.examples[i] for i in self.batches[index]]
        if self.noise is None:
            return batch
        rng = rng_of(self.seed, "noise", index)
        return [with_noise(one, *self.noise, rng) for one in batch]


def collate(batches: Sequence[Sequence[Example]], aligned: bool = False) -> dict[str, Tensor]:
    """Pad the examples of batches on the right.

    Args:
        batches: lists of examples.
        aligned: add ``alignment``, for models with a ``source_alignment``.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, int64, shape ``(examples, longest)``;
        ``alignment``, float32, shape ``(examples, columns)``.
    """
    examples = [example for batch in batches for example in batch]
    longest = max(len(example.ids) for example in examples)

    def padded(values: list[int], fill: int) -> list[int]:
        return values + [fill] * (longest - len(values))

    tensors = {
        "input_ids": torch.tensor([padded(one.shown or one.ids, 0) for one in examples]),
        "attention_mask": torch.tensor([padded([1] * len(one.ids), 0) for one in examples]),
        "labels": torch.tensor([padded(one.labels, IGNORED) for one in examples]),
    }
    if aligned:
        tensors["alignment"] = alignment_tensor([one.alignment for one in examples])
    return tensors
