"""The ``reader`` stage: hear phones in codes, from texts and codes alone.

Trained by connectionist temporal classification (Graves et al. 2006): nobody has to say when a
phone is spoken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from stepedit_core.codes import GROUP_SECONDS, LINGUISTIC_SIZE, SEMANTIC_SIZE
from stepedit_core.dsp.words import edit_distance
from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.reader import BLANK, READER, PhoneNetwork, phones_loss
from stepedit_core.models.text import load_tokenizer
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.corruption import replace_codes
from stepedit_train.export import save_tensors
from stepedit_train.loop import LoopSettings, Losses, Task, run_loop
from stepedit_train.reader.utterances import (
    CodedUtterance,
    IntArray,
    fingerprint_of,
    read_utterances,
)
from stepedit_train.seeds import rng_of
from stepedit_train.settings import MixtureRow, MixtureSettings, Settings, resolve_path

__all__ = [
    "ReaderSettings",
    "ReaderSizes",
    "ReaderTask",
    "train_reader",
]


class ReaderSizes(Settings):
    """Sizes of the network; the defaults are the embedded model's."""

    width: int = Field(default=128, ge=1)
    """Channels."""
    blocks: int = Field(default=6, ge=1)
    """ConvNeXt blocks."""
    kernel: int = Field(default=7, ge=1)
    """Taps of their convolutions; odd."""

    @field_validator("kernel")
    @classmethod
    def _is_odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd, so that a frame is in the middle")
        return kernel


class ReaderSettings(MixtureSettings, LoopSettings):
    """Settings of the reader stage; the budget is in seconds of audio."""

    model: Path
    """Folder of the language model, for its pronouncing dictionary."""
    pairs: tuple[Path, ...]
    """Folders of `stepedit pairs` with codes and transcripts; both sides are read."""
    out: Path
    """Folder of the run; ``reader.safetensors`` is written there at the end."""
    sizes: ReaderSizes = ReaderSizes()
    """Sizes of the network."""
    replaced: float = Field(default=0.1, ge=0, lt=1)
    """Share of the codes that are any others in training, so that surroundings count."""
    dev_items: int = Field(default=200, ge=1)
    """Utterances that validation reads."""

    @classmethod
    def of_mixture(cls, rows: Sequence[MixtureRow]) -> dict[str, Any]:
        """Return the folders of pairs that words are read from."""
        return {"pairs": [row.path for row in rows if row.reader]}


@dataclass(frozen=True)
class ReaderBatch:
    """Utterances, padded.

    Attributes:
        linguistic: int64 ``(batch, 2 * most groups)``.
        semantic: int64 ``(batch, 3 * most groups)``.
        groups: int64 ``(batch,)``.
        phones: int64, of all items end to end.
        counts: int64 ``(batch,)``, phones of each.
    """

    linguistic: Tensor
    semantic: Tensor
    groups: Tensor
    phones: Tensor
    counts: Tensor


def _padded(rows: Sequence[IntArray]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True)


class ReaderTask(Task):
    """Batches of utterances and their connectionist temporal classification.

    Args:
        settings: of the stage.
        train: utterances to learn from.
        dev: utterances to validate on.
    """

    model: PhoneNetwork

    def __init__(
        self,
        settings: ReaderSettings,
        train: Sequence[CodedUtterance],
        dev: Sequence[CodedUtterance],
    ) -> None:
        self.settings, self.train, self.dev = settings, train, dev
        seed_everything(settings.seed)
        sizes = settings.sizes
        self.model = PhoneNetwork(sizes.width, sizes.blocks, sizes.kernel)

    def batch(self, indices: Sequence[int], step: int) -> ReaderBatch:
        """Return utterances with some of their codes replaced."""
        rng = rng_of(self.settings.seed, "replace", step)
        share = self.settings.replaced
        return _batch(
            [
                CodedUtterance(
                    said.phones,
                    replace_codes(said.linguistic, LINGUISTIC_SIZE, share, rng),
                    replace_codes(said.semantic, SEMANTIC_SIZE, share, rng),
                )
                for said in (self.train[index] for index in indices)
            ]
        )

    def loss(self, batch: ReaderBatch) -> Losses:
        """Return the negative log probability of the phones, for each of them."""
        batch = self.moved(batch)
        heard = self.model(batch.linguistic, batch.semantic, batch.groups)
        loss = _loss(heard, batch) / batch.counts.sum()
        return Losses(loss, {"phone": loss.item()})

    def validate(self) -> Mapping[str, float]:
        """Return the loss and the phone error rate (greedy) on validation speakers."""
        if not self.dev:
            return {}
        loss, errors, phones = 0.0, 0, 0
        for said in self.dev[: self.settings.dev_items]:
            batch = self.moved(_batch([said]))
            heard = self.model(batch.linguistic, batch.semantic, batch.groups)
            loss += float(_loss(heard, batch))
            best = torch.unique_consecutive(heard[0].argmax(-1))
            errors += edit_distance(best[best != BLANK].tolist(), said.phones.tolist())
            phones += len(said.phones)
        return {"phone": loss / phones, "phone_error_rate": errors / phones}


def _batch(said: Sequence[CodedUtterance]) -> ReaderBatch:
    return ReaderBatch(
        _padded([one.linguistic for one in said]),
        _padded([one.semantic for one in said]),
        torch.tensor([one.groups for one in said]),
        torch.from_numpy(np.concatenate([one.phones for one in said])),
        torch.tensor([len(one.phones) for one in said]),
    )


def _loss(heard: Tensor, batch: ReaderBatch) -> Tensor:
    return phones_loss(heard, batch.groups, batch.phones, batch.counts)


def train_reader(settings: ReaderSettings) -> Iterator[str]:
    """Train the reader, or go on, and write it; yield lines that say what was done.

    Raises:
        StepeditError: if the model has no dictionary, or no pair can be read with it.
    """
    model, out = (resolve_path(settings, path) for path in (settings.model, settings.out))
    words = load_tokenizer(model).pronunciations
    if words is None:
        raise StepeditError(f"{model}: its text tokenizer has no pronouncing dictionary")
    found = read_utterances([resolve_path(settings, folder) for folder in settings.pairs], words)
    train, dev = found["train"], found["dev"]
    if not train:
        raise StepeditError("no pair has codes and a transcript of known words to learn from")
    task = ReaderTask(settings, train, dev)
    hours = sum(one.groups for one in train) * GROUP_SECONDS / 3600
    yield f"{counted(len(train), 'utterance')}, {hours:.1f} h; {len(dev)} to validate on"
    costs = [one.groups * GROUP_SECONDS for one in train]
    plan = BatchPlan(costs, settings.budget, settings.seed)
    progress = run_loop(task, plan, settings, out, fingerprint_of(train))
    yield f"{progress.step} of {counted(settings.steps, 'step')} done; log in {out}"
    if progress.step < settings.steps:
        return
    path = out / READER
    save_tensors(task.model.state_dict(), path, half=True)
    yield f"{path}: {path.stat().st_size / 1e6:.2f} MB"
