"""Token encoder: pre-lookahead convolution, conformer layers, twofold upsampling, more layers.

25 Hz steps go in, 50 Hz frames come out. Whole sequences see both directions; in a stream every
chunk sees what came before it and three steps ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.decoder.flow.conformer import (
    ConformerLayer,
    LayerCache,
    LinearEmbed,
    RelativePositions,
)

__all__ = ["EncoderCache", "UpsampleConformerEncoderV2"]


@dataclass
class EncoderCache:
    """What a stream carries from chunk to chunk.

    Attributes:
        lookahead: last frames behind the first look-ahead convolution, ``(1, width, 2)``.
        upsampled: last repeated frames before the upsampling convolution, ``(1, width, 4)``.
        layers: keys and values of the layers before the upsampling.
        up_layers: keys and values of the layers after it (twice the frames).
        limit: most steps kept in ``layers``; None keeps all.
    """

    lookahead: Tensor
    upsampled: Tensor
    layers: list[LayerCache]
    up_layers: list[LayerCache]
    limit: int | None = None


class PreLookahead(nn.Module):
    """Two convolutions, the first over coming steps, the second over past ones, residual."""

    def __init__(self, width: int, ahead: int) -> None:
        """Make both convolutions."""
        super().__init__()
        self.ahead = ahead
        self.conv1 = nn.Conv1d(width, width, ahead + 1)
        self.conv2 = nn.Conv1d(width, width, 3)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map ``(batch, time + ahead, width)`` to ``(batch, time, width)`` and the new past."""
        looked = F.leaky_relu(self.conv1(x.transpose(1, 2)))
        history = F.pad(looked, (2, 0)) if past is None else torch.cat([past, looked], dim=2)
        out = self.conv2(history).transpose(1, 2)
        return out + x[:, : out.shape[1]], history[:, :, -2:]


