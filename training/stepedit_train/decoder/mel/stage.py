"""The ``mel`` stage: teach the mel decoder to find and to make the sound of codes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.decoder.convnext import time_mask
from stepedit_core.models.decoder.reference.model import FACTOR, ReferencedMelDecoder
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.decoder.examples import ExampleMaker, MelTrainBatch, examples_of, stack_parts
from stepedit_train.decoder.mel.code_reader import MelCodeReader
from stepedit_train.decoder.mel.critic import MelCritic
from stepedit_train.decoder.mel.self_generated import with_distilled, with_self_generated
from stepedit_train.decoder.mel.settings import MelSettings
from stepedit_train.decoder.pretrained import read_decoder_of, take_decoder
from stepedit_train.decoder.store import MelStore
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.seeds import rng_of
from stepedit_train.settings import resolve_path

__all__ = [
    "CRITIC",
    "READER",
    "MelSettings",
    "MelTask",
    "train_mel",
]

CRITIC, READER = "critic", "code_reader"
"""Names of critic and reader among the decoder's parts while it is trained; neither is exported."""


class MelTask(Task):
    """Examples of a store, and the loss of the decoder.

    Args:
        settings: of the stage.
        store: utterances.
    """

    model: ReferencedMelDecoder

    def __init__(self, settings: MelSettings, store: MelStore) -> None:
        self.settings, self.store = settings, store
        seed_everything(settings.seed)
        self.model = settings.sizes.build()
        self.critic = MelCritic(settings.critic_width) if settings.critic_weight else None
        # Under the model, so that checkpoints and the optimiser hold its weights too.
        self.model.add_module(CRITIC, self.critic)
        self.reader = MelCodeReader(settings.read_width) if settings.read_weight else None
        self.model.add_module(READER, self.reader)
        self.examples = examples_of(store, settings, "train")
        self.dev = examples_of(store, settings, "dev")
        self.maker = ExampleMaker(settings, store)
        decoders: dict[Path, ReferencedMelDecoder] = {}
        for folder in filter(None, (settings.weights, settings.distil_from)):
            if folder not in decoders:
                decoders[folder] = read_decoder_of(resolve_path(settings, folder))
        if settings.weights is not None:
            take_decoder(decoders[settings.weights], self.model)
        self._freeze()
        self.teacher: ReferencedMelDecoder | None = None
        if settings.distil_from is not None:
            self.teacher = self._as_teacher(decoders[settings.distil_from])

    def _freeze(self) -> None:
        """Hold weights still; raises StepeditError for a beginning that no name has."""
        for begin in self.settings.frozen:
            found = [w for name, w in self.model.named_parameters() if name.startswith(begin)]
            if not found:
                raise StepeditError(f"frozen: no weight's name begins with {begin!r}")
            for weight in found:
                weight.requires_grad_(False)

    def _as_teacher(self, decoder: ReferencedMelDecoder) -> ReferencedMelDecoder:
        """Return the decoder whose output recordings are held to, frozen.

        Raises:
            StepeditError: if its labels are not the first ones of the settings.
        """
        taught = () if decoder.labels is None else decoder.labels.names
        if self.settings.sizes.labels[: len(taught)] != taught:
            raise StepeditError("distil_from needs its own labels first, in their order")
        return decoder.requires_grad_(False)

    def costs(self) -> list[float]:
        """Return the seconds of each example, target and reference together."""
        return [self.maker.seconds(example) for example in self.examples]

    def batch(self, indices: Sequence[int], step: int) -> MelTrainBatch:
        """Return crops with their references, disturbed."""
        rng = rng_of(self.settings.seed, "batch", step)
        parts = [self.maker.make(self.examples[i], rng, disturbed=True) for i in indices]
        plain = torch.tensor([self.examples[i].kind in ("self", "other") for i in indices])
        return replace(stack_parts(parts, step), plain=plain)

    def loss(self, batch: MelTrainBatch) -> Losses:
        """Return the absolute errors of frames and of their differences."""
        batch = self.moved(batch)
        share = self.settings.self_generated_reference
        if share:
            rng = rng_of(self.settings.seed, "echo", batch.step)
            batch = with_self_generated(self.model, batch, share, rng)
        if self.teacher is not None and batch.plain is not None:
            rng = rng_of(self.settings.seed, "keep", batch.step)
            batch = with_distilled(self.teacher.to(self.device), batch, batch.plain, rng)
        made = self.model(batch)
        mask = time_mask(FACTOR * batch.lengths, made.shape[1])
        count = mask.sum() * made.shape[2]
        error = made - batch.mel
        mel = (error.abs() * mask).sum() / count
        delta = ((error[:, 1:] - error[:, :-1]).abs() * mask[:, 1:]).sum() / count
        total = mel + self.settings.delta_weight * delta
        parts = {"mel": mel.item(), "delta": delta.item()}
        if self.critic is not None:
            found = self.critic.judge(batch.mel, made, mask)
            total = total + found.critic
            if batch.step >= self.settings.critic_from:
                heard = found.adversary + found.matching
                total = total + self.settings.critic_weight * heard
            parts |= {name: value.item() for name, value in vars(found).items()}
        if self.reader is not None and batch.recorded_rows is not None:
            inside = time_mask(batch.lengths, batch.recorded_rows.shape[1])
            read = self.reader.read(batch.mel, made, batch.recorded_rows, inside)
            total = total + read.reader
            if batch.step >= self.settings.read_from:
                total = total + self.settings.read_weight * (read.read + read.matching)
            named = {"reader": read.reader, "read": read.read, "read_matching": read.matching}
            parts |= {name: value.item() for name, value in named.items()}
        return Losses(total, parts)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the decoder's weights, and critic's and reader's with a pace of their own."""
        beside = [part for part in (self.critic, self.reader) if part is not None]
        if not beside:
            return super().parameter_groups()
        others = {id(weight) for part in beside for weight in part.parameters()}
        decoders = [weight for weight in self.model.parameters() if id(weight) not in others]
        judges = [
            {"params": list(part.parameters()), "pace": self.settings.critic_pace}
            for part in beside
        ]
        return [{"params": decoders}, *judges]

    def validate(self) -> Mapping[str, float]:
        """Return the mel error on speakers not trained on, by kind of reference."""
        sums: dict[str, list[float]] = defaultdict(list)
        for number, example in enumerate(self.dev):
            if len(sums[example.kind]) >= self.settings.dev_items:
                continue
            rng = rng_of(self.settings.seed, "dev", number)
            batch = self.moved(stack_parts([self.maker.make(example, rng, disturbed=False)]))
            error = (self.model(batch) - batch.mel).abs().mean().item()
            sums[example.kind].append(error)
        return {f"mel/{kind}": float(np.mean(values)) for kind, values in sums.items() if values}


def train_mel(settings: MelSettings) -> Iterator[str]:
    """Train the mel decoder, or go on; yield lines that say what was done."""
    store = MelStore(resolve_path(settings, settings.data))
    task = MelTask(settings, store)
    plan = BatchPlan(task.costs(), settings.budget, settings.seed)
    size = sum(weight.numel() for weight in task.model.parameters())
    yield f"{len(task.examples)} examples, {len(task.dev)} to validate on; {size / 1e6:.2f} M"
    names = hashlib.sha256("\n".join(store.names).encode()).hexdigest()[:16]
    out = resolve_path(settings, settings.out)
    progress = run_loop(task, plan, settings, out, names)
    yield f"{progress.step} of {counted(settings.steps, 'step')} done; log in {out}"
