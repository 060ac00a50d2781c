"""The semantic stage: teach an encoder to keep prosody and sound in 25 codes a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from stepedit_core.codes import SEMANTIC_SIZE
from stepedit_core.errors import counted
from stepedit_core.models.tokenizer.features import whisper_log_mel
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.data.cache import SPEECH_RATE, Cache
from stepedit_train.loop import LoopSettings, Losses, Task, run_loop
from stepedit_train.seeds import rng_of
from stepedit_train.settings import resolve_path
from stepedit_train.tokenizers.semantic.model import (
    MEL_PER_CODE,
    Predicted,
    SemanticSizes,
    TaughtSemantic,
)
from stepedit_train.tokenizers.semantic.targets import CODE_SAMPLES, IGNORED, Targets, targets_of

__all__ = [
    "LAYERS",
    "SemanticBatch",
    "SemanticSettings",
    "SemanticTask",
    "Tally",
    "griffin_lim",
    "train_semantic",
]

LAYERS = ("audio", "phones", "prosody")

RATE, N_FFT, HOP = 16_000, 400, 160
PEAK = 0.6


class SemanticSettings(LoopSettings):
    """Settings of the semantic stage; the budget is in seconds of audio."""

    cache: Path
    """Folder that the data stage made, with the layers audio, phones and prosody."""
    out: Path
    """Folder of the run."""
    sizes: SemanticSizes = SemanticSizes()
    """Sizes of the network."""
    crop_codes: int = Field(default=60, ge=4)
    """Codes (40 ms each) in a training crop."""
    phone_weight: float = Field(default=0.15, ge=0)
    """Weight of the phones' cross entropy, beside 1 for the mel's absolute error."""
    pitch_weight: float = Field(default=0.5, ge=0)
    """Weight of the absolute error of pitch, in octaves, where voiced."""
    voiced_weight: float = Field(default=0.1, ge=0)
    """Weight of the voicing's cross entropy."""
    level_weight: float = Field(default=0.1, ge=0)
    """Weight of the absolute error of the level, in units of 20 dB."""
    dev_items: int = Field(default=48, ge=1)
    """Recordings that validation looks at."""


@dataclass(frozen=True)
class SemanticBatch:
    """Crops of equal length.

    Attributes:
        mel: float32, shape ``(b, bins, 4 * n)``.
        phones: int64, shape ``(b, n, 2)``.
        pitch: float32, shape ``(b, n)``.
        voiced: float32, shape ``(b, n, 4)``.
        level: float32, shape ``(b, n, 4)``.
    """

    mel: Tensor
    phones: Tensor
    pitch: Tensor
    voiced: Tensor
    level: Tensor


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1.0)


