"""The linguistic stage: teach the SANM encoder phones, robustly to voice and channel."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from stepedit_core.atomic import write_atomically
from stepedit_core.dsp.words import edit_distance
from stepedit_core.errors import counted
from stepedit_core.models.tokenizer.linguistic import Cmvn, Frontend, FrontendConfig, SANMConfig
from stepedit_core.models.tokenizer.linguistic.windows import WindowPlan, plan_windows
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.data.cache import Cache
from stepedit_train.loop import LoopSettings, Losses, Task, run_loop
from stepedit_train.seeds import rng_of
from stepedit_train.settings import Settings, resolve_path
from stepedit_train.tokenizers.linguistic.augment import AugmentSettings, WarpedFrontend, augment
from stepedit_train.tokenizers.linguistic.model import (
    IGNORED,
    PhonemeSet,
    TaughtEncoder,
    ctc_loss,
    frame_labels,
    phone_loss,
)

__all__ = [
    "EncoderSizes",
    "LinguisticSettings",
    "LinguisticTask",
    "train_linguistic",
]

TEACHER = "teacher.json"


class EncoderSizes(Settings):
    """Sizes of the encoder; the defaults are the embedded model's."""

    output_size: int = 192
    """Model width, and the width of the codebook."""
    attention_heads: int = 4
    """Heads."""
    linear_units: int = 768
    """Inner width of the feed-forward part."""
    num_blocks: int = 4
    """Layers."""
    kernel_size: int = 11
    """Taps of the memory convolution."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """In training."""

    def config(self) -> SANMConfig:
        """Return the configuration of the encoder."""
        return SANMConfig(**self.model_dump(exclude={"base"}))


class LinguisticSettings(LoopSettings):
    """Settings of the linguistic stage; the budget is in seconds of audio."""

    cache: Path
    """Folder that the data stage made."""
    out: Path
    """Folder of the run."""
    encoder: EncoderSizes = EncoderSizes()
    """Sizes."""
    augmentation: AugmentSettings = AugmentSettings()
    """Augmentation of the signals."""
    smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Label smoothing of the frame labels."""
    ctc_weight: float = Field(default=0.3, ge=0)
    """Weight of the phoneme sequences."""
    dev_items: int = Field(default=64, ge=1)
    """Recordings that validation looks at."""


@dataclass(frozen=True)
class LinguisticBatch:
    """Recordings laid end to end.

    Attributes:
        frames: float32, shape ``(n, 560)``.
        plan: windows of the encoder.
        lengths: frames of each recording.
        labels: int64, shape ``(n, 3)``.
        targets: phoneme ids of each recording.
    """

    frames: Tensor
    plan: WindowPlan
    lengths: list[int]
    labels: Tensor
    targets: list[list[int]]


def measure_cmvn(cache: Cache, config: FrontendConfig, count: int = 400) -> Cmvn:
    """Return the normalisation that gives the first recordings mean 0 and deviation 1."""
    plain = Frontend(config, Cmvn(torch.zeros(1), torch.ones(1)))
    total = torch.zeros(config.output_size, dtype=torch.float64)
    squares, frames = total.clone(), 0
    for index in range(min(count, len(cache))):
        rows = plain(cache.speech(index))[0].double()
        total += rows.sum(0)
        squares += rows.square().sum(0)
        frames += len(rows)
    mean = total / max(frames, 1)
    deviation = (squares / max(frames, 1) - mean.square()).clamp_min(1e-6).sqrt()
    return Cmvn((-mean).float(), (1 / deviation).float())


@dataclass(frozen=True)
class Teacher:
    """State that is fixed before the first step and must not change when a run goes on.

    Attributes:
        phones: names of the frame labels.
        symbols: phoneme symbols of CTC.
        shift: of the normalisation.
        scale: of the normalisation.
    """

    phones: list[str]
    symbols: list[str]
    shift: list[float]
    scale: list[float]

    def cmvn(self) -> Cmvn:
        """Return the normalisation."""
        return Cmvn(torch.tensor(self.shift), torch.tensor(self.scale))


