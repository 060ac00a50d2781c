"""Log probabilities of answers under the grammar, temperature and guidance of sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stepedit_core.codes import LINGUISTIC_SIZE
from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_core.models.lm.step1 import alignment_tensor
from stepedit_core.models.lm.step1.heads import audio_head
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_train.rl.layout import AnswerRow
from stepedit_train.rl.shared_prompt import PromptKeys, shared_length

__all__ = [
    "AnswerBatch",
    "TokenLogProbs",
    "answer_states",
    "collate_answers",
    "decision_log_probs",
    "parts_within",
    "token_log_probs",
]


class TokenLogProbs(NamedTuple):
    """Of every decision of answers; 0 where nothing was decided.

    Attributes:
        chosen: log probability of what was drawn, float32 ``(rows, longest)``.
        entropy: of what it was drawn from, in nats, without a gradient; the same shape.
    """

    chosen: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class AnswerBatch:
    """Answers, padded on the right.

    Attributes:
        ids: prompts and answers, int64 ``(rows, slots)``.
        valid: 1 where there is an id, int64 ``(rows, slots)``.
        against: ids of the rows that are guided, their words hidden, ``(guided rows, slots)``.
        guided: numbers of those rows, int64.
        alignment: records of all rows, or None for models without position priors.
        prompts: length of each prompt, int64 ``(rows,)``.
        columns: decisions, int64 ``(rows, longest)``.
        drawn: bool ``(rows, longest)``; False at padding, too.
        spoken: bool ``(rows, longest)``: there is a code, drawn or copied.
        semantic: bool, the same shape.
        may_end: bool, the same shape.
        banned: int64, the same shape.
        temperature: float32 ``(rows,)``.
        guidance: float32 ``(rows,)``.
        shared: first ids that all rows have in common and that are read once; 0 for none.
    """

    ids: Tensor
    valid: Tensor
    against: Tensor
    guided: Tensor
    alignment: Tensor | None
    prompts: Tensor
    columns: Tensor
    drawn: Tensor
    spoken: Tensor
    semantic: Tensor
    may_end: Tensor
    banned: Tensor
    temperature: Tensor
    guidance: Tensor
    shared: int = 0

    def to(self, device: torch.device) -> AnswerBatch:
        """Return it on a device."""
        values: dict[str, Any] = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return AnswerBatch(**values)


def _padded(values: Sequence[Sequence[int]], fill: int = 0) -> Tensor:
    longest = max(map(len, values), default=0)
    return torch.tensor(
        [[*row, *[fill] * (longest - len(row))] for row in values], dtype=torch.int64
    )


def _flags(rows: Sequence[Any]) -> Tensor:
    return _padded([row.astype(int).tolist() for row in rows]).bool()


def collate_answers(rows: Sequence[AnswerRow], *, aligned: bool) -> AnswerBatch:
    """Join answers into a batch.

    Args:
        rows: at least one.
        aligned: whether the model has position priors.
    """
    whole = [[*row.prompt, *row.ids.tolist()] for row in rows]
    places = [at for at, row in enumerate(rows) if row.against is not None]
    against = [[*(rows[at].against or ()), *rows[at].ids.tolist()] for at in places]
    slots = max(map(len, whole))
    hidden = _padded([*against, [0] * slots])[:-1]  # as wide as the asked rows
    return AnswerBatch(
        ids=_padded(whole),
        valid=_padded([[1] * len(row) for row in whole]),
        against=hidden,
        guided=torch.tensor(places, dtype=torch.int64),
        alignment=alignment_tensor([row.alignment for row in rows]) if aligned else None,
        prompts=torch.tensor([len(row.prompt) for row in rows]),
        columns=_padded([row.columns.tolist() for row in rows]),
        drawn=_flags([row.drawn for row in rows]),
        spoken=_flags([row.columns < CODE_COUNT for row in rows]),
        semantic=_flags([row.semantic for row in rows]),
        may_end=_flags([row.may_end for row in rows]),
        banned=_padded([row.banned.tolist() for row in rows], -1),
        temperature=torch.tensor([row.sampling.temperature for row in rows]),
        guidance=torch.tensor([row.sampling.guidance for row in rows]),
        shared=shared_length(rows),
    )


def parts_within(rows: Sequence[AnswerRow], tokens: int) -> Iterator[list[int]]:
    """Yield indices of rows in parts whose padded tokens stay within a budget.

    A guided row counts twice, as the model reads it twice. A prompt that all rows of a part have
    in common counts once.

    Args:
        rows: in order; those to one prompt are best together.
        tokens: budget; a row above it is a part of its own.
    """
    part: list[int] = []
    for at in range(len(rows)):
        if part and _padded_tokens([rows[one] for one in (*part, at)]) > tokens:
            yield part
            part = []
        part.append(at)
    if part:
        yield part


def _padded_tokens(rows: Sequence[AnswerRow]) -> int:
    """Return the tokens that the model reads of rows in one part."""
    shared = shared_length(rows)
    passes = sum(1 if row.against is None else 2 for row in rows)
    sides = 1 if rows[0].against is None else 2
    return shared * sides + passes * (max(row.tokens for row in rows) - shared)


def answer_states(model: Any, batch: AnswerBatch, ids: Tensor, shift: int) -> Tensor:
    """Return hidden states along the answers, ``(rows, longest, hidden)``.

    Args:
        model: Step1 for causal language modelling, with adapters or without.
        batch: the answers.
        ids: of these rows: ``batch.ids``, or ``batch.against`` of guided ones.
        shift: -1 for the state that predicts each token; 0 for the one that has read it.
    """
    is_other = ids is batch.against
    rows = batch.guided if is_other else slice(None)
    alignment = None if batch.alignment is None else batch.alignment[rows]
    stack = (model.get_base_model() if hasattr(model, "get_base_model") else model).model
    past, begin = None, 0
    if batch.shared and not (stack.gradient_checkpointing and stack.training):
        past, begin = PromptKeys(), batch.shared
        one = None if alignment is None else alignment[:1]
        stack(input_ids=ids[:1, :begin], past_key_values=past, alignment=one)
        past.finish()
    output = stack(
        input_ids=ids[:, begin:],
        attention_mask=batch.valid[rows],
        past_key_values=past,
        alignment=alignment,
        use_cache=False,
    )
    hidden: Tensor = output.last_hidden_state
    steps = torch.arange(batch.columns.shape[1], device=ids.device)[None]
    places = batch.prompts[rows][:, None] + steps + shift - begin
    places = places.clamp(max=hidden.shape[1] - 1)
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))


def _logits(model: Any, batch: AnswerBatch, layout: TokenLayout) -> Tensor:
    """Return the logits of codes and of the end of turn, guided where sampling was."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = audio_head(plain, layout.audio_base, CODE_COUNT, layout.eot)
    asked = head(answer_states(model, batch, batch.ids, -1)).float()
    if not len(batch.guided):
        return asked
    unasked = head(answer_states(model, batch, batch.against, -1)).float()
    factor = batch.guidance[batch.guided][:, None, None]
    moved = unasked + factor * (asked[batch.guided] - unasked)
    return asked.index_copy(0, batch.guided, moved)


