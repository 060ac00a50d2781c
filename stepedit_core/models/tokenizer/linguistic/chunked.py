"""The streaming encoder as the public system runs it: one chunk after the other, with caches.

Kept as the plain statement of what the batched pass must equal, and for speed comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepedit_core.models.tokenizer.linguistic.encoder import SANMEncoder, SANMLayer
from stepedit_core.models.tokenizer.linguistic.windows import MEMORY_FRAMES, OVERLAP_FRAMES

__all__ = ["ChunkedState", "encode_chunked"]


@dataclass
class ChunkedState:
    """What the streaming encoder carries from chunk to chunk.

    Attributes:
        frames: the last five embedded frames, shape ``(1, 5, input_size)``.
        keys: per layer, shape ``(1, <= 16, d)``.
        values: likewise.
        heard: frames of the utterance so far.
    """

    frames: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    heard: int = 0

    @classmethod
    def start(cls, encoder: SANMEncoder, like: Tensor) -> ChunkedState:
        """Return the state before the first chunk."""
        empty = like.new_zeros(1, 0, encoder.config.output_size)
        layers = len(encoder.layers)
        frames = like.new_zeros(1, OVERLAP_FRAMES, encoder.config.input_size)
        return cls(frames, [empty] * layers, [empty] * layers)


def _layer(layer: SANMLayer, x: Tensor, state: ChunkedState, index: int) -> Tensor:
    """Run one layer on one window and append to its cache."""
    attention = layer.self_attn
    q, k, v = attention.project(layer.norm1(x))
    keys = torch.cat([state.keys[index], k], dim=1)
    values = torch.cat([state.values[index], v], dim=1)
    state.keys[index] = keys[:, :-OVERLAP_FRAMES][:, -MEMORY_FRAMES:]
    state.values[index] = values[:, :-OVERLAP_FRAMES][:, -MEMORY_FRAMES:]
    attended = attention.linear_out(attention.attend(q, keys, values, None))
    return layer.finish(x, attended + attention.memory(v))


def _chunk(encoder: SANMEncoder, frames: Tensor, state: ChunkedState) -> Tensor:
    """Encode one chunk of shape ``(t, input_size)`` to ``(t, output_size)``."""
    count = len(frames)
    positions = torch.arange(1, count + 1, device=frames.device) + state.heard
    state.heard += count
    x = torch.cat([state.frames, encoder.embed(frames, positions)[None]], dim=1)
    state.frames = x[:, -OVERLAP_FRAMES:]
    for index, layer in enumerate(encoder.layers):
        x = _layer(layer, x, state, index)
    out: Tensor = encoder.after_norm(x[0, -count:])
    return out


def encode_chunked(encoder: SANMEncoder, frames: Tensor, chunk_sizes: Sequence[int]) -> Tensor:
    """Encode one utterance chunk by chunk.

    Args:
        encoder: in evaluation mode.
        frames: shape ``(n, input_size)``.
        chunk_sizes: frames per chunk, summing to ``n``.

    Returns:
        Shape ``(n, output_size)``.
    """
    state = ChunkedState.start(encoder, frames)
    parts = [_chunk(encoder, part, state) for part in torch.split(frames, list(chunk_sizes))]
    return torch.cat(parts) if parts else frames.new_zeros(0, encoder.config.output_size)
