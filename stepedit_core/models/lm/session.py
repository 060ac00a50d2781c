"""One generation of audio ids: batched, seeded per item, constrained, streamed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE
from stepedit_core.llm_route.progress import report_tokens
from stepedit_core.models.lm.answers import Finish, Generated, Watcher
from stepedit_core.models.lm.arguments import (
    Ids,
    allowances,
    as_list,
    check_vocabulary,
    checked_alignments,
    checked_seeds,
)
from stepedit_core.models.lm.columns import Columns
from stepedit_core.models.lm.constraint_state import ConstraintState
from stepedit_core.models.lm.constraints import Plan, Segment, plan
from stepedit_core.models.lm.emitting import can_emit_on_host, emit_on_host, free_ids, held_ids
from stepedit_core.models.lm.guidance import compared_rows, guided
from stepedit_core.models.lm.kept_graphs import keep_decoder, take_decoder
from stepedit_core.models.lm.prompt_batch import batch_of_prompts
from stepedit_core.models.lm.row_state import RowState
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1.alignment import Alignment
from stepedit_core.models.lm.step1.decoding import Decoder, GraphDecoder
from stepedit_core.models.lm.step1.network import CausalLM
from stepedit_core.models.lm.token_layout import TokenLayout

__all__ = ["Session"]

# Steps between two questions of the host to an accelerator ("are all done?"): a late answer costs
# at most this many steps, an early one stalls the queue.
_CHECK_EVERY = 16
_FIRST_CAPACITY = 1024
_LEAST_SHARE = 8
"""Ended items leave the batch when they are one in so many."""
_WATCH_EVERY = 40
"""Steps between two questions to the watcher."""


class Session:
    """One call of ``generate``: the state of all items, on the model's device.

    Items with equal prompts share what is read of them. Items that have ended leave the batch.

    Attributes:
        state: of the rows that are in the batch, as are ``constraint`` and ``decoder``.
        count: items that have been there.
        open_items: numbers of those whose results may still be asked for.
        left: what those of them have given that are not in the batch any more.
    """

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
        watcher: Watcher | None = None,
    ) -> None:
        self.model, self.layout, self.watcher = model, layout, watcher
        self.sampling = sampling = sampling or Sampling()
        self.device = model.model.embed_tokens.weight.device
        self.graphs = self.device.type == "cuda" if graphs is None else graphs
        rows = [as_list(prompt) for prompt in prompts]
        size = len(rows)
        self.alignments = checked_alignments(alignments, size, model.config.source_alignment)
        seeds = checked_seeds(seeds, size, sampling)
        allowed = allowances(rows, max_new_tokens, model.config.max_seq_len)
        self.plans: dict[int, Plan] | None = None
        made: list[Plan] | None = None
        if constraints is not None:
            check_vocabulary(layout.audio_base, model.config.vocab_size)
            if len(constraints) != size:
                raise ValueError(f"{size} prompts but {len(constraints)} constraints")
            made = [plan(c, most) for c, most in zip(constraints, allowed, strict=True)]
            rows = [
                row + [layout.audio_base + token for token in item.prefix]
                for row, item in zip(rows, made, strict=True)
            ]
            allowed = [item.most_tokens for item in made]
            self.plans = dict(enumerate(made))
        self.rows = rows
        self.against: list[list[int]] | None = None
        if sampling.guided:
            others = None if against is None else [as_list(prompt) for prompt in against]
            self.against = compared_rows(prompts, others, rows)
        self.steps = max(allowed)
        self.done_steps = self.looked = 0
        self.decoder: Decoder | None = None
        self.count = size
        self.dropped: set[int] = set()
        self.open_items = set(range(size))
        self.left: dict[int, tuple[list[int], bool]] = {}
        self.constraint = None if made is None else ConstraintState(made, self.device)
        self.columns = Columns(layout.audio_base, layout.eot, model, made)
        self.state = RowState.before_all(rows, seeds, allowed, sampling, self.device)

    def _decoder(self, prompts: int) -> Decoder:
        model = self.model
        head = self.columns.whole
        size = len(self.rows) * (1 if self.against is None else 2)
        longest = max(map(len, self.rows))
        capacity = longest + min(self.steps, _FIRST_CAPACITY)
        if not self.graphs:
            return Decoder(model, prompts, capacity, head)
        # lm_head's address is part of the key: moved or replaced weights need new graphs.
        key = (size, self.plans is None, self.layout, model.lm_head.weight.data_ptr())
        return take_decoder(model, key) or GraphDecoder(model, size, capacity, head, key)

    @torch.inference_mode()
    def run(self, check_every: int | None) -> Iterator[int]:
        """Run to the end; yield the number of finished steps whenever the host looks."""
        if self.steps == 0:
            return
        if check_every is None:
            check_every = 1 if self.device.type == "cpu" else _CHECK_EVERY
        yield from self._loop(check_every)

    @torch.inference_mode()
    def begin(self) -> None:
        """Read the prompts and take the first step."""
        both = self.rows if self.against is None else self.rows + self.against
        pad = self.model.config.pad_token_id or 0
        prompts = batch_of_prompts(both, self.alignments, pad, self.device)
        self.decoder = decoder = self._decoder(len(prompts.ids))
        if prompts.owners is None and decoder.forks and not self.graphs:
            prompts = prompts._replace(owners=torch.arange(len(prompts.ids), device=self.device))
        self._emit(self.columns.of_whole(decoder.prefill(*prompts), 0))

    @torch.inference_mode()
    def part(self, items: Sequence[int], watcher: Watcher | None) -> Session:
        """Return the generation of some items by themselves, whose numbers stay as they are.

        Args:
            items: numbers, in ascending order; before the first step, or right after it.
            watcher: theirs.
        """
        part, rows = copy.copy(self), torch.tensor(items, device=self.device)
        part.rows = [self.rows[item] for item in items]
        part.against = None if self.against is None else [self.against[item] for item in items]
        if self.alignments is not None:
            part.alignments = [self.alignments[item] for item in items]
        part.state = self.state.select(rows)
        part.constraint = None if self.constraint is None else self.constraint.select(rows)
        if self.decoder is not None:
            both = rows if self.against is None else torch.cat([rows, rows + self.count])
            part.decoder = self.decoder.select(both)
        part.steps = int(part.state.limits.max())
        part.open_items, part.dropped, part.left = set(items), set(), {}
        part.watcher = watcher
        return part

    @torch.inference_mode()
    def take_back(self, part: Session) -> None:
        """Keep what a part has given; this session is not to go on by itself."""
        self.left.update(part.left)
        self.left.update(part._given(torch.arange(len(part.state), device=self.device)))
        self.dropped |= part.dropped
        self.state = self.state.select(torch.arange(0, device=self.device))

    def _loop(self, check_every: int) -> Iterator[int]:
        if self.decoder is None:
            self.begin()
        decoder = self.decoder
        assert decoder is not None
        try:
            for looked in self._steps(decoder, check_every):
                report_tokens(looked, self.steps)
                yield looked
        finally:
            if isinstance(decoder, GraphDecoder):
                keep_decoder(self.model, decoder)

    def _steps(self, decoder: Decoder, check_every: int) -> Iterator[int]:
        while self.done_steps < self.steps:
            if self.done_steps - self.looked >= check_every:
                self._watch()
                self.looked = self.done_steps
                yield self.looked
                if self.state.count_done() == len(self.state):
                    break
                if not self.graphs:
                    self.compact(_LEAST_SHARE)
                self._copy_ahead(decoder)
                if self.done_steps >= self.steps:
                    break
            token, step = self._for_both(self.state.token), self.done_steps
            self._point(decoder)
            if self.graphs:
                self._emit(self.columns.of_whole(decoder.step(token), step))
            else:
                self._emit(decoder.step(token, self.columns.head(step)))
        yield self.done_steps

    def compact(self, least: int) -> None:
        """Let ended items leave the batch, once they are one in ``least``: copying costs, too."""
        assert self.decoder is not None
        ended, count = self.state.count_done(), len(self.state)
        if not ended or ended * least < count:
            return
        self.left.update(self._given(self.state.done.nonzero().flatten()))
        rows = (~self.state.done).nonzero().flatten()
        self.state = self.state.select(rows)
        both = rows if self.against is None else torch.cat([rows, rows + count])
        if self.constraint is not None:
            self.constraint = self.constraint.select(rows)
        self.decoder.keep(both)

    def _given(self, rows: Tensor) -> dict[int, tuple[list[int], bool]]:
        """Return what rows gave by the number of the item, and whether that was cut."""
        cuts = self.state.cut if self.constraint is None else self.constraint.cut
        found = zip(self.state.out[rows].tolist(), cuts[rows].tolist(), strict=True)
        return {
            item: ([i for i in ids if i >= 0], was_cut)
            for item, (ids, was_cut) in zip(self.state.items[rows].tolist(), found, strict=True)
            if item in self.open_items
        }

    def _watch(self) -> None:
        """Ask the watcher now and then which items need not go on."""
        if self.watcher is None or self.constraint is None:
            return
        if self.looked // _WATCH_EVERY == self.done_steps // _WATCH_EVERY:
            return
        done = self.state.done
        running = self._given((~done).nonzero().flatten())
        finished = {**self.left, **self._given(done.nonzero().flatten())}
        known = {item: ids for item, (ids, _) in finished.items() if item not in self.dropped}
        if running:  # of what has ended, other lanes may have told the watcher
            wanted = {item: ids for item, (ids, _) in running.items()}
            self.drop(self.watcher.hopeless(known, wanted))

    @torch.inference_mode()
    def drop(self, items: Iterable[int]) -> None:
        """End items here and now: nobody wants them any more."""
        self.dropped.update(items)
        rows = [item in self.dropped for item in self.state.items.tolist()]
        over = torch.tensor(rows, dtype=torch.bool, device=self.device)
        if self.constraint is None:
            self.state.done = self.state.done | over
        else:
            self.constraint.end(over)
            self.state.done = self.constraint.ended

    @torch.inference_mode()
    def ended_items(self) -> set[int]:
        """Return the numbers of items that need no further step; asks the device."""
        return self.open_items - set(self.state.items[~self.state.done].tolist())

    def _emit(self, logits: Tensor) -> None:
        """Pick, constrain and store one id per item; no question to the host."""
        if self.against is not None:
            logits = guided(logits, self.sampling.guidance)
        if self.constraint is not None and can_emit_on_host(self.constraint, self.sampling):
            emit_on_host(self.state, self.constraint, self.sampling,
                         self.columns.at(self.done_steps), logits, self.done_steps,
                         self.layout.audio_base)  # fmt: skip
            self.done_steps += 1
            return
        step, state = self.done_steps, self.state
        if self.constraint is None:
            ids = free_ids(state, self.sampling, logits, step, self.layout.eot)
        else:
            part, base = self.columns.at(step), self.layout.audio_base
            ids = held_ids(state, self.constraint, self.sampling, part, logits, step, base)
        self._store(ids[:, None])

    def _point(self, decoder: Decoder) -> None:
        """Tell the position priors where items that follow their source stand in it."""
        following = None if self.constraint is None else self.constraint.following
        if following is not None:
            said = (self.done_steps - self.state.begun).float() / GROUP_SIZE
            decoder.point(self._for_both(following.ahead(said.floor())))

    def _for_both(self, ids: Tensor) -> Tensor:
        """Return ids ``(batch, n)`` for every row that the decoder has."""
        return ids if self.against is None else torch.cat([ids, ids])

    def _store(self, ids: Tensor) -> None:
        """Keep ids ``(batch, n)``; -1, of finished items, is fed on as 0."""
        count = ids.shape[1]
        self.state.out[:, self.done_steps : self.done_steps + count] = ids
        self.done_steps += count
        fed = ids.clamp(min=0)
        self.state.token = fed[:, -1:]
        if self.sampling.repetition_window:
            self.state.recent = torch.cat([self.state.recent, fed], dim=1)[
                :, -self.state.recent.shape[1] :
            ]

    def _copy_ahead(self, decoder: Decoder) -> None:
        """Read copied tokens in one pass where all unfinished items have some next."""
        state = self.constraint
        if state is None or not state.has_copies:
            return
        left = state.copies_left().masked_fill(state.ended, self.steps)
        count = min(int(left.min()), self.steps - self.done_steps)
        if count < 1:
            return
        self._point(decoder)
        tokens = state.skip(count)
        ids = torch.where(tokens >= 0, tokens + self.layout.audio_base, -1)
        decoder.feed(self._for_both(torch.cat([self.state.token, ids[:, :-1].clamp(min=0)], dim=1)))
        self._store(ids)
        self.state.done = state.ended

    @torch.inference_mode()
    def results(self, items: Sequence[int] | None = None) -> list[Generated]:
        """Return what was generated, copied ends included.

        Args:
            items: numbers of items; None: all.
        """
        items = range(self.count) if items is None else items
        given = {**self.left, **self._given(torch.arange(len(self.state), device=self.device))}
        return [self._result(item, *given[item]) for item in items]

    def _result(self, item: int, ids: list[int], was_cut: bool) -> Generated:
        head, tail = self._ends(item)
        finish: Finish = "length" if was_cut else "stop"
        return Generated(head + ids + tail, "dropped" if item in self.dropped else finish)

    def forget(self, items: Iterable[int]) -> None:
        """Keep nothing of items whose results nobody asks for any more."""
        for item in items:
            self.open_items.discard(item)
            self.dropped.discard(item)
            self.left.pop(item, None)
            if self.plans is not None:
                self.plans.pop(item, None)

    def _ends(self, item: int) -> tuple[list[int], list[int]]:
        if self.plans is None:
            return [], []
        own, base = self.plans[item], self.layout.audio_base
        return [base + t for t in own.prefix], [base + t for t in own.suffix]

    def stream(self, check_every: int | None) -> Iterator[int]:
        """Yield the ids of the only item."""
        head, tail = self._ends(0)
        yield from head
        if check_every is None:
            check_every = 1 if self.device.type == "cpu" else 5
        given = 0
        for steps in self.run(check_every):
            yield from (i for i in self.state.out[0, given:steps].tolist() if i >= 0)
            given = steps
        yield from tail