class SemanticTask(Task):
    """Crops of the cache and the loss of encoder and teaching decoder.

    Args:
        settings: of the stage.
        cache: recordings to train on.
        dev: recordings to validate on, or None.
    """

    model: TaughtSemantic

    def __init__(self, settings: SemanticSettings, cache: Cache, dev: Cache | None) -> None:
        self.settings = settings
        self.cache = cache
        self.dev = dev
        seed_everything(settings.seed)
        self.model = TaughtSemantic(settings.sizes, len(cache.phone_names()))
        # A long recording is seen once for each crop that it holds.
        seconds = settings.crop_codes * CODE_SAMPLES / SPEECH_RATE
        counts = [max(1, round(item.speech_seconds / seconds)) for item in cache.items]
        self.crops = np.repeat(np.arange(len(cache)), counts).tolist()
        self.crop_seconds = seconds

    def batch(self, indices: Sequence[int], step: int) -> SemanticBatch:
        """Return random crops of recordings, with a random gain."""
        rng = rng_of(self.settings.seed, "crop", step)
        count = self.settings.crop_codes
        parts = []
        for index in (self.crops[i] for i in indices):
            total = len(self.cache.speech(index)) // CODE_SAMPLES
            start = int(rng.integers(0, max(total - count, 0) + 1))
            gain = np.float32(10 ** (rng.uniform(-12, 0) / 20))
            parts.append(self._item(self.cache, index, start, count, gain))
        return self._stack(parts)

    def _item(
        self, cache: Cache, index: int, start: int, count: int, gain: np.float32
    ) -> tuple[Tensor, Targets]:
        speech = cache.speech(index)
        codes = max(len(speech) // CODE_SAMPLES, 1)
        targets = targets_of(
            cache.read(index, "phones", "spikes"), cache.read(index, "prosody", "prosody"), codes
        ).cut(start, count)
        part = np.zeros(count * CODE_SAMPLES, np.float32)
        own = speech[start * CODE_SAMPLES :][: len(part)]
        part[: len(own)] = own * gain
        mel = whisper_log_mel(torch.from_numpy(part), self.settings.sizes.bins)
        return mel[:, : MEL_PER_CODE * count], targets

    @staticmethod
    def _stack(parts: Sequence[tuple[Tensor, Targets]]) -> SemanticBatch:
        columns = [
            torch.from_numpy(np.stack([getattr(targets, name) for _, targets in parts]))
            for name in ("phones", "pitch", "voiced", "level")
        ]
        return SemanticBatch(torch.stack([mel for mel, _ in parts]), *columns)

    def loss(self, batch: SemanticBatch) -> Losses:
        """Return the weighted sum of all targets' losses."""
        batch = self.moved(batch)
        made: Predicted = self.model(batch.mel)
        items, bins, frames = batch.mel.shape
        parted = batch.mel.view(items, bins, frames // MEL_PER_CODE, MEL_PER_CODE)
        wanted = parted.permute(0, 2, 3, 1).flatten(2)
        parts = {
            "mel": (made.mel - wanted).abs().mean(),
            "pitch": _masked_mean((made.pitch - batch.pitch).abs(), batch.voiced.amax(-1)),
            "voiced": F.binary_cross_entropy_with_logits(made.voiced, batch.voiced),
            "level": (made.level - batch.level).abs().mean(),
        }
        if bool((batch.phones != IGNORED).any()):
            parts["phones"] = F.cross_entropy(
                made.phones.flatten(0, 2), batch.phones.flatten(), ignore_index=IGNORED
            )
        own = self.settings
        weights = {
            "mel": 1.0,
            "phones": own.phone_weight,
            "pitch": own.pitch_weight,
            "voiced": own.voiced_weight,
            "level": own.level_weight,
        }
        total = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
        return Losses(total, {name: value.item() for name, value in parts.items()})

    def validate(self) -> Mapping[str, float]:
        """Return figures on whole recordings of speakers not trained on."""
        if self.dev is None:
            return {}
        tally = Tally()
        for index in range(min(self.settings.dev_items, len(self.dev))):
            count = max(len(self.dev.speech(index)) // CODE_SAMPLES, 1)
            batch = self.moved(self._stack([self._item(self.dev, index, 0, count, np.float32(1))]))
            frames = torch.tensor([batch.mel.shape[2]], device=self.device)
            codes = self.model.encoder(batch.mel, frames)
            tally.add(self.model(batch.mel), batch.phones, batch.pitch, batch.voiced, codes)
        return tally.figures()

    def samples(self) -> Mapping[str, tuple[npt.NDArray[np.float32], int]]:
        """Return a validation recording by Griffin-Lim from its own mel and from the codes'."""
        if self.dev is None:
            return {}
        count = max(len(self.dev.speech(0)) // CODE_SAMPLES, 1)
        batch = self.moved(self._stack([self._item(self.dev, 0, 0, count, np.float32(1))]))
        made = self.model(batch.mel).mel[0].cpu()
        bins = self.settings.sizes.bins
        decoded = made.view(count, MEL_PER_CODE, bins).permute(2, 0, 1).flatten(1)
        rate = SPEECH_RATE
        return {
            "own-mel": (griffin_lim(batch.mel[0].cpu().numpy()), rate),
            "from-codes": (griffin_lim(decoded.numpy()), rate),
        }


def train_semantic(settings: SemanticSettings) -> Iterator[str]:
    """Train encoder and quantiser, or go on; yield lines that say what was done."""
    out, folder = resolve_path(settings, settings.out), resolve_path(settings, settings.cache)
    cache = Cache(folder, LAYERS)
    has_dev = any(item.split == "dev" for item in Cache(folder, LAYERS, ("train", "dev")).items)
    task = SemanticTask(settings, cache, Cache(folder, LAYERS, ("dev",)) if has_dev else None)
    plan = BatchPlan([task.crop_seconds] * len(task.crops), settings.budget, settings.seed)
    size = sum(weight.numel() for weight in task.model.encoder.parameters())
    yield (
        f"{counted(len(cache), 'recording')}, {len(task.crops)} crops; encoder "
        f"of {size / 1e6:.2f} M"
    )
    progress = run_loop(task, plan, settings, out, cache.fingerprint)
    yield f"{progress.step} of {counted(settings.steps, 'step')} done; log in {out}"


class Tally:
    """Count what the teaching decoder gets right, and which codes are used."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._right = self._known = 0
        self._agreed = self._frames = 0
        self._cents: list[Tensor] = []
        self._used = torch.zeros(SEMANTIC_SIZE, dtype=torch.int64)

    def add(
        self, made: Predicted, phones: Tensor, pitch: Tensor, voiced: Tensor, codes: Tensor
    ) -> None:
        """Add a batch; shapes as in :class:`Predicted` and its targets."""
        is_known = phones != IGNORED
        self._right += int((made.phones.argmax(-1) == phones)[is_known].sum())
        self._known += int(is_known.sum())
        self._agreed += int(((made.voiced > 0) == (voiced > 0.5)).sum())
        self._frames += voiced.numel()
        self._cents.append(1200 * (made.pitch - pitch)[voiced.amax(-1) > 0].cpu())
        self._used += torch.bincount(codes.flatten().cpu(), minlength=SEMANTIC_SIZE)

    def figures(self) -> dict[str, float]:
        """Return phone accuracy, voicing accuracy, pitch error in cents, and use of the codes."""
        share = self._used[self._used > 0] / self._used.sum().clamp_min(1)
        cents = torch.cat(self._cents) if self._cents else torch.zeros(0)
        return {
            "phone_accuracy": self._right / max(self._known, 1),
            "voicing_accuracy": self._agreed / max(self._frames, 1),
            "pitch_cents_median": float(cents.abs().median()) if len(cents) else 0.0,
            "codes_used": float(len(share)),
            "perplexity": float(torch.exp(-(share * share.log()).sum())),
        }


def griffin_lim(mel: npt.NDArray[np.float32], iterations: int = 32) -> npt.NDArray[np.float32]:
    """Return sound for a spectrogram; phases are found by Griffin and Lim's method (1984).

    Args:
        mel: as of ``whisper_log_mel``, shape ``(bins, t)``.
        iterations: of the method.

    Returns:
        float32 at 16 kHz, shape ``(160 * t,)``, peak 0.6.
    """
    import librosa

    filters = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=len(mel))
    power = 10.0 ** (4.0 * np.asarray(mel, dtype=np.float64) - 4.0)
    magnitude = np.sqrt(np.maximum(np.linalg.pinv(filters) @ power, 0.0))
    sound = librosa.griffinlim(
        magnitude, n_iter=iterations, hop_length=HOP, n_fft=N_FFT, random_state=0
    )
    fitted = librosa.util.fix_length(sound, size=HOP * mel.shape[1])
    scaled: npt.NDArray[np.float32] = (PEAK * fitted / max(np.abs(fitted).max(), 1e-9)).astype(
        np.float32
    )
    return scaled
