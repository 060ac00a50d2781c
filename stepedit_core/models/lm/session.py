"""Generate audio ids with a Step1 model: batched, seeded per item, constrained, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from stepedit_core.llm_route.progress import report_tokens
from stepedit_core.models.lm.chat import MAX_TOKENS, check_budget
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.constraints import CODE_COUNT, Plan, Segment, plan
from stepedit_core.models.lm.guidance import compared_rows, guided
from stepedit_core.models.lm.sampling import Sampling, noise_keys, pick, repeated_id
from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.decoding import Decoder, GraphDecoder, audio_head, full_head
from stepedit_core.models.lm.step1.network import CausalLM
from stepedit_core.models.text.base import TextTokenizer

__all__ = ["Generated", "Ids", "Session", "TokenLayout", "generate", "release_graphs", "stream"]

# Steps between two questions of the host to an accelerator ("are all done?"): a late answer
# costs at most this many steps, an early one stalls the queue.
_CHECK_EVERY = 16
_FIRST_CAPACITY = 1024

Ids = Sequence[int] | Tensor


@dataclass(frozen=True)
class TokenLayout:
    """Where audio ids lie in the vocabulary.

    Attributes:
        audio_base: id of ``<audio_0>``.
        eot: id that ends a turn.
    """

    audio_base: int = 65536
    eot: int = 3

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> TokenLayout:
        """Return the layout of a text tokenizer."""
        return cls(tokenizer.audio_base_id, tokenizer.eot_id)


@dataclass(frozen=True)
class Generated:
    """What the model gave for one prompt.

    Attributes:
        ids: new ids without the prompt and without the end-of-turn id; copied ids included.
        finish: ``"stop"`` if the model ended its turn or the constraint was fulfilled,
            ``"length"`` if the output was cut at its largest length.
    """

    ids: list[int]
    finish: Literal["stop", "length"]


_decoders: WeakKeyDictionary[CausalLM, dict[tuple[object, ...], GraphDecoder]] = WeakKeyDictionary()


def release_graphs(model: CausalLM) -> None:
    """Free the CUDA graphs and caches that earlier calls kept for ``model``."""
    _decoders.pop(model, None)


class Session:
    """One call of ``generate``: the state of all items, on the model's device."""

    def __init__(
        self,
        model: CausalLM,
        prompts: Sequence[Ids],
        layout: TokenLayout,
        sampling: Sampling | None,
        constraints: Sequence[Sequence[Segment]] | None,
        seeds: Sequence[int] | None,
        max_new_tokens: int | Sequence[int] | None,
        graphs: bool | None,
        alignments: Sequence[Alignment | None] | None = None,
        against: Sequence[Ids] | None = None,
    ) -> None:
        self.model, self.layout = model, layout
        self.sampling = sampling = sampling or Sampling()
        self.device = model.model.embed_tokens.weight.device
        self.graphs = self.device.type == "cuda" if graphs is None else graphs
        rows = [_as_list(prompt) for prompt in prompts]
        size = len(rows)
        self.alignments = _checked_alignments(alignments, size, model.config.source_alignment)
        seeds = _checked_seeds(seeds, size, sampling)
        allowed = _allowances(rows, max_new_tokens, model.config.max_seq_len)
        self.plans: list[Plan] | None = None
        if constraints is not None:
            _check_layout(layout, model.config.vocab_size)
            if len(constraints) != size:
                raise ValueError(f"{size} prompts but {len(constraints)} constraints")
            self.plans = [plan(c, most) for c, most in zip(constraints, allowed, strict=True)]
            rows = [
                row + [layout.audio_base + token for token in item.prefix]
                for row, item in zip(rows, self.plans, strict=True)
            ]
            allowed = [item.most_tokens for item in self.plans]
        self.rows = rows
        self.against: list[list[int]] | None = None
        if sampling.guided:
            others = None if against is None else [_as_list(prompt) for prompt in against]
            self.against = compared_rows(prompts, others, rows)
        self.steps = max(allowed)
        self.done_steps = 0
        self._make_state(seeds, allowed)

    @torch.inference_mode()
    def _make_state(self, seeds: Sequence[int], allowed: Sequence[int]) -> None:
        device, size = self.device, len(self.rows)
        window = max(1, self.sampling.repetition_window)
        recent = [([-1] * window + row)[-window:] for row in self.rows]
        self.recent = torch.tensor(recent, dtype=torch.int64, device=device)
        greedy = self.sampling.greedy
        keys = torch.zeros(size, 1, dtype=torch.int64) if greedy else noise_keys(seeds, self.steps)
        self.keys = keys.to(device)
        self.token = torch.zeros(size, 1, dtype=torch.int64, device=device)
        self.out = torch.full((size, self.steps), -1, dtype=torch.int64, device=device)
        self.limits = torch.tensor(allowed, dtype=torch.int64, device=device)
        self.done = self.limits <= 0
        self.cut = torch.zeros(size, dtype=torch.bool, device=device)
        self.constraint = None if self.plans is None else ConstraintState(self.plans, device)

    def _decoder(self) -> Decoder:
        model, layout = self.model, self.layout
        if self.plans is None:
            head = full_head(model)
        else:
            head = audio_head(model, layout.audio_base, CODE_COUNT, layout.eot)
        size = len(self.rows) * (1 if self.against is None else 2)
        longest = max(map(len, self.rows))
        capacity = longest + min(self.steps, _FIRST_CAPACITY)
        if not self.graphs:
            return Decoder(model, size, capacity, head)
        kept = _decoders.setdefault(model, {})
        # lm_head's address is part of the key: moved or replaced weights need new graphs.
        key = (size, self.plans is None, layout, model.lm_head.weight.data_ptr())
        # Taken out while in use, so two threads never share one; the others are dropped, to
        # bound memory to one cache and set of graphs.
        decoder = kept.pop(key, None)
        kept.clear()
        return decoder or GraphDecoder(model, size, capacity, head, key)

    @torch.inference_mode()
    def run(self, check_every: int | None) -> Iterator[int]:
        """Run to the end; yield the number of finished steps whenever the host looks."""
        if self.steps == 0:
            return
        if check_every is None:
            check_every = 1 if self.device.type == "cpu" else _CHECK_EVERY
        decoder = self._decoder()
        try:
            for looked in self._loop(decoder, check_every):
                report_tokens(looked, self.steps)
                yield looked
        finally:
            if isinstance(decoder, GraphDecoder):
                _decoders.setdefault(self.model, {})[decoder.key] = decoder

    def _loop(self, decoder: Decoder, check_every: int) -> Iterator[int]:
        self._emit(decoder.prefill(*self._padded()))
        looked = 0
        while self.done_steps < self.steps:
            if self.done_steps - looked >= check_every:
                looked = self.done_steps
                yield looked
                if bool(self.done.all()):
                    break
                self._copy_ahead(decoder)
                if self.done_steps >= self.steps:
                    break
            self._emit(decoder.step(self._for_both(self.token)))
        yield self.done_steps

    def _padded(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the prompts padded on the left, which ids are real, and the alignments."""
        longest = max(map(len, self.rows))
        pad = self.model.config.pad_token_id or 0
        rows, alignments = self.rows, self.alignments
        if self.against is not None:
            rows = rows + self.against
            alignments = None if alignments is None else [*alignments, *alignments]
        padding = [longest - len(row) for row in rows]
        ids = torch.tensor([[pad] * n + row for n, row in zip(padding, rows, strict=True)])
        records = None
        if alignments is not None:
            records = alignment_tensor(alignments, padding).to(self.device)
        if not any(padding):
            return ids.to(self.device), None, records
        valid = torch.arange(longest)[None] >= torch.tensor(padding)[:, None]
        return ids.to(self.device), valid.to(self.device), records

    def _emit(self, logits: Tensor) -> None:
        """Pick, constrain and store one id per item; no question to the host."""
        if self.against is not None:
            logits = guided(logits, self.sampling.guidance)
        keys = self.keys[:, min(self.done_steps, self.keys.shape[1] - 1)]
        if self.constraint is None:
            sampled = pick(self._without_repeat(logits, 0), self.sampling, keys)
            over = sampled == self.layout.eot
            ids = torch.where(self.done | over, -1, sampled)
            full = ~self.done & ~over & (self.limits <= self.done_steps + 1)
            self.cut |= full
            self.done |= over | full
        else:
            base = self.layout.audio_base
            scores = self._without_repeat(logits, base)
            scores = scores.masked_fill(~self.constraint.allowed(), -torch.inf)
            tokens = self.constraint.advance(pick(scores, self.sampling, keys))
            ids = torch.where(tokens >= 0, tokens + base, -1)
            self.done = self.constraint.ended
        self._store(ids[:, None])

    def _for_both(self, ids: Tensor) -> Tensor:
        """Return ids ``(batch, n)`` for every row that the decoder has."""
        return ids if self.against is None else torch.cat([ids, ids])

    def _without_repeat(self, logits: Tensor, first_id: int) -> Tensor:
        """Apply the repetition rule; column 0 of ``logits`` is the id ``first_id``."""
        if not self.sampling.repetition_window:
            return logits
        banned = repeated_id(self.recent, self.sampling.repetition_count) - first_id
        # The last column of constrained logits is the end of turn, not an audio id.
        outside = (banned < 0) | (banned >= logits.shape[1] - (self.constraint is not None))
        column = banned.masked_fill(outside, 0)[:, None]
        lowest = torch.where(outside[:, None], logits.gather(1, column), -torch.inf)
        return logits.scatter(1, column, lowest)

    def _store(self, ids: Tensor) -> None:
        """Keep ids ``(batch, n)``; -1, of finished items, is fed on as 0."""
        count = ids.shape[1]
        self.out[:, self.done_steps : self.done_steps + count] = ids
        self.done_steps += count
        fed = ids.clamp(min=0)
        self.token = fed[:, -1:]
        self.recent = torch.cat([self.recent, fed], dim=1)[:, -self.recent.shape[1] :]

    def _copy_ahead(self, decoder: Decoder) -> None:
        """Read copied tokens in one pass where all unfinished items have some next."""
        state = self.constraint
        if state is None or not state.has_copies:
            return
        left = state.copies_left().masked_fill(state.ended, self.steps)
        count = min(int(left.min()), self.steps - self.done_steps)
        if count < 1:
            return
        tokens = state.skip(count)
        ids = torch.where(tokens >= 0, tokens + self.layout.audio_base, -1)
        decoder.feed(self._for_both(torch.cat([self.token, ids[:, :-1].clamp(min=0)], dim=1)))
        self._store(ids)
        self.done = state.ended

    def results(self) -> list[Generated]:
        """Return what was generated, copied ends included."""
        cut = self.cut if self.constraint is None else self.constraint.cut
        results = []
        for row, (ids, was_cut) in enumerate(zip(self.out.tolist(), cut.tolist(), strict=True)):
            head, tail = self._ends(row)
            kept = [i for i in ids if i >= 0]
            results.append(Generated(head + kept + tail, "length" if was_cut else "stop"))
        return results

    def _ends(self, row: int) -> tuple[list[int], list[int]]:
        if self.plans is None:
            return [], []
        item, base = self.plans[row], self.layout.audio_base
        return [base + t for t in item.prefix], [base + t for t in item.suffix]

    def stream(self, check_every: int | None) -> Iterator[int]:
        """Yield the ids of the only item."""
        head, tail = self._ends(0)
        yield from head
        if check_every is None:
            check_every = 1 if self.device.type == "cpu" else 5
        given = 0
        for steps in self.run(check_every):
            yield from (i for i in self.out[0, given:steps].tolist() if i >= 0)
            given = steps
        yield from tail


def generate(
    model: CausalLM,
    prompts: Sequence[Ids],
    *,
    layout: TokenLayout,
    sampling: Sampling | None = None,
    constraints: Sequence[Sequence[Segment]] | None = None,
    seeds: Sequence[int] | None = None,
    max_new_tokens: int | Sequence[int] | None = None,
    check_every: int | None = None,
    graphs: bool | None = None,
    alignments: Sequence[Alignment | None] | None = None,
    against: Sequence[Ids] | None = None,
) -> list[Generated]:
    """Generate for a batch of prompts; each item gives what it would give alone.

    Args:
        model: the model, on any device, in evaluation mode.
        prompts: prompt ids, one sequence per item, of any lengths.
        layout: where audio ids lie.
        sampling: the rules of picking; None are the public ones.
        constraints: one sequence of segments per item (``grammar()``, ``mask()``); None lets
            the model emit any id, as the public system does.
        seeds: one non-negative seed per item; needed unless greedy.
        max_new_tokens: largest number of new ids, for all or per item, copied ones included;
            None is what the context leaves.
        check_every: steps between two looks at whether all are done; None: 1 on CPU, else 16.
        graphs: replay decode steps as CUDA graphs; None: on CUDA devices.
        alignments: one per item, needed by models with a ``source_alignment`` and not looked
            at by others.
        against: one per item and as long as its prompt, where ``sampling`` has guidance: the
            logits after it are what guidance leads away from. Not looked at otherwise.

    Raises:
        BudgetError: if a prompt and its output do not fit the context.
        ValueError: if the counts of prompts, constraints, seeds or lengths differ, or a
            constraint cannot be met by the model's vocabulary.
    """
    if not prompts:
        return []
    session = Session(
        model, prompts, layout, sampling, constraints, seeds, max_new_tokens, graphs, alignments,
        against,
    )  # fmt: skip
    for _ in session.run(check_every):
        pass
    return session.results()


def stream(
    model: CausalLM,
    prompt: Ids,
    *,
    layout: TokenLayout,
    sampling: Sampling | None = None,
    constraint: Sequence[Segment] | None = None,
    seed: int | None = None,
    max_new_tokens: int | None = None,
    check_every: int | None = None,
    graphs: bool | None = None,
    alignment: Alignment | None = None,
    against: Ids | None = None,
) -> Iterator[int]:
    """Yield the new ids of one prompt as they come: those that ``generate`` returns.

    Args and errors are those of ``generate``; checks are made before the first id. On an
    accelerator ids come in blocks of ``check_every`` (None: 5, one group of 120 ms).
    """
    session = Session(
        model,
        [prompt],
        layout,
        sampling,
        None if constraint is None else [constraint],
        None if seed is None else [seed],
        max_new_tokens,
        graphs,
        None if alignment is None else [alignment],
        None if against is None else [against],
    )
    return session.stream(check_every)


def _as_list(prompt: Ids) -> list[int]:
    """Return the ids of a prompt as a list.

    Raises:
        ValueError: if it is empty.
    """
    ids = prompt.tolist() if isinstance(prompt, Tensor) else [int(i) for i in prompt]
    if not ids:
        raise ValueError("a prompt is empty")
    return ids


def _checked_seeds(seeds: Sequence[int] | None, size: int, sampling: Sampling) -> Sequence[int]:
    """Return one seed per prompt; greedy picking needs none.

    Raises:
        ValueError: if seeds are missing or their number differs.
    """
    if seeds is None and sampling.greedy:
        return [0] * size
    if seeds is None:
        raise ValueError("sampling needs one seed per prompt")
    if len(seeds) != size:
        raise ValueError(f"{size} prompts but {len(seeds)} seeds")
    return seeds


def _checked_alignments(
    alignments: Sequence[Alignment | None] | None, size: int, setting: object
) -> Sequence[Alignment | None] | None:
    """Return one alignment per prompt, or None for a model whose ``setting`` is None.

    Raises:
        ValueError: if the model needs alignments and none are given, or their number differs.
    """
    if alignments is not None and len(alignments) != size:
        raise ValueError(f"{size} prompts but {len(alignments)} alignments")
    if setting is None:
        return None
    if alignments is None:
        raise ValueError("the model has a source_alignment: give one alignment per prompt")
    return alignments


def _allowances(
    rows: Sequence[list[int]], wanted: int | Sequence[int] | None, max_seq_len: int
) -> list[int]:
    """Return how many new ids each item may have.

    Raises:
        BudgetError: if a prompt with its wanted output does not fit.
        ValueError: if the counts differ.
    """
    limit = min(MAX_TOKENS, max_seq_len)
    each = [wanted] * len(rows) if wanted is None or isinstance(wanted, int) else list(wanted)
    if len(each) != len(rows):
        raise ValueError(f"{len(rows)} prompts but {len(each)} output lengths")
    allowed = []
    for row, most in zip(rows, each, strict=True):
        check_budget(len(row), 1 if most is None else most, limit)
        allowed.append(limit - len(row) if most is None else most)
    return allowed


def _check_layout(layout: TokenLayout, vocab_size: int) -> None:
    """Check that the audio ids lie inside the model's vocabulary.

    Raises:
        ValueError: if they do not.
    """
    if layout.audio_base + CODE_COUNT > vocab_size:
        raise ValueError(
            f"audio ids {layout.audio_base}..{layout.audio_base + CODE_COUNT - 1} do not fit the "
            f"model's vocabulary of {vocab_size}: the tokenizer is of another model"
        )
