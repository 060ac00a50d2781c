"""The ``mel`` stage: teach the mel decoder to find and to make the sound of codes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from stepedit_core.models.convnext import time_mask
from stepedit_core.models.flow.referenced import FACTOR, ReferencedMelDecoder
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.mel.batches import MelTrainBatch, stack_parts
from stepedit_train.mel.critic import MelCritic
from stepedit_train.mel.echo import with_echoes
from stepedit_train.mel.examples import ExampleMaker, examples_of
from stepedit_train.mel.rules import ExampleSettings, ToldExamples
from stepedit_train.mel.store import MelStore
from stepedit_train.seeds import rng_of
from stepedit_train.settings import Settings, resolve_path

__all__ = ["CRITIC", "MelSettings", "MelSizes", "train_mel"]

CRITIC = "critic"
"""Name of the critic among the decoder's parts while it is trained; it is not exported."""


class MelSizes(Settings):
    """Sizes of the decoder; see `ReferencedMelDecoder`."""

    width: int = Field(default=192, ge=8)
    """Channels."""
    token_blocks: int = Field(default=4, ge=1)
    """Blocks over tokens."""
    reference_blocks: int = Field(default=2, ge=0)
    """Blocks over the reference's mel."""
    mel_blocks: int = Field(default=6, ge=2)
    """Blocks over the target's frames."""
    heads: int = Field(default=4, ge=1)
    """Of the attention."""
    spk_embed_dim: int = Field(default=256, ge=1)
    """Size of the speaker vector."""
    lag: int = Field(default=0, ge=0)
    """Groups of 120 ms after which a place on the path through the reference is decided; 0 does
    without a path."""
    places: bool = False
    """Whether places in the reference are used where an edit knows them."""
    labels: tuple[str, ...] = ()
    """Edits that are told apart, as `Edit.decoded_as` names them."""
    bounds: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    """Of labels: dB that a made mel may be below the reference's in speech and in pauses, and above
    it. Training does not need them."""
    labels_again: bool = False
    """Whether each block is told the label too, not the first alone."""

    def build(self) -> ReferencedMelDecoder:
        """Return a fresh decoder."""
        return ReferencedMelDecoder(**self.model_dump(exclude={"base"}))


class MelSettings(ExampleSettings):
    """Settings of the mel stage; the budget is in seconds of target and reference together."""

    sizes: MelSizes = MelSizes()
    """Of the network."""
    spoilt: tuple[str, ...] = ("denoise", "denoise_synthesised")
    """Families whose targets' codes are in part left as the source's, as models do."""
    spoil: float = Field(default=0.0, ge=0, le=1)
    """How often."""
    noisy: float = Field(default=0.0, ge=0, le=1)
    """Part of the sources of those families that are also their own target: noise is to go
    where that is asked, and nowhere else."""
    mislead: float = Field(default=0.0, ge=0, le=1)
    """How often stretches of pairs whose places are told get codes of other places."""
    clean: float = Field(default=0.0, ge=0, le=1)
    """Part of the examples with themselves as reference that are told to be denoised."""
    untold: float = Field(default=0.15, ge=0, le=1)
    """How often places are not told."""
    echo: float = Field(default=0.0, ge=0, le=1)
    """Part of the references that the decoder makes itself, as for edits of its own output."""
    delta_weight: float = Field(default=0.5, ge=0)
    """Of the absolute error of the frames' differences."""
    critic_weight: float = Field(default=0, ge=0)
    """Of the adversarial loss and of feature matching; 0 trains without a critic."""
    critic_from: int = Field(default=200, ge=0)
    """Step from which the decoder listens to its critic, which learns from the first."""
    critic_width: int = Field(default=24, ge=1)
    """Channels of its first layer."""
    critic_pace: float = Field(default=1.0, gt=0)
    """Factor of its learning rate."""

    def told(self) -> ToldExamples:
        """Return what examples are told of edits, and how that is spoilt."""
        return ToldExamples(
            self.sizes.labels,
            self.spoilt,
            self.spoil,
            self.noisy,
            self.mislead,
            self.clean,
            self.untold,
        )


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
        self.examples = examples_of(store, settings, "train")
        self.dev = examples_of(store, settings, "dev")
        self.maker = ExampleMaker(settings, store)

    def costs(self) -> list[float]:
        """Return the seconds of each example, target and reference together."""
        return [self.maker.seconds(example) for example in self.examples]

    def batch(self, indices: Sequence[int], step: int) -> MelTrainBatch:
        """Return crops with their references, disturbed."""
        rng = rng_of(self.settings.seed, "batch", step)
        parts = [self.maker.make(self.examples[i], rng, disturbed=True) for i in indices]
        return stack_parts(parts, step)

    def loss(self, batch: MelTrainBatch) -> Losses:
        """Return the absolute errors of frames and of their differences."""
        batch = self.moved(batch)
        if self.settings.echo:
            rng = rng_of(self.settings.seed, "echo", batch.step)
            batch = with_echoes(self.model, batch, self.settings.echo, rng)
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
        return Losses(total, parts)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the decoder's weights, and the critic's with a pace of their own."""
        if self.critic is None:
            return super().parameter_groups()
        decoders = [
            weight
            for name, weight in self.model.named_parameters()
            if not name.startswith(f"{CRITIC}.")
        ]
        judges = {"params": list(self.critic.parameters()), "pace": self.settings.critic_pace}
        return [{"params": decoders}, judges]

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
    yield f"{progress.step} of {settings.steps} steps done; log in {out}"
