"""Harmonic-plus-noise vocoder: a pulse train and noise, filtered in the Fourier domain.

The excitation follows Wang et al., "Neural source-filter-based waveform models", 2019; the split
into a minimum-phase harmonic and a noise part, Morise et al., "WORLD", 2016; the network on
transform frames, Siuzdak, "Vocos", 2023. Before any training the filters are the mel's own
envelope, so that it speaks as a classical vocoder does; the network learns what that leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.decoder.convnext import ConvNeXtBlock
from stepedit_core.models.decoder.prosody import Prosody
from stepedit_core.models.decoder.recent import Recent
from stepedit_core.models.decoder.vocoder.envelope import (
    envelope_of_mel,
    minimum_phase,
    smoothed_mel,
    to_bins,
)
from stepedit_core.models.decoder.vocoder.excitation import phase_of, pulse_train
from stepedit_core.models.decoder.vocoder.harmonic_stream import FRAMES_PER_MEL, HarmonicNoiseStream
from stepedit_core.models.decoder.vocoder.moving import (
    lacking,
    mel_places,
    moved_pitch,
    points_of,
    recoloured,
)
from stepedit_core.models.decoder.vocoder.pitch import Pitch, PitchPredictor, decode_pitch
from stepedit_core.models.decoder.vocoder.protocol import SourceNoise
from stepedit_core.models.tokenizer.features import MelConfig

__all__ = ["Filters", "HarmonicNoiseVocoder"]

VOICED_LOGIT, APERIODIC_FALL = 4.0, 4.0
"""Start of training: harmonic share at 0 Hz where voiced, and how much less at the top, as
logits."""
TINY, GROWTH = 1e-12, 1e4
"""Least power that is divided by, and the most that harmonics grow by, where there are none."""
QUIET_LOGIT = -5.0
"""Start of training: the background's share of the power, as a logit."""
HARMONICS_APART = 300.0
"""Hz over which the mel of frames without voice is smoothed: harmonics of a voice up to this F0
would otherwise be left in the filter of the noise, and be heard as a pitch."""
MOST_PEAK = 4.0
"""Peak of speech that is made louder; a limiter comes after (`stepedit_core.llm_route.level`)."""
LOUDEST = 6.0
"""Largest log gain of a filter; keeps an untrained or misled network from overflowing."""


@dataclass(frozen=True)
class Filters:
    """What the excitations are multiplied by.

    Attributes:
        harmonic: complex ``(batch, bins, 2 * frames + 1)``.
        noise: of the voice: breath and friction; float32, same shape.
        background: of what is not the voice, same shape; None where it is not told apart.
    """

    harmonic: Tensor
    noise: Tensor
    background: Tensor | None = None

    @property
    def all_noise(self) -> Tensor:
        """Filter of a noise as strong as that of the voice and the background together."""
        return self.noise if self.background is None else torch.hypot(self.noise, self.background)


