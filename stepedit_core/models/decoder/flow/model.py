"""The flow: token rows, reference mel and speaker to a mel spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.flow.embedding import DualCodebookEmbedding
from stepedit_core.models.decoder.flow.encoder import EncoderCache, UpsampleConformerEncoderV2
from stepedit_core.models.decoder.flow.matching import CausalConditionalCFM, FlowCache
from stepedit_core.models.decoder.flow.noise import FlowNoise
from stepedit_core.models.decoder.prosody import Prosody

__all__ = ["CausalMaskedDiffWithXvec", "FlowInput", "FlowStreamCache"]

NEWEST_FRAMES = 96
"""Generated frames (1.92 s) that a stream's attention keeps beside the prompt."""


@dataclass(frozen=True)
class FlowInput:
    """One utterance for the flow.

    Attributes:
        prompt_rows: int64 ``(p, 2)``, the reference's token rows.
        rows: int64 ``(g, 2)``, the rows to be spoken.
        prompt_mel: float ``(2 * p, bins)``, the reference's mel on the tokens' time grid.
        speaker: float ``(speaker_size,)``.
        noise: the starting noise.
        source_map: where the rows lie in the reference, for decoders that were trained with maps.
    """

    prompt_rows: Tensor
    rows: Tensor
    prompt_mel: Tensor
    speaker: Tensor
    noise: FlowNoise
    source_map: SourceMap | None = None


@dataclass
class FlowStreamCache:
    """What a stream carries from chunk to chunk."""

    encoder: EncoderCache
    solver: FlowCache
    speaker: Tensor
    prompt_frames: int


