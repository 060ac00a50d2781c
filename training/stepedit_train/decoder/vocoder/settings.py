"""Settings of the vocoder stage."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder
from stepedit_train.loop import LoopSettings
from stepedit_train.settings import Settings

__all__ = [
    "VocoderSettings",
    "VocoderSizes",
]


class VocoderSizes(Settings):
    """Sizes of the networks; the rest of the vocoder's configuration keeps its defaults."""

    width: int = Field(default=256, ge=8)
    """Channels of the filter network."""
    mel_blocks: int = Field(default=3, ge=1)
    """Blocks at 50 Hz."""
    blocks: int = Field(default=4, ge=1)
    """Blocks at 100 Hz."""
    bands: int = Field(default=128, ge=8)
    """Coarse bands of the filters."""
    pitch_width: int = Field(default=128, ge=8)
    """Channels of the pitch predictor."""
    pitch_blocks: int = Field(default=4, ge=1)
    """Blocks of the pitch predictor."""
    pitch_classes: int = Field(default=240, ge=24)
    """Classes of pitch over four octaves."""
    voiced_noise: float = Field(default=1.0, ge=0, le=1)
    """Factor of the noise where speech is voiced, when it is used; training does without."""
    clear_from: float = Field(default=0.5, ge=0, lt=1)
    """Probability of voicing from which noise is lowered."""
    background: bool = False
    """Tell noise that is not the voice's apart; it is never lowered."""

    def build(self) -> HarmonicNoiseVocoder:
        """Return a vocoder of these sizes."""
        return HarmonicNoiseVocoder(**self.model_dump(exclude={"base"}))


class VocoderSettings(LoopSettings):
    """Settings of the vocoder stage; the budget is in seconds of audio."""

    scaled: ClassVar[tuple[str, ...]] = (*LoopSettings.scaled, "predicted_from")

    cache: Path
    """Folder that the data stage made, with the layers audio and prosody."""
    out: Path
    """Folder of the run."""
    sizes: VocoderSizes = VocoderSizes()
    """Sizes of the networks."""
    crop_frames: int = Field(default=50, ge=10)
    """Mel frames (20 ms each) in a training crop."""
    stft_sizes: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    """Samples of the transforms that are compared."""
    linear_weight: float = Field(default=0.5, ge=0)
    """Weight of the distance of linear magnitudes, beside 1 for that of log magnitudes."""
    mel_weight: float = Field(default=1.0, ge=0)
    """Weight of the mel's distance."""
    pitch_weight: float = Field(default=0.3, ge=0)
    """Weight of the cross entropy of pitch classes, where voiced."""
    voicing_weight: float = Field(default=0.3, ge=0)
    """Weight of the cross entropy of voicing."""
    predicted_share: float = Field(default=0.25, ge=0, le=1)
    """Items that are spoken with predicted pitch, once warmed up."""
    predicted_from: int = Field(default=1000, ge=0)
    """Step from which that happens."""
    blur_share: float = Field(default=0.5, ge=0, le=1)
    """Items whose mel is blurred and made noisy, as that of a decoder is, late in training."""
    blur_from: float = Field(default=0.6, ge=0, le=1)
    """Share of the steps after which that happens."""
    mel_noise: float = Field(default=0.2, ge=0)
    """Largest deviation of the noise on such mels, nepers."""
    noisy_share: float = Field(default=0.0, ge=0, le=1)
    """Items that noise is added to; pitch and voicing stay those of the clean recording."""
    snr_db: tuple[float, float] = (-3.0, 25.0)
    """Range of their signal-to-noise ratio, dB."""
    background_weight: float = Field(default=0.3, ge=0)
    """Weight of the cross entropy of the background's share, where the sizes have a background."""
    dev_items: int = Field(default=32, ge=1)
    """Recordings that validation looks at."""
    dev_frames: int = Field(default=150, ge=10)
    """Mel frames of each."""