class HarmonicNoiseVocoder(nn.Module):
    """The vocoder; arguments are those of the configuration.

    Args:
        in_channels: mel bands.
        width: channels of the network.
        mel_blocks: ConvNeXt blocks at the mel's rate.
        blocks: ConvNeXt blocks at the transform's rate.
        bands: coarse bands in which filters are predicted.
        n_fft: samples of the transform; a multiple of 4.
        pitch_width: channels of the pitch predictor.
        pitch_blocks: its blocks.
        pitch_classes: its classes.
        sampling_rate: Hz.
        hop_size: samples per mel frame.
        mel_n_fft: samples of the mel's transform and window.
        fmax: upper edge of the mel, Hz.
        audio_limit: samples are clipped to it.
        voiced_noise: factor of the noise where speech is voiced; its power goes to the harmonics.
            Training by spectra with pitch labels that are now and then wrong leaves more noise
            than recordings have. Aperiodicity (D4C, Morise 2016) says how much; PESQ and DNSMOS
            of copies go on rising somewhat below the share where it is equal.
        clear_from: probability of voicing from which noise is lowered; fully at 1. Breath and
            laughter are voiced with less confidence than speech, and live by their noise.
        background: tell noise that is not the voice's apart; it stays as it is where that of the
            voice is lowered. Without this, noisy speech has its noise turned into harmonics.

    Raises:
        ValueError: if the hop is not even, or the factor of the noise is not within 0 to 1.
    """

    def __init__(
        self,
        in_channels: int = 80,
        width: int = 256,
        mel_blocks: int = 3,
        blocks: int = 4,
        bands: int = 128,
        n_fft: int = 960,
        pitch_width: int = 128,
        pitch_blocks: int = 4,
        pitch_classes: int = 240,
        sampling_rate: int = 24_000,
        hop_size: int = 480,
        mel_n_fft: int = 1_920,
        fmax: float = 8_000.0,
        audio_limit: float = 0.99,
        voiced_noise: float = 1.0,
        clear_from: float = 0.5,
        background: bool = False,
    ) -> None:
        super().__init__()
        if hop_size % FRAMES_PER_MEL:
            raise ValueError(f"hop_size {hop_size} is not even")
        if not 0 <= voiced_noise <= 1:
            raise ValueError(f"voiced_noise {voiced_noise} is not within 0 to 1")
        if not 0 <= clear_from < 1:
            raise ValueError(f"clear_from {clear_from} is not within 0 and 1")
        self.recent: Recent[tuple[Filters, Pitch]] | None = None
        self.recent_pitch: Recent[Pitch] | None = None
        """Of the last mel of one utterance and its reference, where an engine wants them kept."""
        self.voiced_noise, self.clear_from = voiced_noise, clear_from
        self.sample_rate, self.hop, self.limit = sampling_rate, hop_size, audio_limit
        self.n_fft, self.stft_hop, self.bands = n_fft, hop_size // FRAMES_PER_MEL, bands
        self.mel_config = MelConfig(
            sampling_rate, mel_n_fft, hop_size, mel_n_fft, in_channels, 0.0, fmax
        )
        self.pitch = PitchPredictor(in_channels, pitch_width, pitch_blocks, pitch_classes)
        self.enter = nn.Conv1d(in_channels, width, 5, padding=2)
        self.mel_blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(mel_blocks))
        self.upsample = nn.ConvTranspose1d(width, width, 3, FRAMES_PER_MEL)
        self.voice = nn.Linear(2, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * bands)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
        self.background = nn.Linear(width, bands) if background else None
        if self.background is not None:
            with torch.no_grad():
                self.background.weight.mul_(0.1)
                self.background.bias.fill_(QUIET_LOGIT)

    def fold_weight_norm(self) -> None:
        """Do nothing: there are no weight norms."""

    @staticmethod
    def normalised(mel: Tensor) -> Tensor:
        """Return a log mel at about zero mean and unit deviation."""
        return (mel + 6.0) / 2.5

    def predict_pitch(self, mel: Tensor) -> Pitch:
        """Return the pitch of mels ``(batch, bins, frames)``."""
        return decode_pitch(*self.pitch(self.normalised(mel)))

    def filters(self, mel: Tensor, pitch: Pitch) -> Filters:
        """Return the filters of mels ``(batch, bins, frames)`` spoken with a pitch."""
        return self.filters_and_background(mel, pitch)[0]

    def filters_and_background(self, mel: Tensor, pitch: Pitch) -> tuple[Filters, Tensor | None]:
        """Return filters, and the background's share of the power as logits ``(batch, bins, t)``.

        Args:
            mel: ``(batch, bins, frames)``.
            pitch: what the harmonics are spoken with.
        """
        x = self.enter(self.normalised(mel)).transpose(1, 2)
        for block in self.mel_blocks:
            x = block(x)
        x = self.upsample(x.transpose(1, 2)).transpose(1, 2)
        x = x + self.voice(torch.stack([torch.log2(pitch.hz / 160.0), pitch.voicing], dim=-1))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        gain, share, turn = self.head(x).transpose(1, 2).chunk(3, dim=1)
        spread = to_bins(self.bands, self.n_fft, self.sample_rate, mel.device)
        rise = torch.linspace(0, 1, len(spread), device=mel.device)[:, None]
        voiced = VOICED_LOGIT * (2 * pitch.voicing[:, None] - 1)
        logit = spread @ share + voiced - APERIODIC_FALL * rise
        level = envelope_of_mel(mel, self.mel_config, self.n_fft) + spread @ gain
        foreign = background = None
        if self.background is not None:
            foreign = spread @ self.background(x).transpose(1, 2)
            background = (level + 0.5 * F.logsigmoid(foreign)).clamp(max=LOUDEST).exp()
            level = level + 0.5 * F.logsigmoid(-foreign)
        harmonic = (level + 0.5 * F.logsigmoid(logit)).clamp(max=LOUDEST)
        noise = (level + 0.5 * F.logsigmoid(-logit)).clamp(max=LOUDEST)
        phase = minimum_phase(harmonic.detach()) + spread @ turn
        return Filters(torch.polar(harmonic.exp(), phase), noise.exp(), background), foreign

    def cleared(self, filters: Filters, pitch: Pitch) -> Filters:
        """Return filters with ``voiced_noise`` applied; training does without."""
        if self.voiced_noise == 1.0:
            return filters
        least = self.clear_from
        voiced = ((pitch.voicing[:, None] - least) / (1 - least)).clamp(min=0)
        noise = filters.noise * (1 - voiced * (1 - self.voiced_noise))
        power = filters.harmonic.abs().square()
        grown = (power + filters.noise.square() - noise.square()) / power.clamp_min(TINY)
        harmonic = filters.harmonic * grown.clamp(max=GROWTH).sqrt()
        return Filters(harmonic, noise, filters.background)

    def shaped(self, mel: Tensor, unvoiced: Tensor | None) -> Tensor:
        """Return mels ``(batch, bins, frames)`` without harmonics where there is to be no voice."""
        if unvoiced is None:
            return mel
        smooth = smoothed_mel(mel, self.mel_config, HARMONICS_APART)
        return torch.where(unvoiced[:, None], smooth, mel)

    @staticmethod
    def without_voice(filters: Filters, unvoiced: Tensor | None) -> Filters:
        """Return filters that give the harmonics' power to the noise in some frames.

        A whisper is noise through the same vocal tract (Morris and Clements, "Reconstruction of
        speech from whispers", 2002, who go the other way).

        Args:
            filters: of all frames.
            unvoiced: mel frames without voice, bool ``(batch, frames)``; None: none.
        """
        if unvoiced is None:
            return filters
        # What lies half-way to a neighbour without voice has none either.
        halves = unvoiced.repeat_interleave(FRAMES_PER_MEL, 1)
        silenced = (F.pad(halves, (0, 1)) | F.pad(halves, (1, 0)))[:, None]
        power = filters.noise.square() + filters.harmonic.abs().square()
        return Filters(
            filters.harmonic.masked_fill(silenced, 0.0),
            torch.where(silenced, power.sqrt(), filters.noise),
            filters.background,
        )

    def pulses(self, hz: Tensor, start: Tensor | float = 0.0) -> Tensor:
        """Return the harmonic excitation, ``(batch, hop * frames)``; start: phase in cycles."""
        phase = phase_of(hz, self.stft_hop, self.sample_rate, start)
        return pulse_train(phase, hz, self.stft_hop, self.sample_rate)

    def spectrum(self, signal: Tensor) -> Tensor:
        """Return the transform of signals ``(batch, n)``, complex ``(batch, bins, frames)``."""
        return torch.stft(
            signal,
            self.n_fft,
            self.stft_hop,
            window=torch.hann_window(self.n_fft, device=signal.device),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )

    def render(self, filters: Filters, pulses: Tensor, noise: Tensor) -> Tensor:
        """Filter the excitations, both ``(batch, hop * frames)``, to a waveform of that shape."""
        window = torch.hann_window(self.n_fft, device=pulses.device)
        spectrum = self.spectrum(pulses) * filters.harmonic
        spectrum = spectrum + self.spectrum(noise) * filters.all_noise
        wave: Tensor = torch.istft(
            spectrum, self.n_fft, self.stft_hop, window=window, length=pulses.shape[1]
        )
        return wave

    def draw(self, noise: Sequence[SourceNoise], frames: int) -> Tensor:
        """Draw the noise of a batch, ``(batch, hop * frames)``."""
        return torch.stack([one(frames * self.hop, 1)[:, 0] for one in noise])

    def moved(
        self,
        mel: Tensor,
        filters: Filters,
        pitch: Pitch,
        prosody: Sequence[Prosody | None],
        drawn: Tensor,
    ) -> tuple[Filters, Pitch]:
        """Return filters and pitch with what lacks of the prosody of each utterance.

        Args:
            mel: log-mel spectrograms ``(batch, bins, frames)``.
            filters: of them.
            pitch: of them.
            prosody: of each; None leaves one as it is.
            drawn: noise ``(batch, hop * frames)``, of which jitter is taken.
        """
        hz = pitch.hz.clone()
        harmonic, noise = list(filters.harmonic), list(filters.noise)
        background = None if filters.background is None else filters.background.clone()
        bin_hz = self.sample_rate / self.n_fft
        for at, own in enumerate(prosody):
            if own is None:
                continue
            old = self._pitch_of(own.reference[None])
            single = Pitch(pitch.hz[at : at + 1], pitch.voicing[at : at + 1])
            shift = lacking(own, mel[at], single, old, mel_places(self.mel_config, mel.device))
            inside = points_of(own.frames)
            random = F.pad(drawn[at, :: self.stft_hop], (0, 1))
            hz[at] = moved_pitch(hz[at], shift, inside, own.usual.jitter, random)
            harmonic[at], noise[at] = recoloured(
                harmonic[at], noise[at], single, shift, own, bin_hz
            )
            if background is not None:
                where = slice(None) if bool(inside.all()) else inside
                background[at, :, where] *= 10 ** (shift.level / 20)
        moved = Filters(torch.stack(harmonic), torch.stack(noise), background)
        return moved, Pitch(hz, pitch.voicing)

    def forward(
        self,
        mel: Tensor,
        noise: Tensor,
        unvoiced: Tensor | None = None,
        prosody: Sequence[Prosody | None] | None = None,
    ) -> Tensor:
        """Turn mels ``(batch, bins, frames)`` and noise into ``(batch, hop * frames)``.

        Args:
            mel: log-mel spectrograms.
            noise: `draw` gives it.
            unvoiced: frames without voice, bool ``(batch, frames)``; None: none.
            prosody: what each is moved to; None: none of them is.
        """
        mel = self.shaped(mel, unvoiced)
        if self.recent is None or len(mel) > 1:
            filters, pitch = self._unmoved(mel)
        else:
            filters, pitch = self.recent.of([mel], lambda: self._unmoved(mel))
        if prosody is not None:
            filters, pitch = self.moved(mel, filters, pitch, prosody, noise)
        filters = self.without_voice(filters, unvoiced)
        wave = self.render(filters, self.pulses(pitch.hz), noise)
        if prosody is None:
            return wave.clamp(-self.limit, self.limit)
        tops = wave.new_tensor([self.limit if own is None else MOST_PEAK for own in prosody])
        return torch.clamp(wave, -tops[:, None], tops[:, None])

    def _unmoved(self, mel: Tensor) -> tuple[Filters, Pitch]:
        """Return filters and pitch of mels as they are, ``(batch, bins, frames)``."""
        pitch = self.predict_pitch(mel)
        return self.cleared(self.filters(mel, pitch), pitch), pitch

    def _pitch_of(self, reference: Tensor) -> Pitch:
        """Return the pitch of a reference's mel ``(1, bins, frames)``."""
        if self.recent_pitch is None:
            return self.predict_pitch(reference)
        return self.recent_pitch.of([reference], lambda: self.predict_pitch(reference))

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        noise: Sequence[SourceNoise],
        unvoiced: Tensor | None = None,
        prosody: Sequence[Prosody | None] | None = None,
    ) -> Tensor:
        """Turn ``(batch, bins, frames)`` into float32 ``(batch, hop * frames)``."""
        drawn = self.draw(noise, mel.shape[2]).to(mel.device)
        wave: Tensor = self(mel.float(), drawn, unvoiced, prosody)
        return wave

    def stream(self, noise: SourceNoise) -> HarmonicNoiseStream:
        """Open a streaming session."""
        return HarmonicNoiseStream(self, noise)
