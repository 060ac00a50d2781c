"""Feed ids to a Step1 model step by step, with a static key/value cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.lm.step1.cache import StaticKV
from stepedit_core.models.lm.step1.network import CausalLM

__all__ = ["Decoder", "GraphDecoder", "audio_head", "full_head"]

Head = Callable[[Tensor], Tensor]

# Rows of one prefill pass: bounds the memory of activations for long prompts.
_PREFILL_ROWS = 2048
# Captured graphs read a multiple of this many cache slots.
_BUCKET = 256


def full_head(model: CausalLM) -> Head:
    """Return the output head over the whole vocabulary."""
    head: Head = model.lm_head
    return head


def audio_head(model: CausalLM, audio_base: int, count: int, eot: int) -> Head:
    """Return the output head over ``count`` audio ids and, last, the end of turn.

    Only these rows of the matrix are read: in the public vocabulary 7 percent of it.
    """
    head = model.lm_head
    if type(head) is not nn.Linear:  # an adapter or quantised head: ask it for everything
        return lambda x: _select(head(x), audio_base, count, eot)
    audio, end = head.weight[audio_base : audio_base + count], head.weight[eot : eot + 1]
    return lambda x: torch.cat([F.linear(x, audio), F.linear(x, end)], dim=-1)


def _select(logits: Tensor, audio_base: int, count: int, eot: int) -> Tensor:
    audio = logits[..., audio_base : audio_base + count]
    return torch.cat([audio, logits[..., eot : eot + 1]], dim=-1)


class Decoder:
    """The plain path: every step reads exactly the cache slots in use."""

    def __init__(self, model: CausalLM, batch: int, capacity: int, head: Head) -> None:
        """Allocate a cache for ``batch`` rows of ``capacity`` tokens; it grows if needed."""
        weight = model.model.embed_tokens.weight
        config = model.config
        self.model = model.model
        self.head = head
        self.valid: Tensor | None = None
        self.alignment: Tensor | None = None
        self.kv = StaticKV(
            config.num_hidden_layers,
            batch,
            config.num_attention_groups,
            capacity,
            config.head_dim,
            dtype=weight.dtype,
            device=weight.device,
        )

    def prefill(
        self, ids: Tensor, valid: Tensor | None = None, alignment: Tensor | None = None
    ) -> Tensor:
        """Read the prompts and return the logits after them.

        Args:
            ids: int64 ``(batch, length)``, padded on the left.
            valid: bool, same shape, False at padding; None without padding.
            alignment: float32 ``(batch, columns)``, for models with a ``source_alignment``.
        """
        self.kv.used = 0
        self._reserve(ids.shape[1])
        self.valid = valid
        self.alignment = alignment
        return self.head(self._chunks(ids)[:, -1])

    def feed(self, ids: Tensor) -> None:
        """Read more ids ``(batch, n)`` without asking for logits."""
        self._chunks(ids)

    def hidden(self, ids: Tensor) -> Tensor:
        """Read more ids ``(batch, n)``, at most one pass of them, and return all hidden states."""
        return self._chunks(ids)

    def step(self, token: Tensor) -> Tensor:
        """Read one id per row ``(batch, 1)`` and return the logits after it."""
        return self.head(self._chunks(token)[:, -1])

    def _reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` more."""
        self.kv.reserve(tokens)

    def _chunks(self, ids: Tensor) -> Tensor:
        self._reserve(ids.shape[1])
        for part in torch.split(ids, _PREFILL_ROWS, dim=1):
            bias = self.model.bias(part.shape[1], self.kv.used, self.valid, self.alignment)
            hidden: Tensor = self.model.run(part, bias, self.kv)
            self.kv.used += part.shape[1]
        return hidden


class GraphDecoder(Decoder):
    """Replay each decode step as a captured CUDA graph.

    Shapes are fixed: one graph per number of cache slots read, in steps of 256. The object
    keeps its cache and graphs and may be reused for any prompts of the same batch size.
    """

    def __init__(
        self,
        model: CausalLM,
        batch: int,
        capacity: int,
        head: Head,
        key: tuple[object, ...],
    ) -> None:
        """Allocate the cache and the tensors that the graphs read and write.

        Args:
            model: the model.
            batch: number of rows.
            capacity: tokens to make room for; rounded up.
            head: the output head.
            key: what tells this decoder from others when it is kept for reuse.
        """
        self.key = key
        super().__init__(model, batch, -(-capacity // _BUCKET) * _BUCKET, head)
        device = model.model.embed_tokens.weight.device
        self._token = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        self._slot = torch.zeros(1, dtype=torch.int64, device=device)
        self._valid = torch.ones(batch, self.kv.length, dtype=torch.bool, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._records: Tensor | None = None

    def prefill(
        self, ids: Tensor, valid: Tensor | None = None, alignment: Tensor | None = None
    ) -> Tensor:
        """See ``Decoder.prefill``."""
        logits = super().prefill(ids, valid, alignment)
        if alignment is not None:
            if self._records is None or self._records.shape != alignment.shape:
                self._records = torch.empty_like(alignment)
                self._graphs.clear()
            self._records.copy_(alignment)
        self._valid.fill_(True)
        if valid is not None:
            self._valid[:, : valid.shape[1]] = valid
        return logits

    def _reserve(self, tokens: int) -> None:
        if self.kv.reserve(tokens):  # graphs hold addresses of the old storage
            self._graphs.clear()
            grown = self.kv.length - self._valid.shape[1]
            self._valid = F.pad(self._valid, (0, grown), value=True)

    def step(self, token: Tensor) -> Tensor:
        """See ``Decoder.step``; the result is overwritten by the next step."""
        self._reserve(1)
        self._token.copy_(token)
        self._slot.fill_(self.kv.used)
        limit = min(-(-(self.kv.used + 1) // _BUCKET) * _BUCKET, self.kv.length)
        if limit not in self._graphs:
            self._graphs[limit] = self._capture(limit)
        graph, logits = self._graphs[limit]
        graph.replay()
        self.kv.used += 1
        return logits

    def _forward(self, limit: int) -> Tensor:
        self.kv.slot, self.kv.limit = self._slot, limit
        try:
            bias = self.model.bias(1, self._slot, self._valid[:, :limit], self._records)
            return self.head(self.model.run(self._token, bias, self.kv)[:, -1])
        finally:
            self.kv.slot = None

    def _capture(self, limit: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # Warm up on a side stream, as capture forbids lazy initialisation. The step only
        # writes its own cache slot, so repeating it does no harm.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._forward(limit)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._forward(limit)
        return graph, logits
