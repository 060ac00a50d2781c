"""A mel decoder that looks the voice up in its reference.

The public decoder lays reference and target out in one sequence and lets self-attention carry the
voice over; that takes much training. Here every target frame asks the reference directly: the query
is what the target's tokens say around it, the keys are what the reference's tokens say, the values
its mel. Attention has no positions, so content decides; with ``lag``, what lies on the best
monotonic path through the reference is preferred (`monotone`). Where an edit keeps what was said,
the sound of the source is found again; where nothing fits, tokens and speaker vector have to do.

It predicts the mel spectrogram itself (by least absolute error in training) and draws no noise: the
"mean" of a flow that has not been trained yet. Same place and same calls as
`CausalMaskedDiffWithXvec`; a documented choice of ``cosyvoice.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.models.convnext import ConvNeXtBlock, masked, time_mask
from stepedit_core.models.flow.lookup import ReferenceAttention, RowEmbedding
from stepedit_core.models.flow.model import FlowInput
from stepedit_core.models.flow.monotone import Walk, Walked
from stepedit_core.models.flow.noise import FlowNoise

__all__ = ["MelBatch", "ReferencedMelDecoder", "ReferencedStreamCache"]

MEL_CENTRE, MEL_SCALE = -5.0, 3.0
"""Log-mel values are about -11.5 to 2; inside they are brought to about -2 to 2."""
FACTOR = 2
"""Mel frames (20 ms) per token row (40 ms)."""


@dataclass(frozen=True)
class MelBatch:
    """Padded input of one pass.

    Attributes:
        rows: int64 ``(batch, n, 2)``, what is to be spoken.
        lengths: int64 ``(batch,)``, rows of each.
        prompt_rows: int64 ``(batch, p, 2)``, the reference's token rows.
        prompt_lengths: int64 ``(batch,)``.
        prompt_mel: float ``(batch, 2 * p, bins)``, on the tokens' time grid.
        speaker: float ``(batch, speaker_size)``.
    """

    rows: Tensor
    lengths: Tensor
    prompt_rows: Tensor
    prompt_lengths: Tensor
    prompt_mel: Tensor
    speaker: Tensor


@dataclass
class ReferencedStreamCache:
    """What a stream carries from chunk to chunk: the reference, and rows that convolutions need."""

    prompt_rows: Tensor
    prompt_mel: Tensor
    speaker: Tensor
    past: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.int64))
    walked: Walked | None = None


class ReferencedMelDecoder(nn.Module):
    """Token rows, reference mel and speaker to a mel spectrogram, in one pass."""

    aligned_reference = True
    """The reference's mel must lie on its tokens' time grid exactly."""
    factor = FACTOR

    def __init__(
        self,
        width: int = 192,
        token_blocks: int = 4,
        reference_blocks: int = 2,
        mel_blocks: int = 6,
        heads: int = 4,
        kernel: int = 7,
        expansion: int = 3,
        output_size: int = 80,
        spk_embed_dim: int = 256,
        levels: Sequence[int] = (8, 8, 8, 8),
        lag: int = 0,
    ) -> None:
        """Make the layers.

        Args:
            width: channels.
            token_blocks: blocks over tokens, 25 Hz, shared by target and reference.
            reference_blocks: blocks over the reference's mel, 50 Hz.
            mel_blocks: blocks over the target's frames, 50 Hz; at least 2.
            heads: of the attention.
            kernel: taps of the convolutions.
            expansion: of the blocks.
            output_size: mel bins.
            spk_embed_dim: size of the speaker vector.
            levels: of the semantic quantiser.
            lag: groups (120 ms) after which a place on the path through the reference is
                decided; 0 does without a path.
        """
        super().__init__()
        self.bins, self.speaker_size = output_size, spk_embed_dim

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(ConvNeXtBlock(width, kernel, expansion) for _ in range(count))

        self.embed = RowEmbedding(width, levels)
        self.token_blocks = blocks(token_blocks)
        self.token_norm = nn.LayerNorm(width)
        self.parity = nn.Parameter(torch.zeros(FACTOR, width))
        self.mel_in = nn.Linear(output_size, width)
        self.reference_blocks = blocks(reference_blocks)
        self.reference_norm = nn.LayerNorm(width)
        self.copy = ReferenceAttention(width, 1, output_size)
        self.early = ReferenceAttention(width, heads, width)
        self.late = ReferenceAttention(width, heads, width)
        self.early_out = nn.Linear(width, width)
        self.late_out = nn.Linear(width, width)
        self.copy_in = nn.Linear(output_size, width)
        self.voice = nn.Linear(spk_embed_dim + 2 * output_size, width)
        self.conditions = nn.ModuleList(nn.Linear(width, width) for _ in range(mel_blocks))
        self.mel_blocks = blocks(mel_blocks)
        self.walk = Walk(lag, (1, heads, heads)) if lag else None
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * output_size)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.out.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.out.weight.dtype

    @property
    def lookahead(self) -> int:
        """Token rows after its own that a frame depends on, rounded up to whole groups."""
        mel = sum(block.reach for block in self.mel_blocks)  # type: ignore[misc]
        rows = sum(block.reach for block in self.token_blocks)  # type: ignore[misc]
        reach = rows + -(-mel // FACTOR) + (0 if self.walk is None else self.walk.lookahead)
        return -(-reach // 3) * 3

    # One pass ----------------------------------------------------------------------------

    def _tokens(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        """Encode rows ``(batch, n, 2)`` to ``(batch, 2 * n, width)``."""
        x = masked(self.embed(rows), mask)
        for block in self.token_blocks:
            x = block(x, mask)
        wide: Tensor = (self.token_norm(x)[:, :, None] + self.parity).flatten(1, 2)
        return wide

    def _statistics(self, mel: Tensor, mask: Tensor | None) -> Tensor:
        """Return mean and deviation per bin, ``(batch, 2 * bins)``."""
        count = mel.shape[1] if mask is None else mask.sum(1).clamp_min(1.0).to(mel.dtype)
        mean = masked(mel, mask).sum(1) / count
        spread = masked((mel - mean[:, None]) ** 2, mask).sum(1) / count
        return torch.cat([mean, (spread + 1e-4).sqrt()], dim=1)

    def forward(self, batch: MelBatch) -> Tensor:
        """Return log-mel spectrograms ``(batch, 2 * n, bins)``; padding is not zeroed."""
        return self._decode(batch, None)[0]

    def _decode(self, batch: MelBatch, before: Walked | None) -> tuple[Tensor, Walked | None]:
        """Return the mels, and the path, which goes on from that of earlier rows."""
        frames = batch.rows.shape[1]
        is_padded = bool((batch.lengths != frames).any())
        own = time_mask(batch.lengths, frames) if is_padded else None
        count = batch.prompt_rows.shape[1]
        is_padded = bool((batch.prompt_lengths != count).any())
        other = time_mask(batch.prompt_lengths, count) if is_padded else None
        own_mel = None if own is None else own.repeat_interleave(FACTOR, 1)
        other_mel = None if other is None else other.repeat_interleave(FACTOR, 1)

        target, reference = self._tokens(batch.rows, own), self._tokens(batch.prompt_rows, other)
        mel = masked((batch.prompt_mel.to(self.dtype) - MEL_CENTRE) / MEL_SCALE, other_mel)
        seen = masked(reference + self.mel_in(mel), other_mel)
        for block in self.reference_blocks:
            seen = block(seen, other_mel)
        seen = self.reference_norm(seen)

        speaker = F.normalize(batch.speaker.to(self.dtype), dim=1)
        voice = self.voice(torch.cat([speaker, self._statistics(mel, other_mel)], dim=1))
        pulls: Sequence[Tensor | None] = (None, None, None)
        walked = None
        if self.walk is not None:
            likeness = self.copy.likeness(target, reference).detach()
            walked = self.walk.follow(likeness, own_mel, other_mel, before)
            pulls = self.walk.pulls(walked, *likeness.shape[1:])
        copied = self.copy(target, reference, mel, other_mel, pulls[0])
        x = target + self.copy_in(copied)
        found = self.early(target, reference, seen, other_mel, pulls[1])
        x = x + self.early_out(found) + voice[:, None]
        x = masked(x, own_mel)
        for index, block in enumerate(self.mel_blocks):
            if index == len(self.mel_blocks) // 2:
                found = self.late(self.norm(x), reference, seen, other_mel, pulls[2])
                x = masked(x + self.late_out(found), own_mel)
            x = block(x, own_mel, self.conditions[index](F.gelu(voice)))
        made, gate = self.out(self.norm(x)).chunk(2, dim=-1)
        # Start near half copying: what is found is right before anything has been learned.
        out: Tensor = (made + torch.sigmoid(gate) * copied) * MEL_SCALE + MEL_CENTRE
        return out, walked

    # As a flow ---------------------------------------------------------------------------

    def compile_solver(self, backend: str) -> None:
        """Compile the whole pass for variable lengths; there is no solver."""
        self.compile(dynamic=True, backend=backend)

    @torch.inference_mode()
    def generate(self, inputs: Sequence[FlowInput], n_steps: int = 0) -> list[Tensor]:
        """Decode one or many utterances in one pass; each equals that of the utterance alone.

        Args:
            inputs: the utterances; their noise is not used.
            n_steps: not used: there is no solver.

        Returns:
            For each utterance float32 ``(bins, 2 * g)``.
        """
        mels = self(self._batch(inputs)).float()
        return [mel[: FACTOR * len(item.rows)].t() for mel, item in zip(mels, inputs, strict=True)]

    def _batch(self, inputs: Sequence[FlowInput]) -> MelBatch:
        """Pad and move; an utterance without a reference gets one silent row."""
        device = self.device
        return MelBatch(
            pad_sequence([item.rows for item in inputs], batch_first=True).to(device),
            torch.tensor([len(item.rows) for item in inputs], device=device),
            pad_sequence([item.prompt_rows for item in inputs], batch_first=True).to(device),
            torch.tensor([len(item.prompt_rows) for item in inputs], device=device),
            pad_sequence([item.prompt_mel for item in inputs], batch_first=True).to(device),
            torch.stack([item.speaker for item in inputs]).to(device),
        )

    def open_stream(
        self,
        prompt_rows: Tensor,
        lookahead_rows: Tensor,
        prompt_mel: Tensor,
        speaker: Tensor,
        noise: FlowNoise,
        n_steps: int,
        encoder_limit: int | None,
    ) -> ReferencedStreamCache:
        """Keep the reference; arguments as of `CausalMaskedDiffWithXvec.open_stream`."""
        return ReferencedStreamCache(prompt_rows, prompt_mel, speaker)

    @torch.inference_mode()
    def generate_chunk(
        self, rows: Tensor, cache: ReferencedStreamCache, noise: FlowNoise, last: bool
    ) -> Tensor:
        """Decode the next chunk of a stream: the frames that decoding the whole would give.

        Args:
            rows: int64 ``(steps + lookahead, 2)``; on the last chunk all rows are spoken.
            cache: from `open_stream`; extended in place.
            noise: not used.
            last: whether nothing follows.

        Returns:
            float32 ``(bins, 2 * steps)``.
        """
        known = len(cache.past)
        whole = torch.cat([cache.past, rows])
        item = FlowInput(cache.prompt_rows, whole, cache.prompt_mel, cache.speaker, noise)
        end = len(whole) if last else len(whole) - self.lookahead
        mels, walked = self._decode(self._batch([item]), cache.walked)
        first = max(0, end - self.lookahead)
        cache.past = whole[first:end]
        cache.walked = None if walked is None else walked.part(first // 3, end // 3)
        return mels[0, FACTOR * known : FACTOR * end].float().t()