class CausalMaskedDiffWithXvec(nn.Module):
    """The checkpoint's flow; names and arguments follow its configuration."""

    def __init__(
        self,
        encoder: UpsampleConformerEncoderV2,
        decoder: CausalConditionalCFM,
        input_embedding: DualCodebookEmbedding,
        input_size: int = 512,
        output_size: int = 80,
        spk_embed_dim: int = 192,
        output_type: str = "mel",
        vocab_size: int = 5121,
        start_from_mean: bool = False,
        aligned_reference: bool = False,
    ) -> None:
        """Put the parts together.

        Args:
            encoder: token encoder.
            decoder: flow-matching solver.
            input_embedding: embedding of both codebooks.
            input_size: width of an embedded step.
            output_size: mel bins.
            spk_embed_dim: size of the speaker vector.
            output_type: must be ``mel``.
            vocab_size: rows of the embedding.
            start_from_mean: add the encoder's mel prediction to the starting noise, so that the
                solver only has to travel the rest; for models trained that way. The public
                checkpoint is not.
            aligned_reference: lay the reference's mel on its tokens' time grid from where they
                begin, as the training stage does. Without it the whole mel is resized to their
                length, as in the public system.

        Raises:
            ValueError: if ``output_type`` is not ``mel``.
        """
        super().__init__()
        if output_type != "mel":
            raise ValueError(f"output_type {output_type!r} is not supported, only 'mel'")
        self.bins, self.speaker_size = output_size, spk_embed_dim
        self.input_size, self.vocab_size = input_size, vocab_size
        self.start_from_mean, self.aligned_reference = start_from_mean, aligned_reference
        self.input_embedding = input_embedding
        self.spk_embed_affine_layer = nn.Linear(spk_embed_dim, output_size)
        self.encoder = encoder
        self.encoder_proj = nn.Linear(encoder.width, output_size)
        self.decoder = decoder

    @property
    def factor(self) -> int:
        """Mel frames per token row."""
        return self.encoder.factor

    @property
    def lookahead(self) -> int:
        """Token rows that a stream's chunk needs beyond its own."""
        return self.encoder.lookahead

    def unvoiced(self, source_map: SourceMap | None, rows: int, first: int = 0) -> Tensor | None:
        """Return None: what is spoken without voice is said by the codes alone."""
        return None

    @property
    def moved_labels(self) -> frozenset[str]:
        """Labels that the decoder carries out by itself: none."""
        return frozenset()

    def prosody(self, source_map: SourceMap | None, rows: int, reference: Tensor) -> Prosody | None:
        """Return None: pitch and level are said by the codes alone."""
        return None

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder_proj.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.encoder_proj.weight.dtype

    def project_speaker(self, speaker: Tensor) -> Tensor:
        """Project unit speaker vectors: ``(batch, speaker_size)`` to ``(batch, bins)``."""
        unit = F.normalize(speaker.to(self.device).float(), dim=1)
        return self.spk_embed_affine_layer(unit.to(self.dtype))  # type: ignore[no-any-return]

    def predict_mean(self, rows: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode whole sequences of rows ``(batch, steps, 2)`` to ``(batch, bins, frames)``.

        This is the condition of the solver; with ``start_from_mean`` it is also trained to be a
        mel spectrogram by itself.
        """
        hidden = self.encoder(self.input_embedding(rows), lengths)
        return self.encoder_proj(hidden).transpose(1, 2)  # type: ignore[no-any-return]

    def start(self, noise: Tensor, mu: Tensor) -> Tensor:
        """Return where the solver starts: the noise, or the noise around the predicted mean."""
        noise = noise.to(mu.device)
        return noise + mu.to(noise.dtype) if self.start_from_mean else noise

    def compile_solver(self, backend: str) -> None:
        """Compile the velocity estimator for variable lengths."""
        self.decoder.estimator.compile(dynamic=True, backend=backend)

    @torch.inference_mode()
    def generate(self, inputs: Sequence[FlowInput], n_steps: int = 10) -> list[Tensor]:
        """Generate mel spectrograms for one or many utterances in one pass.

        Utterances of different lengths are padded and masked; each result equals that of the
        utterance alone (up to rounding).

        Args:
            inputs: the utterances.
            n_steps: Euler steps.

        Returns:
            For each utterance float32 ``(bins, 2 * g)``: the frames after the reference's.
        """
        device = self.device
        rows = [torch.cat([item.prompt_rows, item.rows]) for item in inputs]
        lengths = torch.tensor([len(row) for row in rows])
        padded = bool((lengths != lengths[0]).any())
        factor = self.encoder.factor
        mu = self.predict_mean(
            pad_sequence(rows, batch_first=True).to(device),
            lengths.to(device) if padded else None,
        )
        frames = mu.shape[2]
        cond = torch.zeros(len(inputs), frames, self.bins, dtype=torch.float32)
        noise = torch.zeros(len(inputs), self.bins, frames)
        for index, item in enumerate(inputs):
            cond[index, : len(item.prompt_mel)] = item.prompt_mel
            own = len(rows[index]) * factor
            noise[index, :, :own] = item.noise.columns(0, own)[0]
        mask = torch.arange(frames) < (lengths * factor)[:, None] if padded else None
        mel = self.decoder(
            self.start(noise, mu),
            mu,
            self.project_speaker(torch.stack([item.speaker for item in inputs])),
            cond.to(device, self.dtype).transpose(1, 2),
            n_steps,
            None if mask is None else mask.to(device),
        )
        return [
            mel[index, :, len(item.prompt_mel) : len(rows[index]) * factor]
            for index, item in enumerate(inputs)
        ]

    @torch.inference_mode()
    def open_stream(
        self,
        prompt_rows: Tensor,
        lookahead_rows: Tensor,
        prompt_mel: Tensor,
        speaker: Tensor,
        noise: FlowNoise,
        n_steps: int,
        encoder_limit: int | None,
        source_map: SourceMap | None = None,
    ) -> FlowStreamCache:
        """Run the reference through the flow and keep its caches.

        Args:
            prompt_rows: int64 ``(p, 2)``.
            lookahead_rows: int64 ``(lookahead, 2)``, the first generated rows.
            prompt_mel: float ``(2 * p, bins)``.
            speaker: float ``(speaker_size,)``.
            noise: the starting noise.
            n_steps: Euler steps; the same for the whole stream.
            encoder_limit: steps of past that the encoder keeps; None keeps all.
            source_map: not used.
        """
        cache = FlowStreamCache(
            self.encoder.empty_cache(encoder_limit),
            self.decoder.empty_cache(n_steps),
            self.project_speaker(speaker.unsqueeze(0)),
            len(prompt_mel),
        )
        if len(prompt_rows):
            rows = torch.cat([prompt_rows, lookahead_rows])
            self._run_chunk(rows, prompt_mel, cache, noise, last=False)
        return cache

    @torch.inference_mode()
    def generate_chunk(
        self, rows: Tensor, cache: FlowStreamCache, noise: FlowNoise, last: bool
    ) -> Tensor:
        """Generate the next chunk of a stream and extend its caches in place.

        Args:
            rows: int64 ``(steps + lookahead, 2)``; on the last chunk all rows are spoken.
            cache: from `open_stream`.
            noise: the starting noise. As in the public code its offset is the length of the
                attention's cache, so columns come again once the cache has been shortened.
            last: whether nothing follows.

        Returns:
            float32 ``(bins, 2 * steps)``.
        """
        mel = self._run_chunk(rows, None, cache, noise, last)
        for step in cache.solver:
            step.shorten(NEWEST_FRAMES, cache.prompt_frames)
        return mel

    def _run_chunk(
        self,
        rows: Tensor,
        prompt_mel: Tensor | None,
        cache: FlowStreamCache,
        noise: FlowNoise,
        last: bool,
    ) -> Tensor:
        """Encode and solve one chunk."""
        embedded = self.input_embedding(rows.unsqueeze(0).to(self.device))
        hidden = self.encoder.forward_chunk(embedded, cache.encoder, last)
        mu = self.encoder_proj(hidden).transpose(1, 2)
        cond = torch.zeros_like(mu)
        if prompt_mel is not None:
            cond = prompt_mel.t().unsqueeze(0).to(mu)
        start = cache.solver[0].frames
        columns = noise.columns(start, start + mu.shape[2])
        return self.decoder(  # type: ignore[no-any-return]
            self.start(columns, mu), mu, cache.speaker, cond, len(cache.solver), None, cache.solver
        )[0]
