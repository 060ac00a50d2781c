"""The decoder: token indices and a reference voice to a 24 kHz waveform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepedit_core.errors import EngineError
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.checkpoint import Flow, read_decoder
from stepedit_core.models.decoder.flow import (
    FlowInput,
    FlowNoise,
    align_mel,
    pad_mel,
    token_rows,
)
from stepedit_core.models.decoder.prosody import Prosody
from stepedit_core.models.decoder.recent import Recent
from stepedit_core.models.decoder.vocoder import SeededSourceNoise, SourceNoise, Vocoder

__all__ = ["DecodeInput", "Decoder", "Reference"]

PromptDtype = Literal["bf16", "fp32"]
FloatArray = npt.NDArray[np.float32]
Tokens = Sequence[int] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    """The voice to speak with, from one recording.

    Attributes:
        tokens: token indices of the recording, int64 ``(n,)``, the ``N`` of ``<audio_N>``.
        mel: log-mel spectrogram at 24 kHz and 50 frames per second, float32 ``(t, bins)``.
        embedding: speaker vector, float32 ``(size,)``.
    """

    tokens: npt.NDArray[np.int64]
    mel: FloatArray
    embedding: FloatArray


@dataclass(frozen=True)
class DecodeInput:
    """One utterance to decode.

    Attributes:
        tokens: generated token indices.
        reference: the voice.
        seed: seed of the flow's noise and of the vocoder's source.
        flow_noise: explicit flow noise instead of the seed.
        source_noise: explicit source noise instead of the seed.
        source_map: where the tokens lie in the reference, for flows that were trained with maps.
    """

    tokens: Tokens
    reference: Reference
    seed: int = 0
    flow_noise: FlowNoise | None = None
    source_noise: SourceNoise | None = None
    source_map: SourceMap | None = None


class Decoder:
    """Flow and vocoder of one checkpoint on one device.

    The flow runs in the dtype it was loaded in, its solver state and the vocoder in float32.
    Decoding does not change the object; threads may share it.
    """

    def __init__(
        self,
        flow: Flow,
        vocoder: Vocoder,
        *,
        mel_config: Mapping[str, Any] | None = None,
        n_steps: int = 10,
        prompt_dtype: PromptDtype = "bf16",
    ) -> None:
        """Put the parts together.

        Args:
            flow: tokens to mel.
            vocoder: mel to waveform.
            mel_config: the checkpoint's mel settings, for whoever computes reference mels.
            n_steps: Euler steps of the flow.
            prompt_dtype: ``bf16`` rounds the reference's mel and speaker vector to bfloat16, as
                the public system does on every device; ``fp32`` leaves them.
        """
        self.flow, self.vocoder = flow, vocoder
        self.mel_config = dict(mel_config or {})
        self.n_steps, self.prompt_dtype = n_steps, prompt_dtype

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        n_steps: int = 10,
        prompt_dtype: PromptDtype = "bf16",
        fold: bool = True,
    ) -> Decoder:
        """Load ``cosyvoice.yaml``, ``flow`` and ``hift`` weights from a folder.

        Args:
            folder: the ``CosyVoice-300M-25Hz`` folder, or the checkpoint folder around it.
            device: where to run.
            dtype: of the flow; the vocoder is always float32.
            n_steps: Euler steps of the flow.
            prompt_dtype: see the constructor.
            fold: multiply the vocoder's weight norms out, which is faster; False keeps it
                trainable as it was trained.

        Raises:
            CheckpointError: if a file is missing, damaged, of another model, or refused.
        """
        flow, vocoder, mel_config = read_decoder(Path(folder), device, dtype, fold)
        return cls(flow, vocoder, mel_config=mel_config, n_steps=n_steps, prompt_dtype=prompt_dtype)

    @property
    def device(self) -> torch.device:
        """Device of the flow."""
        return self.flow.device

    @property
    def sample_rate(self) -> int:
        """Rate of the waveforms, Hz."""
        return self.vocoder.sample_rate

    def keep_recent(self) -> None:
        """Keep what the last utterance was made from, for the next strength of the same edit.

        For weights that do not change any more. Flows and vocoders that keep nothing go on as
        they are.
        """
        for part in (self.flow, self.vocoder):
            for name in ("recent", "recent_pitch"):
                if hasattr(part, name):
                    setattr(part, name, Recent())

    def forget(self) -> None:
        """Keep nothing of the last utterance."""
        for part in (self.flow, self.vocoder):
            for name in ("recent", "recent_pitch"):
                kept = getattr(part, name, None)
                if kept is not None:
                    kept.clear()

    def compile(self, backend: str = "inductor") -> None:
        """Compile the flow's solver for variable lengths; meant for CUDA.

        The first calls after this are slow. Streams keep using the eager form.
        """
        self.flow.compile_solver(backend)

    def decode(
        self,
        tokens: Tokens,
        reference: Reference,
        *,
        seed: int = 0,
        n_steps: int | None = None,
        flow_noise: FlowNoise | None = None,
        source_noise: SourceNoise | None = None,
    ) -> FloatArray:
        """Decode one utterance.

        Args:
            tokens: generated token indices 0..5119; an incomplete last group is filled up.
            reference: the voice.
            seed: seed of both random sources.
            n_steps: Euler steps; None takes the decoder's.
            flow_noise: explicit flow noise instead of the seed.
            source_noise: explicit source noise instead of the seed.

        Returns:
            float32 samples at `sample_rate`, 2880 per group of five tokens at 24 kHz.

        Raises:
            EngineError: if there are no tokens, a token is out of range, or the reference does
                not fit the checkpoint.
        """
        item = DecodeInput(tokens, reference, seed, flow_noise, source_noise)
        return self.decode_batch([item], n_steps=n_steps)[0]

    def decode_batch(
        self, items: Sequence[DecodeInput], *, n_steps: int | None = None
    ) -> list[FloatArray]:
        """Decode many utterances; each result equals that of `decode`, up to rounding."""
        return [wave for wave, _ in self.speak(items, n_steps=n_steps)]

    def speak(
        self, items: Sequence[DecodeInput], *, n_steps: int | None = None
    ) -> list[tuple[FloatArray, FloatArray]]:
        """Decode many utterances; return waveform and log mel ``(frames, bins)`` of each.

        The flow runs all of them in one padded pass; the vocoder runs those of equal length
        together.
        """
        if not items:
            return []
        inputs = [self._flow_input(item) for item in items]
        mels = self.flow.generate(inputs, self._steps(n_steps))
        heard = self._voiced(items, inputs, mels)
        return [
            (wave, np.ascontiguousarray(mel.float().cpu().numpy().T))
            for wave, mel in zip(heard, mels, strict=True)
        ]

    def mels(self, items: Sequence[DecodeInput]) -> list[Tensor]:
        """Return the log mels of utterances, ``(bins, frames)`` each: what the flow gives."""
        return self.flow.generate([self._flow_input(item) for item in items], self.n_steps)

    def voiced(self, items: Sequence[DecodeInput], mels: Sequence[Tensor]) -> list[FloatArray]:
        """Return the waveforms of mels ``(bins, frames)``: what the vocoder gives.

        Args:
            items: that the mels were made of, or parts of these.
            mels: with ``flow.factor`` frames for each token row of an item.
        """
        return self._voiced(items, [self._flow_input(item) for item in items], mels)

    def _voiced(
        self, items: Sequence[DecodeInput], inputs: Sequence[FlowInput], mels: Sequence[Tensor]
    ) -> list[FloatArray]:
        """Run the vocoder over mels, those of equal length together."""
        waves: list[FloatArray | None] = [None] * len(items)
        by_length: dict[int, list[int]] = {}
        for index, mel in enumerate(mels):
            by_length.setdefault(mel.shape[1], []).append(index)
        for indices in by_length.values():
            noise = [
                items[index].source_noise or SeededSourceNoise(items[index].seed)
                for index in indices
            ]
            batch = self.vocoder.synthesize(
                torch.stack([mels[i] for i in indices]),
                noise,
                self._unvoiced([items[i] for i in indices], mels[indices[0]].shape[1]),
                self._prosody([inputs[i] for i in indices]),
            )
            for index, wave in zip(indices, batch.float().cpu(), strict=True):
                waves[index] = wave.numpy().copy()
        return cast("list[FloatArray]", waves)

    def _unvoiced(self, items: Sequence[DecodeInput], frames: int) -> Tensor | None:
        """Return which frames of utterances of one length are spoken without voice."""
        rows = frames // self.flow.factor
        found = [self.flow.unvoiced(item.source_map, rows) for item in items]
        if all(one is None for one in found):
            return None
        voiced = torch.zeros(frames, dtype=torch.bool, device=self.device)
        return torch.stack([voiced if one is None else one for one in found])

    def _prosody(self, inputs: Sequence[FlowInput]) -> list[Prosody | None] | None:
        """Return what the prosody of utterances is moved to; None where nobody's is."""
        found = [
            self.flow.prosody(item.source_map, len(item.rows), item.prompt_mel) for item in inputs
        ]
        return None if all(one is None for one in found) else found

    def _steps(self, n_steps: int | None) -> int:
        """Return the number of Euler steps of one call."""
        return self.n_steps if n_steps is None else n_steps

    def _flow_input(self, item: DecodeInput) -> FlowInput:
        """Lay one utterance out for the flow."""
        rows = token_rows(item.tokens)
        if not len(rows):
            raise EngineError("decoder: there are no audio tokens to decode; generate some first")
        prompt_rows, mel, speaker = self.prepare(item.reference)
        noise = item.flow_noise or FlowNoise(item.seed, self.flow.bins)
        return FlowInput(prompt_rows, rows, mel, speaker, noise, item.source_map)

    def prepare(self, reference: Reference) -> tuple[Tensor, Tensor, Tensor]:
        """Check a reference and bring it onto the flow's time grid.

        Returns:
            Token rows int64 ``(p, 2)``, mel float32 ``(2 * p, bins)`` and speaker vector float32
            ``(size,)``, the last two rounded as `prompt_dtype` says.

        Raises:
            EngineError: if a shape does not fit the checkpoint, or a value is not finite.
        """
        rows = token_rows(reference.tokens)
        mel = torch.from_numpy(np.asarray(reference.mel, dtype=np.float32))
        speaker = torch.from_numpy(np.asarray(reference.embedding, dtype=np.float32)).reshape(-1)
        if mel.ndim != 2 or mel.shape[1] != self.flow.bins:
            raise EngineError(
                f"decoder: the reference mel must have shape (frames, {self.flow.bins}), not "
                f"{tuple(mel.shape)}"
            )
        if len(speaker) != self.flow.speaker_size:
            raise EngineError(
                f"decoder: the speaker vector has {len(speaker)} values and this checkpoint wants "
                f"{self.flow.speaker_size}; use the speaker model of the same checkpoint"
            )
        if not (torch.isfinite(mel).all() and torch.isfinite(speaker).all()):
            raise EngineError("decoder: the reference's mel or speaker vector is not finite")
        if self.prompt_dtype == "bf16":
            mel, speaker = mel.bfloat16().float(), speaker.bfloat16().float()
        frames = len(rows) * self.flow.factor
        fit = pad_mel if self.flow.aligned_reference else align_mel
        return rows, fit(mel, frames), speaker
