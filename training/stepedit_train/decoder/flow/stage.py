"""Settings of the flow stage."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator

from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.decoder.flow import CausalMaskedDiffWithXvec, FlowInput, FlowNoise
from stepedit_core.models.decoder.flow.matching import cosine_times
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import latest_checkpoint, seed_everything
from stepedit_train.decoder.examples import ExampleMaker, ExampleSettings, Parts, examples_of
from stepedit_train.decoder.flow.objective import FlowBatch, draw_batch, flow_errors
from stepedit_train.decoder.flow.sizes import FlowSizes
from stepedit_train.decoder.pretrained import take_weights
from stepedit_train.decoder.store import MelStore
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.seeds import generator_of, rng_of
from stepedit_train.settings import resolve_path

__all__ = [
    "FlowSettings",
    "FlowTask",
    "train_flow",
]

DEV_TIMES = 4
"""Times at which validation asks for the velocity, spread as training's are."""


class FlowSettings(ExampleSettings):
    """Settings of the flow stage; the budget is in seconds of target and reference together."""

    sizes: FlowSizes = FlowSizes()
    """Sizes of the network, and its use."""
    weights: Path | None = None
    """Decoder folder, or the checkpoint around it, whose weights a new run begins with; its sizes
    must be those of `sizes`. None: random weights."""
    mean_weight: float = Field(default=1.0, ge=0)
    """Weight of the encoder's absolute error of the mel; only with `sizes.start_from_mean`."""
    prompt_weight: float = Field(default=0.0, ge=0)
    """Weight of the velocity's error on the reference's frames, which the solver moves too."""
    sigma_min: float = Field(default=1e-6, ge=0, lt=1)
    """Deviation around the target that is left at the end of a path."""
    drop: float = Field(default=0.2, ge=0, lt=1)
    """Share of the examples without encoder output, speaker and reference, for guidance."""
    dev_steps: int = Field(default=10, ge=1)
    """Euler steps of the mels that validation generates."""

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if self.start is not None and self.weights is not None:
            raise ValueError("start and weights both say what a run begins with; give one")
        return self


class FlowTask(Task):
    """Examples of a store, and the loss of the flow.

    Args:
        settings: of the stage.
        store: utterances.

    Raises:
        StepeditError: if the store does not fit the sizes, or holds nothing to train on.
    """

    model: CausalMaskedDiffWithXvec

    def __init__(self, settings: FlowSettings, store: MelStore) -> None:
        self.settings, self.store = settings, store
        _check_store(settings, store)
        seed_everything(settings.seed)
        self.model = settings.sizes.build()
        self.examples = examples_of(store, settings, "train")
        self.dev = examples_of(store, settings, "dev")
        self.maker = ExampleMaker(settings, store)
        if not self.examples:
            raise StepeditError(f"{store.folder}: has no utterances of the train split")

    def costs(self) -> list[float]:
        """Return the seconds of each example, target and reference together."""
        return [self.maker.seconds(example) for example in self.examples]

    def batch(self, indices: Sequence[int], step: int) -> FlowBatch:
        """Return crops behind their references, with noise, times and what is left out."""
        own = self.settings
        rng = rng_of(own.seed, "batch", step)
        parts = [self.maker.make(self.examples[i], rng, disturbed=True) for i in indices]
        return draw_batch(parts, generator_of(own.seed, "flow", step), own.drop)

    def loss(self, batch: FlowBatch) -> Losses:
        """Return the squared error of the velocity, and what the encoder's mel is off by."""
        own = self.settings
        found = flow_errors(self.model, self.moved(batch), own.sigma_min)
        total = found.flow + own.prompt_weight * found.prompt
        parts = {"flow": found.flow.item(), "prompt": found.prompt.item()}
        if found.mean is not None:
            total = total + own.mean_weight * found.mean
            parts["mean"] = found.mean.item()
        return Losses(total, parts)

    def validate(self) -> Mapping[str, float]:
        """Return figures on speakers not trained on, by kind of reference.

        ``flow/KIND`` is the loss at fixed times with fixed noise, ``mel/KIND`` the absolute error
        in nepers of a mel that is generated as in use, in a few Euler steps.
        """
        sums: dict[str, list[float]] = defaultdict(list)
        for number, example in enumerate(self.dev):
            if len(sums[f"mel/{example.kind}"]) >= self.settings.dev_items:
                continue
            rng = rng_of(self.settings.seed, "dev", number)
            parts = self.maker.make(example, rng, disturbed=False)
            for name, value in self._look(parts, number).items():
                sums[f"{name}/{example.kind}"].append(value)
        return {name: float(np.mean(values)) for name, values in sums.items()}

    def _look(self, parts: Parts, number: int) -> dict[str, float]:
        """Return the figures of one example."""
        own = self.settings
        drawn = draw_batch([parts] * DEV_TIMES, generator_of(own.seed, "dev", number), 0.0)
        times = cosine_times((torch.arange(DEV_TIMES) + 0.5) / DEV_TIMES)
        errors = flow_errors(self.model, self.moved(replace(drawn, times=times)), own.sigma_min)
        figures = {"flow": errors.flow.item()}
        if errors.mean is not None:
            figures["mean"] = errors.mean.item()
        given = FlowInput(
            torch.from_numpy(parts.prompt),
            torch.from_numpy(parts.rows),
            torch.from_numpy(parts.prompt_mel),
            torch.from_numpy(parts.voice),
            FlowNoise(own.seed, self.model.bins),
        )
        made = self.model.generate([given], own.dev_steps)[0].cpu().numpy().T
        figures["mel"] = float(np.abs(made - parts.mel).mean())
        return figures


def _check_store(settings: FlowSettings, store: MelStore) -> None:
    """Compare what the store holds with the sizes."""
    sizes = settings.sizes
    size, bins = store.speakers(store.items[0].speaker).shape[1], store.mel(0).shape[1]
    if size != sizes.spk_embed_dim:
        raise StepeditError(
            f"{store.folder}: speaker vectors have {size} numbers, not {sizes.spk_embed_dim} as "
            "sizes.spk_embed_dim says; `speaker` of mel-data chooses whose they are"
        )
    if bins != sizes.output_size:
        raise StepeditError(
            f"{store.folder}: mels have {bins} bins, not {sizes.output_size} as "
            "sizes.output_size says"
        )


def train_flow(settings: FlowSettings) -> Iterator[str]:
    """Train the flow, or go on; yield lines that say what was done."""
    store = MelStore(resolve_path(settings, settings.data))
    out = resolve_path(settings, settings.out)
    task = FlowTask(settings, store)
    if settings.weights is not None and latest_checkpoint(out / "checkpoints") is None:
        folder = resolve_path(settings, settings.weights)
        take_weights(folder, task.model)
        yield f"begins with the weights of {folder}"
    plan = BatchPlan(task.costs(), settings.budget, settings.seed)
    size = sum(weight.numel() for weight in task.model.parameters())
    yield f"{len(task.examples)} examples, {len(task.dev)} to validate on; {size / 1e6:.2f} M"
    names = hashlib.sha256("\n".join(store.names).encode()).hexdigest()[:16]
    progress = run_loop(task, plan, settings, out, names)
    yield f"{progress.step} of {counted(settings.steps, 'step')} done; log in {out}"