class Upsample(nn.Module):
    """Repeat every step, then a causal convolution over the repeated signal."""

    def __init__(self, width: int, stride: int, factor: int) -> None:
        """Make the convolution."""
        super().__init__()
        self.factor = factor
        self.reach = stride * 2
        self.conv = nn.Conv1d(width, width, self.reach + 1)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map ``(batch, time, width)`` to ``(batch, factor * time, width)`` and the new past."""
        repeated = x.transpose(1, 2).repeat_interleave(self.factor, dim=2)
        padded = (
            F.pad(repeated, (self.reach, 0)) if past is None else torch.cat([past, repeated], 2)
        )
        return self.conv(padded).transpose(1, 2), padded[:, :, -self.reach :]


class UpsampleConformerEncoderV2(nn.Module):
    """The flow's encoder; names and arguments follow the checkpoint's configuration."""

    def __init__(
        self,
        input_size: int,
        output_size: int = 256,
        pre_lookahead_len: int = 3,
        num_blocks: int = 6,
        num_up_blocks: int = 4,
        up_stride: int = 2,
        up_scale_factor: float = 2,
        attention_heads: int = 4,
        linear_units: int = 2048,
        key_bias: bool = True,
        dropout_rate: float = 0.1,
        positional_dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.1,
        input_layer: str = "linear",
        pos_enc_layer_type: str = "rel_pos_espnet",
        selfattention_layer_type: str = "rel_selfattn",
        normalize_before: bool = True,
        activation_type: str = "swish",
    ) -> None:
        """Make the encoder.

        The two last dropout rates are read and not used: the checkpoint is for inference, and
        training uses ``dropout_rate`` on the branches.

        Raises:
            ValueError: if a variant is asked for that the checkpoint family does not use.
        """
        super().__init__()
        _only("input_layer", input_layer, "linear")
        _only("pos_enc_layer_type", pos_enc_layer_type, "rel_pos_espnet")
        _only("selfattention_layer_type", selfattention_layer_type, "rel_selfattn")
        _only("normalize_before", normalize_before, True)
        _only("activation_type", activation_type, "swish")
        self.width = output_size
        self.lookahead = pre_lookahead_len
        self.factor = int(up_scale_factor)
        self.positions = RelativePositions(output_size)
        self.embed = LinearEmbed(input_size, output_size, dropout_rate)
        self.pre_lookahead_layer = PreLookahead(output_size, pre_lookahead_len)
        layer = (output_size, attention_heads, linear_units, key_bias, dropout_rate)
        self.encoders = nn.ModuleList(ConformerLayer(*layer) for _ in range(num_blocks))
        self.up_layer = Upsample(output_size, up_stride, self.factor)
        self.up_embed = LinearEmbed(output_size, output_size, dropout_rate)
        self.up_encoders = nn.ModuleList(ConformerLayer(*layer) for _ in range(num_up_blocks))
        self.after_norm = nn.LayerNorm(output_size, eps=1e-5)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode whole sequences.

        Args:
            x: ``(batch, steps, input_size)``.
            lengths: int64 ``(batch,)``; needed when the sequences are padded on the right. Each
                result then equals that of the sequence alone.

        Returns:
            ``(batch, factor * steps, output_size)``.
        """
        x = self.embed(x)
        mask = up_mask = None
        if lengths is not None:
            real = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
            x = x * real.unsqueeze(2)
            mask = real[:, None, None, :]
            up_mask = mask.repeat_interleave(self.factor, dim=3)
        x, _ = self.pre_lookahead_layer(F.pad(x, (0, 0, 0, self.lookahead)))
        positions = self.positions(x.shape[1], x.shape[1], x)
        for layer in self.encoders:
            x = layer(x, positions, mask)
        x, _ = self.up_layer(x)
        x = self.up_embed(x)
        positions = self.positions(x.shape[1], x.shape[1], x)
        for layer in self.up_encoders:
            x = layer(x, positions, up_mask)
        return self.after_norm(x)  # type: ignore[no-any-return]

    def empty_cache(self, limit: int | None = None) -> EncoderCache:
        """Return the cache of a stream that has not begun.

        Args:
            limit: steps of past that the attention keeps; None keeps all, as the public code does.
        """
        like = self.after_norm.weight
        return EncoderCache(
            lookahead=like.new_zeros(1, self.width, 2),
            upsampled=like.new_zeros(1, self.width, self.up_layer.reach),
            layers=[LayerCache() for _ in self.encoders],
            up_layers=[LayerCache() for _ in self.up_encoders],
            limit=limit,
        )

    def forward_chunk(self, x: Tensor, cache: EncoderCache, last: bool) -> Tensor:
        """Encode the next chunk of a stream and extend its cache in place.

        Args:
            x: ``(1, steps + lookahead, input_size)``; the last ``lookahead`` steps come again
                at the start of the next chunk, except on the last chunk.
            cache: from `empty_cache`.
            last: whether nothing follows; the look-ahead is then filled with zeros.

        Returns:
            ``(1, factor * steps, output_size)``, on the last chunk of all steps given.
        """
        x = self.embed(x)
        if last:
            x = F.pad(x, (0, 0, 0, self.lookahead))
        x, cache.lookahead = self.pre_lookahead_layer(x, cache.lookahead)
        x = self._run_layers(x, self.encoders, cache.layers, cache.limit)
        x, cache.upsampled = self.up_layer(x, cache.upsampled)
        up_limit = None if cache.limit is None else cache.limit * self.factor
        x = self._run_layers(self.up_embed(x), self.up_encoders, cache.up_layers, up_limit)
        return self.after_norm(x)  # type: ignore[no-any-return]

    def _run_layers(
        self, x: Tensor, layers: nn.ModuleList, caches: list[LayerCache], limit: int | None
    ) -> Tensor:
        """Run a stack of layers over one chunk."""
        if not caches:
            return x
        positions = self.positions(x.shape[1], caches[0].frames + x.shape[1], x)
        for layer, cache in zip(layers, caches, strict=True):
            x = layer(x, positions, None, cache, limit)
        return x


def _only(name: str, given: object, known: object) -> None:
    """Refuse a variant that is not built."""
    if given != known:
        raise ValueError(f"{name} {given!r} is not supported, only {known!r}")