def _allowed(batch: AnswerBatch) -> Tensor:
    """Return bool ``(rows, longest, codes + 1)``: what could be drawn."""
    columns = torch.arange(CODE_COUNT + 1, device=batch.ids.device)
    code = batch.semantic[..., None] == (columns >= LINGUISTIC_SIZE)
    allowed = torch.where(columns == CODE_COUNT, batch.may_end[..., None], code)
    return allowed & (columns != batch.banned[..., None])


def decision_log_probs(model: Any, batch: AnswerBatch, layout: TokenLayout) -> Tensor:
    """Return the log probabilities that every decision of answers was drawn from.

    The distribution is that of sampling: guided logits, the repetition rule, the grammar, the
    temperature, in this order (`stepedit_core.models.lm.session`).

    Args:
        model: Step1 for causal language modelling, with adapters or without.
        batch: on the model's device.
        layout: where audio ids lie.

    Returns:
        float32 ``(rows, longest, codes + 1)``; the last column is the end of turn.
    """
    scores = _logits(model, batch, layout).masked_fill(~_allowed(batch), -torch.inf)
    return (scores / batch.temperature[:, None, None]).log_softmax(-1)


def token_log_probs(model: Any, batch: AnswerBatch, layout: TokenLayout) -> TokenLogProbs:
    """Return the log probability of every decision of answers; see `decision_log_probs`."""
    log_probs = decision_log_probs(model, batch, layout)
    chosen = log_probs.gather(-1, batch.columns[..., None]).squeeze(-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs.masked_fill(log_probs.isinf(), 0.0)).sum(-1)
    none = torch.zeros_like(chosen)
    return TokenLogProbs(
        torch.where(batch.drawn, chosen, none), torch.where(batch.drawn, entropy, none)
    )