class LinguisticTask(Task):
    """Batches of the cache and the loss of the taught encoder."""

    model: TaughtEncoder

    def __init__(
        self, settings: LinguisticSettings, cache: Cache, dev: Cache | None, teacher: Teacher
    ) -> None:
        """Build the model.

        Args:
            settings: of the stage.
            cache: recordings to train on.
            dev: recordings to validate on.
            teacher: what is fixed before the first step.
        """
        self.settings = settings
        self.cache = cache
        self.dev = dev
        self.teacher = teacher
        self.symbols = PhonemeSet(teacher.symbols)
        seed_everything(settings.seed)
        self.model = TaughtEncoder(
            settings.encoder.config(), len(teacher.phones), len(self.symbols)
        )

    def batch(self, indices: Sequence[int], step: int) -> LinguisticBatch:
        """Return augmented recordings."""
        rng = rng_of(self.settings.seed, "augment", step)
        return self._collate(self.cache, indices, rng)

    def _collate(
        self, cache: Cache, indices: Sequence[int], rng: np.random.Generator | None
    ) -> LinguisticBatch:
        frames: list[Tensor] = []
        sizes: list[list[int]] = []
        labels: list[Tensor] = []
        targets: list[list[int]] = []
        config, cmvn = FrontendConfig(), self.teacher.cmvn()
        for index in indices:
            speech, factor = cache.speech(index), 1.0
            if rng is not None:
                speech, factor = augment(speech, rng, self.settings.augmentation)
            rows, chunks = WarpedFrontend(config, cmvn, factor)(speech)
            frames.append(rows)
            sizes.append(chunks)
            spikes = cache.read(index, "phones", "spikes")
            labels.append(torch.from_numpy(frame_labels(spikes, len(rows))))
            targets.append(self.symbols.encode(cache.items[index].phonemes))
        lengths = [len(rows) for rows in frames]
        return LinguisticBatch(
            torch.cat(frames), plan_windows(sizes), lengths, torch.cat(labels), targets
        )

    def loss(self, batch: LinguisticBatch) -> Losses:
        """Return cross entropy of the frame labels plus weighted CTC."""
        batch = self.moved(batch)
        _, phones, phonemes = self.model(batch.frames, batch.plan)
        frame = phone_loss(phones, batch.labels, self.settings.smoothing)
        sequence = ctc_loss(
            [part.flatten(0, 1) for part in phonemes.split(batch.lengths)], batch.targets
        )
        total = frame + self.settings.ctc_weight * sequence
        parts: dict[str, float] = {}
        if bool((batch.labels != IGNORED).any()):
            parts["phone"] = frame.item()
        if any(batch.targets):
            parts["ctc"] = sequence.item()
        return Losses(total, parts)

    def validate(self) -> Mapping[str, float]:
        """Return 20 ms phone accuracy and phoneme error rate on speakers not trained on."""
        if self.dev is None:
            return {}
        right: Counter[str] = Counter()
        known: Counter[str] = Counter()
        errors = symbols = 0
        for index in range(min(self.settings.dev_items, len(self.dev))):
            corpus = self.dev.items[index].corpus
            batch = self.moved(self._collate(self.dev, [index], None))
            _, phones, phonemes = self.model(batch.frames, batch.plan)
            is_known = batch.labels != IGNORED
            right[corpus] += int((phones.argmax(-1) == batch.labels)[is_known].sum())
            known[corpus] += int(is_known.sum())
            best = phonemes.flatten(0, 1).argmax(-1).unique_consecutive()
            if batch.targets[0]:
                errors += edit_distance(best[best > 0].tolist(), batch.targets[0])
                symbols += len(batch.targets[0])
        # Synthetic and real voices apart: a mean over both would hide the harder ones.
        parts = {f"phone_accuracy/{name}": right[name] / n for name, n in known.items() if n}
        figures = {"phone_accuracy": right.total() / max(known.total(), 1), **parts}
        return figures | ({"phoneme_error_rate": errors / symbols} if symbols else {})


def read_teacher(out: Path, cache: Cache) -> Teacher:
    """Return the teacher of a run, made from the cache the first time."""
    path = out / TEACHER
    if path.is_file():
        return Teacher(**json.loads(path.read_text(encoding="utf-8")))
    cmvn = measure_cmvn(cache, FrontendConfig())
    symbols = PhonemeSet.of(item.phonemes for item in cache.items).symbols
    teacher = Teacher(cache.phone_names(), symbols, cmvn.shift.tolist(), cmvn.scale.tolist())
    write_atomically(path, json.dumps(vars(teacher), ensure_ascii=False))
    return teacher


def train_linguistic(settings: LinguisticSettings) -> Iterator[str]:
    """Train the encoder, or go on; yield lines that say what was done."""
    out = resolve_path(settings, settings.out)
    folder = resolve_path(settings, settings.cache)
    cache = Cache(folder, ("audio", "phones"))
    has_dev = any(i.split == "dev" for i in Cache(folder, splits=("train", "dev")).items)
    dev = Cache(folder, ("audio", "phones"), ("dev",)) if has_dev else None
    task = LinguisticTask(settings, cache, dev, read_teacher(out, cache))
    plan = BatchPlan([item.speech_seconds for item in cache.items], settings.budget, settings.seed)
    hours = sum(plan.costs) / 3600
    size = sum(weight.numel() for weight in task.model.encoder.parameters())
    yield (
        f"{counted(len(cache), 'recording')}, {hours:.2f} h; encoder of "
        f"{size / 1e6:.2f} M parameters"
    )
    progress = run_loop(task, plan, settings, out, cache.fingerprint)
    yield f"{progress.step} of {counted(settings.steps, 'step')} done; log in {out}"
