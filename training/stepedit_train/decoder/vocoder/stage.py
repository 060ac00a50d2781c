"""The vocoder stage: teach filters and pitch to speak a mel spectrogram."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.errors import counted
from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder
from stepedit_core.models.decoder.vocoder.pitch import Pitch, decode_pitch, pitch_place
from stepedit_train.batching import BatchPlan
from stepedit_train.checkpoints import seed_everything
from stepedit_train.corruption import blurred, noise_for
from stepedit_train.data.cache import AUDIO_RATE, Cache
from stepedit_train.decoder.vocoder.crops import VocoderBatch, cut, stack_crops
from stepedit_train.decoder.vocoder.distance import background_loss, energy_distance, spectra_of
from stepedit_train.decoder.vocoder.settings import VocoderSettings
from stepedit_train.loop import Losses, Task, run_loop
from stepedit_train.seeds import rng_of
from stepedit_train.settings import resolve_path

__all__ = [
    "LAYERS",
    "VocoderSettings",
    "VocoderTask",
    "train_vocoder",
]

FloatArray = npt.NDArray[np.float32]

LAYERS = ("audio", "prosody")
SPREAD = 1.25
"""Deviation of the pitch target, in classes."""


class VocoderTask(Task):
    """Crops of the cache and the energy distance of what the vocoder says.

    Args:
        settings: of the stage.
        cache: recordings to train on.
        dev: recordings to validate on, or None.
    """

    model: HarmonicNoiseVocoder

    def __init__(self, settings: VocoderSettings, cache: Cache, dev: Cache | None) -> None:
        self.settings, self.cache, self.dev = settings, cache, dev
        seed_everything(settings.seed)
        self.model = settings.sizes.build()
        self.config = self.model.mel_config
        self.crop_seconds = settings.crop_frames * self.model.hop / AUDIO_RATE
        # A long recording is seen once for each crop that it holds.
        counts = [max(1, round(item.audio_seconds / self.crop_seconds)) for item in cache.items]
        self.crops = np.repeat(np.arange(len(cache)), counts).tolist()

    def batch(self, indices: Sequence[int], step: int) -> tuple[VocoderBatch, int]:
        """Return random crops with a random gain, and the step."""
        rng = rng_of(self.settings.seed, "crop", step)
        frames, crops = self.settings.crop_frames, []
        for index in (self.crops[i] for i in indices):
            slack = len(self.cache.audio(index)) - frames * self.model.hop
            start = int(rng.integers(0, max(slack, 0) + 1))
            gain = 10 ** (rng.uniform(-12, 0) / 20)
            added = self._added(rng)
            crops.append(cut(self.cache, index, start, frames, gain, self.config, added))
        return stack_crops(crops), step

    def _added(self, rng: np.random.Generator) -> Callable[[FloatArray], FloatArray]:
        """Return the noise that a crop gets; without a share for noise nothing is drawn."""
        own = self.settings
        if own.noisy_share > 0 and rng.random() < own.noisy_share:
            return lambda speech: noise_for(speech, rng, own.snr_db, AUDIO_RATE)
        return np.zeros_like

    def _pitch_losses(self, classes: Tensor, voicing: Tensor, batch: VocoderBatch) -> list[Tensor]:
        """Return cross entropies of pitch and voicing; in between, a frame is not asked about."""
        count = classes.shape[-1]
        place = pitch_place(batch.hz, count)[..., None]
        target = torch.softmax(
            -0.5 * ((torch.arange(count, device=place.device) - place) / SPREAD).square(), dim=-1
        )
        entropy = -(target * classes.log_softmax(-1)).sum(-1)
        pitch = (entropy * batch.steady).sum() / batch.steady.sum().clamp_min(1.0)
        return [pitch, F.binary_cross_entropy_with_logits(voicing, batch.voicing)]

    def _spoken(
        self, mel: Tensor, pitch: Pitch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return two draws of every item, ``(2, b, n)``, and the logits of the background.

        The draws differ in noise and first phase.
        """
        filters, foreign = self.model.filters_and_background(mel, pitch)
        shape = (2, len(mel), mel.shape[2] * self.model.hop)
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(mel.device)
        start = torch.from_numpy(rng.uniform(0, 1, (2, len(mel), 1))).to(mel.device)
        draws = [
            self.model.render(filters, self.model.pulses(pitch.hz, start[draw]), noise[draw])
            for draw in range(2)
        ]
        return torch.stack(draws), foreign

    def _distance(self, batch: VocoderBatch, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """Return the energy distance of two draws ``(b, n)`` from the recordings."""
        wanted, one, two = (
            spectra_of(wave, self.settings.stft_sizes, self.config)
            for wave in (batch.wave, first, second)
        )
        return energy_distance(wanted, one, two, batch.source_rate, AUDIO_RATE)

    def _inputs(
        self, batch: VocoderBatch, step: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return mels, and which items are spoken with predicted pitch, ``(b, 1)``."""
        own, mel = self.settings, batch.mel
        uses_predicted = torch.from_numpy(rng.random((len(mel), 1)) < own.predicted_share)
        if step < own.predicted_from:
            uses_predicted[:] = False
        if step >= own.blur_from * own.steps and own.blur_share > 0:
            worse = blurred(mel.cpu(), rng, own.mel_noise).to(mel.device)
            is_worse = torch.from_numpy(rng.random((len(mel), 1, 1)) < own.blur_share)
            mel = torch.where(is_worse.to(mel.device), worse, mel)
        return mel, uses_predicted.to(mel.device)

    def loss(self, batch: tuple[VocoderBatch, int]) -> Losses:
        """Return the energy distance and the losses of pitch and voicing."""
        crops, step = self.moved(batch[0]), batch[1]
        own = self.settings
        rng = rng_of(own.seed, "speak", step)
        mel, uses_predicted = self._inputs(crops, step, rng)
        classes, voicing = self.model.pitch(self.model.normalised(mel))
        pitch_loss, voicing_loss = self._pitch_losses(classes, voicing, crops)
        guess = decode_pitch(classes.detach(), voicing.detach())
        pitch = Pitch(
            torch.where(uses_predicted, guess.hz, crops.hz),
            torch.where(uses_predicted, guess.voicing, crops.voicing),
        )
        (first, second), foreign = self._spoken(mel, pitch, rng)
        far = self._distance(crops, first, second)
        total = far["log"] + own.linear_weight * far["linear"] + own.mel_weight * far["mel"]
        total = total + own.pitch_weight * pitch_loss + own.voicing_weight * voicing_loss
        parts = {name: value.item() for name, value in far.items()}
        parts |= {"pitch": pitch_loss.item(), "voicing": voicing_loss.item()}
        if foreign is not None:
            apart = background_loss(self.model, foreign, crops.wave, crops.noise)
            total = total + own.background_weight * apart
            parts["background"] = apart.item()
        return Losses(total, parts)

    def _dev_crop(self, index: int) -> VocoderBatch:
        assert self.dev is not None
        audio = len(self.dev.audio(index)) // self.model.hop
        frames = min(self.settings.dev_frames, audio)
        start = max(0, (audio - frames) // 2) * self.model.hop
        return self.moved(cut(self.dev, index, start, frames, 1.0, self.config))

    def _dev_figures(self, index: int) -> dict[str, float]:
        """Return the figures of one recording, spoken with its predicted pitch."""
        batch = self._dev_crop(index)
        rng = rng_of(self.settings.seed, "dev", index)
        pitch = self.model.predict_pitch(batch.mel)
        (first, second), _ = self._spoken(batch.mel, pitch, rng)
        figures = self._distance(batch, first, second)
        out = {name: float(value) for name, value in figures.items()}
        out["voicing_accuracy"] = float(
            ((pitch.voicing > 0.5) == (batch.voicing > 0.5)).float().mean()
        )
        is_steady = batch.steady > 0
        if bool(is_steady.any()):
            cents = 1200 * torch.log2(pitch.hz / batch.hz)[is_steady].abs()
            out["pitch_cents_median"] = float(cents.median())
            out["pitch_off_by_half_tone"] = float((cents > 50).float().mean())
        return out

    def validate(self) -> Mapping[str, float]:
        """Return mean figures on recordings of speakers not trained on."""
        if self.dev is None:
            return {}
        count = min(self.settings.dev_items, len(self.dev))
        chosen = np.linspace(0, len(self.dev) - 1, count).astype(int)
        rows = [self._dev_figures(int(index)) for index in chosen]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def samples(self) -> Mapping[str, tuple[FloatArray, int]]:
        """Return the first and the last validation recording, as they are and as spoken."""
        if self.dev is None:
            return {}
        out = {}
        for name, index in (("first", 0), ("last", len(self.dev) - 1)):
            batch = self._dev_crop(index)
            rng = rng_of(self.settings.seed, "dev", index)
            wave = self._spoken(batch.mel, self.model.predict_pitch(batch.mel), rng)[0][0, 0]
            out[f"{name}-recording"] = (batch.wave[0].cpu().numpy(), AUDIO_RATE)
            out[f"{name}-spoken"] = (wave.clamp(-0.99, 0.99).cpu().numpy(), AUDIO_RATE)
        return out


def train_vocoder(settings: VocoderSettings) -> Iterator[str]:
    """Train the vocoder, or go on; yield lines that say what was done."""
    out, folder = resolve_path(settings, settings.out), resolve_path(settings, settings.cache)
    cache = Cache(folder, LAYERS)
    has_dev = any(item.split == "dev" for item in Cache(folder, LAYERS, ("train", "dev")).items)
    task = VocoderTask(settings, cache, Cache(folder, LAYERS, ("dev",)) if has_dev else None)
    plan = BatchPlan([task.crop_seconds] * len(task.crops), settings.budget, settings.seed)
    size = sum(weight.numel() for weight in task.model.parameters())
    yield (
        f"{counted(len(cache), 'recording')}, {len(task.crops)} crops; vocoder "
        f"of {size / 1e6:.2f} M"
    )
    progress = run_loop(task, plan, settings, out, cache.fingerprint)
    yield f"{progress.step} of {counted(settings.steps, 'step')} done; log in {out}"
