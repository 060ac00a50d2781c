"""Square-root ALiBi for vLLM on a CPU, whose own attention there refuses it.

A plain loop over the requests of a step, for the tests: it checks vLLM's Step1, its scheduler and
our processor, not the attention kernel that a GPU has.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadata,
    CPUAttentionMetadataBuilder,
)
from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend


class Metadata(CPUAttentionMetadataBuilder):
    def __init__(self, *args: Any) -> None:
        # The parent asks its C++ scheduler about head sizes that the loop below does not need.
        super(CPUAttentionMetadataBuilder, self).__init__(*args)

    def build(self, common_prefix_len: int, m: Any, fast_build: bool = False) -> Any:
        return CPUAttentionMetadata(
            num_actual_tokens=m.num_actual_tokens,
            max_query_len=m.max_query_len,
            query_start_loc=m.query_start_loc,
            max_seq_len=m.max_seq_len,
            seq_lens=m.seq_lens,
            block_table=m.block_table_tensor,
            slot_mapping=m.slot_mapping,
            scheduler_metadata=None,
        )


class Attention(CPUAttentionBackendImpl):
    def __init__(self, *args: Any, use_alibi_sqrt: bool = False, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.is_sqrt = use_alibi_sqrt

    def do_kv_cache_update(
        self, layer: Any, key: Tensor, value: Tensor, kv_cache: Tensor, slot_mapping: Tensor
    ) -> None:
        size, width = kv_cache.shape[2], key.shape[-1]
        slots = slot_mapping[: key.shape[0]].long()
        known = slots >= 0
        block, place = slots[known] // size, slots[known] % size
        kv_cache[block, :, place, :width] = key[known]
        kv_cache[block, :, place, width:] = value[known]

    def forward(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kv_cache: Tensor,
        attn_metadata: Any,
        output: Tensor,
        *_: Any,
        **__: Any,
    ) -> Tensor:
        if attn_metadata is None:
            return output
        starts = attn_metadata.query_start_loc.tolist()
        for row, length in enumerate(attn_metadata.seq_lens.tolist()):
            rows = slice(starts[row], starts[row + 1])
            if rows.start < rows.stop:
                blocks = attn_metadata.block_table[row]
                made = self._one(query[rows], kv_cache, blocks, length)
                output[rows].view(made.shape).copy_(made)
        return output

    def _one(self, query: Tensor, kv_cache: Tensor, blocks: Tensor, length: int) -> Tensor:
        size, width = kv_cache.shape[2], self.head_size
        kept = kv_cache[blocks[: -(-length // size)].long()].transpose(0, 1)
        kept = kept.reshape(self.num_kv_heads, -1, 2 * width)[:, :length].float()
        keys, values = (
            part.repeat_interleave(self.num_queries_per_kv, 0)
            for part in (kept[..., :width], kept[..., width:])
        )
        count = len(query)
        asked = query.view(count, -1, width).transpose(0, 1).float()
        away = torch.arange(length - count, length)[:, None] - torch.arange(length)[None]
        distance = away.clamp(min=0).float()
        distance = distance.sqrt() if self.is_sqrt else distance
        scores = asked @ keys.transpose(1, 2) * self.scale
        scores = scores - self.alibi_slopes.view(-1, 1, 1) * distance
        scores = scores.masked_fill(away < 0, -torch.inf)
        return (scores.softmax(-1) @ values).transpose(0, 1)


class SqrtAlibi(CPUAttentionBackend):
    @classmethod
    def supports_alibi_sqrt(cls) -> bool:
        return True

    @classmethod
    def get_supported_head_sizes(cls) -> list[int]:
        return []

    @staticmethod
    def get_impl_cls() -> type[Attention]:
        return Attention

    @staticmethod
    def get_builder_cls() -> type[Metadata]:
        return Metadata


def register() -> None:
    """Have vLLM take it on CPUs, in this process."""
    register_backend(
        AttentionBackendEnum.CPU_ATTN, f"{SqrtAlibi.__module__}.{SqrtAlibi.__qualname__}"
    )
