"""Feed ids to a Step1 model step by step, with a static key/value cache."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.lm.step1.alibi import AlibiBias, BiasWindow, BlockBias
from stepedit_core.models.lm.step1.alignment import pointed
from stepedit_core.models.lm.step1.cache import StaticKV
from stepedit_core.models.lm.step1.denormals import FlushingDenormals
from stepedit_core.models.lm.step1.folded import folded_stack
from stepedit_core.models.lm.step1.heads import Head
from stepedit_core.models.lm.step1.network import CausalLM
from stepedit_core.models.lm.step1.prefix import SharedPrefixKV
from stepedit_core.models.lm.step1.row_biases import RowBiases, shifted

__all__ = ["Decoder", "GraphDecoder", "PromptBatch"]

# Rows of one prefill pass: bounds the memory of activations for long prompts.
_PREFILL_ROWS = 2048
# Elements of the position bias of one pass on a CPU, its tokens in all prompts, and least rows.
_CPU_ELEMENTS, _CPU_TOKENS = 2**22, 1280
_LEAST_ROWS = 128
# The same where rows share prompts: their scores are held as a whole.
_SHARED_ROWS = 64
# Decode steps whose biases are made together, and elements that these may have.
_WINDOW_ROWS = 32
_WINDOW_ELEMENTS = 2**19
# Captured graphs read a multiple of this many cache slots.
_BUCKET = 256


class PromptBatch(NamedTuple):
    """What ``Decoder.prefill`` reads; see its arguments."""

    ids: Tensor
    valid: Tensor | None
    alignment: Tensor | None
    owners: Tensor | None


class Decoder:
    """The plain path: every step reads exactly the cache slots in use."""

    def __init__(self, model: CausalLM, batch: int, capacity: int, head: Head) -> None:
        """Allocate a cache for ``batch`` rows of ``capacity`` tokens; it grows if needed."""
        weight = model.model.embed_tokens.weight
        self.config = config = model.config
        self.model = model.model
        self.head = head
        self.valid: Tensor | None = None
        self.alignment: Tensor | None = None
        self._window: BiasWindow | None = None
        self._which: Tensor | None = None
        self._gaps: Tensor | None = None
        self._folded = folded_stack(model.model)
        self.kv: StaticKV | SharedPrefixKV = StaticKV(
            config.num_hidden_layers,
            batch,
            config.num_attention_groups,
            capacity,
            config.head_dim,
            dtype=weight.dtype,
            device=weight.device,
        )

    def prefill(
        self,
        ids: Tensor,
        valid: Tensor | None = None,
        alignment: Tensor | None = None,
        owners: Tensor | None = None,
    ) -> Tensor:
        """Read the prompts and return the logits after them, ``(rows, tokens)``.

        Args:
            ids: int64 ``(prompts, length)``, padded on the left.
            valid: bool, same shape, False at padding; None without padding.
            alignment: float32 ``(prompts, columns)``, for models with a ``source_alignment``.
            owners: int64 ``(rows,)``, the prompt of each row; None: one row for each prompt.
        """
        self.kv.used = 0
        self._reserve(ids.shape[1])
        self.valid, self.alignment = valid, alignment
        self._window = self._which = self._gaps = None
        logits = self.head(self._chunks(ids)[:, -1])
        if owners is None:
            return logits
        self.fork(owners, self.kv.length - self.kv.used)
        return logits[owners]

    def fork(self, owners: Tensor, capacity: int, alignment: Tensor | None = None) -> None:
        """Go on with more rows than prompts were read; what was read is kept once for each prompt.

        Args:
            owners: int64 ``(rows,)``, which of the rows until now each new one goes on from.
            capacity: tokens to make room for.
            alignment: float32 ``(rows, columns)`` of the new rows; None: those of their owners.
        """
        assert isinstance(self.kv, StaticKV)
        given = alignment
        if given is None and self.alignment is not None:
            given = self.alignment[owners]
        # Half precision is summed in float32 inside torch's attention; there rows get copies.
        is_shared = self.kv.keys[0].dtype == torch.float32
        if is_shared:
            self._share_biases(owners, given)
            self.kv = SharedPrefixKV(self.kv, owners, capacity)
        else:
            self.kv = self.kv.select(owners, self.kv.used)
            self.kv.reserve(capacity)
            self.alignment = given
            self.valid = None if self.valid is None else self.valid[owners]
        self._window = None

    def _share_biases(self, owners: Tensor, alignment: Tensor | None) -> None:
        """Keep one bias for rows whose prompt and alignment are equal."""
        if alignment is not None and not torch.equal(alignment, self._alignment_of(owners)):
            with_owner = torch.cat([owners[:, None].to(alignment.dtype), alignment], dim=1)
            unique, self._which = torch.unique(with_owner, dim=0, return_inverse=True)
            self.alignment = unique[:, 1:].contiguous()
            self.valid = None if self.valid is None else self.valid[unique[:, 0].long()]
        elif self.alignment is not None or self.valid is not None:
            self._which = owners

    def _alignment_of(self, owners: Tensor) -> Tensor:
        assert self.alignment is not None
        return self.alignment[owners]

    @property
    def forks(self) -> bool:
        """Whether steps are faster where prompts are shared, even by one row each."""
        return self._folded is not None

    def select(self, rows: Tensor, used: int | None = None) -> Decoder:
        """Return a decoder of some rows, up to a slot; it shares nothing that steps write to.

        Args:
            rows: int64 ``(kept,)``.
            used: slots to keep; None: all.
        """
        other = copy.copy(self)
        other.kv = self.kv.select(rows, self.kv.used if used is None else used)
        if self._which is not None:
            other._which = self._which[rows]
        elif isinstance(self.kv, StaticKV):
            other.valid = None if self.valid is None else self.valid[rows]
            other.alignment = None if self.alignment is None else self.alignment[rows]
            other._window = None
        return other

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows alone, in place.

        Args:
            rows: int64 ``(kept,)``, in ascending order.
        """
        if self._which is not None:
            self._which = self._which[rows]
        else:
            self.valid = None if self.valid is None else self.valid[rows]
            self.alignment = None if self.alignment is None else self.alignment[rows]
            self._window = None
        if isinstance(self.kv, SharedPrefixKV):
            self.kv.keep(rows)
        else:
            self.kv.keep(rows.tolist())

    @property
    def joins(self) -> bool:
        """Whether rows can join: where prompts are kept apart from what rows say themselves."""
        return isinstance(self.kv, SharedPrefixKV)

    def join(self, other: Decoder, order: Tensor) -> None:
        """Take in another decoder's rows, in place; both must say ``joins``.

        Args:
            other: of the same model, which has not read more after its prompts.
            order: int64 ``(rows,)``, the rows of both, numbered on through the other's.
        """
        assert isinstance(self.kv, SharedPrefixKV) and isinstance(other.kv, SharedPrefixKV)
        mine, its = self._laid_out(), other._laid_out()
        length = max(self.kv.length, other.kv.length)
        late = self.kv.used - self.kv.length - (other.kv.used - other.kv.length)
        mine = mine.moved(length - self.kv.length, 0)
        both = mine.joined(its.moved(length - other.kv.length, late), order)
        self.kv.join(other.kv, order)
        self.alignment, self._which, self._gaps = both.records, both.which, both.gaps
        slot = torch.arange(length, device=both.pads.device)
        self.valid = slot[None] >= both.pads[:, None]
        self._window = None

    def _laid_out(self) -> RowBiases:
        """Return what biases are made of, without those of rows that have left, nor their slots."""
        assert isinstance(self.kv, SharedPrefixKV)
        which = self._which
        if which is None:  # one bias for all
            which = torch.zeros_like(self.kv.owners)
        known = RowBiases.of(which, self.alignment, self.valid, self._gaps)
        lead, stale = int(known.pads.min()), int(known.gaps.min())
        self.kv.cut(lead, stale)
        return known.moved(-lead, -stale)

    def point(self, ahead: Tensor) -> None:
        """Move where the rest of each row's answer is expected in its source, from here on.

        Args:
            ahead: groups of the source by which it lies further there than at the beginning,
                float32 ``(rows,)``; NaN leaves a row as it is.
        """
        if self.alignment is None:
            return
        if self._which is not None:
            which, self._which = self._which, torch.arange(len(ahead), device=ahead.device)
            self.alignment = self.alignment[which]
            self.valid = None if self.valid is None else self.valid[which]
            self._gaps = None if self._gaps is None else self._gaps[which]
            self._window = None
        records = pointed(self.alignment, ahead)
        if not torch.equal(records, self.alignment):
            self.alignment, self._window = records, None

    def feed(self, ids: Tensor) -> None:
        """Read more ids ``(batch, n)`` without asking for logits."""
        self._chunks(ids)

    def hidden(self, ids: Tensor) -> Tensor:
        """Read more ids ``(batch, n)`` and return all hidden states, ``(batch, n, hidden)``."""
        return torch.cat(list(self._passes(ids)), dim=1)

    def step(self, token: Tensor, head: Head | None = None) -> Tensor:
        """Read one id per row ``(batch, 1)`` and return the logits after it.

        Args:
            token: the ids.
            head: another than the decoder's own.
        """
        self._reserve(1)
        return (head or self.head)(self._read(token)[:, -1])

    def _reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` more."""
        self.kv.reserve(tokens)

    def _chunks(self, ids: Tensor) -> Tensor:
        """Read ids and return the hidden states of the last ones, at least of one."""
        for hidden in self._passes(ids, 1):
            last = hidden
        return last

    def _passes(self, ids: Tensor, last: int | None = None) -> Iterator[Tensor]:
        """Read ids in passes that are not too large; yield the (last) hidden states of each."""
        self._reserve(ids.shape[1])
        for part in torch.split(ids, self._most_rows(ids.shape[1]), dim=1):
            yield self._read(part, last)

    def _read(self, ids: Tensor, last: int | None = None) -> Tensor:
        """Read ids in one pass; single ones by folded weights where there are any."""
        bias = self._bias(ids.shape[1])
        if self._folded is not None and ids.shape[1] == 1 and isinstance(self.kv, SharedPrefixKV):
            with FlushingDenormals():
                hidden: Tensor = self._folded.run(ids, bias, self.kv)
        else:
            if isinstance(self.kv, SharedPrefixKV) or ids.shape[1] == 1:
                last = None
            hidden = self.model.run(ids, bias, self.kv, last)
        self.kv.used += ids.shape[1]
        return hidden

    def _most_rows(self, rows: int) -> int:
        """Return how many rows one pass may have."""
        if isinstance(self.kv, SharedPrefixKV):
            return _SHARED_ROWS
        if self.kv.keys[0].device.type != "cpu":
            return _PREFILL_ROWS
        # Caches hold what is computed of a few rows, which need not look at later keys.
        fitting = _CPU_ELEMENTS // (self._biases() * (self.kv.used + rows))
        fitting = min(fitting, _CPU_TOKENS // len(self.kv.keys[0]))
        return min(_PREFILL_ROWS, max(_LEAST_ROWS, fitting))

    def _biases(self) -> int:
        """Return how many numbers the bias has for each pair of query and key."""
        sized = self.valid if self.alignment is None else self.alignment
        heads: int = self.config.num_attention_heads
        return heads * (1 if sized is None else len(sized))

    def _bias(self, rows: int) -> BlockBias:
        """Return the bias of the next rows; that of single ones comes out of a window."""
        start = self.kv.used
        bias: BlockBias | None = None
        if rows == 1:
            bias = None if self._window is None else self._window.at(start)
            if bias is None:
                self._window = self._open_window(start)
                bias = self._window.at(start)
        if bias is None:
            bias = self._made(rows, start)
        bias.which = self._which
        return bias

    def _made(self, rows: int, start: int) -> AlibiBias:
        """Make the bias of rows; gaps count as if they stood before the prompts."""
        if self._gaps is None or self.valid is None:
            return self.model.bias(rows, start, self.valid, self.alignment)
        most, size = int(self._gaps.max()), self.valid.shape[1]
        slot = torch.arange(size + most, device=self._gaps.device)[None] - self._gaps[:, None]
        valid = (slot >= 0) & self.valid.gather(1, slot.clamp(0, size - 1))
        records = shifted(self.alignment, self._gaps[:, None])
        bias = self.model.bias(rows, start, valid, records)
        return bias.with_gaps(self._gaps, size)

    def _open_window(self, start: int) -> BiasWindow:
        """Make the biases of the next steps, as many as are cheap to hold."""
        rows = max(1, min(_WINDOW_ROWS, _WINDOW_ELEMENTS // (self._biases() * (start + 1))))
        return BiasWindow(self._made(rows, start), start + rows)


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
        self.key, self._causal = key, model
        super().__init__(model, batch, -(-capacity // _BUCKET) * _BUCKET, head)
        device = model.model.embed_tokens.weight.device
        self._token = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        self._slot = torch.zeros(1, dtype=torch.int64, device=device)
        self._valid = torch.ones(batch, self.kv.length, dtype=torch.bool, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._records: Tensor | None = None

    def prefill(
        self,
        ids: Tensor,
        valid: Tensor | None = None,
        alignment: Tensor | None = None,
        owners: Tensor | None = None,
    ) -> Tensor:
        """See ``Decoder.prefill``; rows that share a prompt get copies of what was read."""
        if owners is None:
            logits = super().prefill(ids, valid, alignment)
        else:
            logits = self._copied(ids, valid, alignment, owners)
            valid = None if valid is None else valid[owners]
            alignment = None if alignment is None else alignment[owners]
        if alignment is not None:
            if self._records is None or self._records.shape != alignment.shape:
                self._records = torch.empty_like(alignment)
                self._graphs.clear()
            self._records.copy_(alignment)
        self._valid.fill_(True)
        if valid is not None:
            self._valid[:, : valid.shape[1]] = valid
        return logits

    def _copied(
        self, ids: Tensor, valid: Tensor | None, alignment: Tensor | None, owners: Tensor
    ) -> Tensor:
        """Read each prompt once, and copy its keys and values to the rows that it owns."""
        one = Decoder(self._causal, len(ids), ids.shape[1], self.head)
        logits = one.prefill(ids, valid, alignment)
        assert isinstance(one.kv, StaticKV) and isinstance(self.kv, StaticKV)
        self.kv.used = 0
        self._reserve(ids.shape[1])
        for mine, read in ((self.kv.keys, one.kv.keys), (self.kv.values, one.kv.values)):
            for target, source in zip(mine, read, strict=True):
                target[:, :, : ids.shape[1]] = source[owners, :, : ids.shape[1]]
        self.kv.used = ids.shape[1]
        return logits[owners]

    def point(self, ahead: Tensor) -> None:
        """See ``Decoder.point``; the graphs read the same records."""
        if self.alignment is not None and self._records is not None:
            self.alignment = pointed(self._records, ahead)
            self._records.copy_(self.alignment)

    def _reserve(self, tokens: int) -> None:
        if self.kv.reserve(tokens):  # graphs hold addresses of the old storage
            self._graphs.clear()
            grown = self.kv.length - self._valid.shape[1]
            self._valid = F.pad(self._valid, (0, grown), value=True)

    def step(self, token: Tensor, head: Head | None = None) -> Tensor:
        """See ``Decoder.step``; the result is overwritten by the next step.

        The head is part of the graph and always the decoder's own.
        """
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
        kv = self.kv
        assert isinstance(kv, StaticKV)
        kv.slot, kv.limit = self._slot, limit
        try:
            bias = self.model.bias(1, self._slot, self._valid[:, :limit], self._records)
            return self.head(self.model.run(self._token, bias, kv)[:, -1])
        finally:
            kv.slot = None

    def _capture(self, limit: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # Warm up on a side stream, as capture forbids lazy initialisation. The step only
        # writes its own cache slot, so repeating it does no harm. Streams and graphs belong to
        # the current device, which need not be the model's.
        with torch.cuda.device(self._token.device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    self._forward(limit)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads go on using the device meanwhile: only this one's calls are checked.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                logits = self._forward(limit)
        return graph, logits
