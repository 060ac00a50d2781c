"""Lay out answers as the decisions of sampling: which ids were drawn, and from what.

A constraint puts some ids without asking the model, and lets others be drawn from a part of the
vocabulary. Log probabilities mean something only over the decisions that sampling left to the
model, among what it left, so policy and reference are both asked under the very constraint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, DualCodes
from stepedit_core.config import GenerationPolicy, SamplingConfig
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.chat import PromptEncoding, hide_words, preferred_encoding
from stepedit_core.models.lm.constraints import CODE_COUNT, Copy, Free, Plan, plan
from stepedit_core.models.lm.framing import Rules, aligned_prompt, constraint_of, sampling_of
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1 import Alignment
from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.base import TextTokenizer

if TYPE_CHECKING:
    from stepedit_core.models.checkpoint.load import EngineParts

__all__ = ["READING", "AnswerRow", "Vocabulary", "lay_out", "read_answer"]

READING = Rules(
    SamplingConfig(temperature=1.0, repetition_window=0),
    GenerationPolicy(max_growth=1000.0, max_growth_known=1000.0),
)
"""Under which answers are read: nobody draws them here, so any length may be judged."""

Flags = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """The parts of a model that turn requests into ids and have no weights.

    Attributes:
        text: words to ids.
        encoding: which official prompt encoding is used.
        layout: where audio ids lie.
        longest: tokens of prompt and answer that the model takes.
    """

    text: TextTokenizer
    encoding: PromptEncoding
    layout: TokenLayout
    longest: int

    @classmethod
    def of_folder(cls, folder: Path) -> Vocabulary:
        """Read that of a model folder; raises CheckpointError where a file is missing."""
        text = load_tokenizer(folder)
        longest = int(read_config(folder)[0].max_seq_len)
        return cls(text, preferred_encoding(folder), TokenLayout.of(text), longest)

    @classmethod
    def of_parts(cls, parts: EngineParts) -> Vocabulary:
        """Return that of a loaded engine."""
        longest = int(parts.model.config.max_seq_len)
        return cls(parts.text, parts.encoding, parts.layout, longest)


@dataclass(frozen=True, eq=False)
class AnswerRow:
    """An answer with its prompt, laid out for the model.

    Attributes:
        prompt: ids before the first decision, copied ones included.
        ids: ids of the answer from there on, ``(n,)``; the last is the end of turn where that was
            drawn.
        drawn: bool ``(n,)``: the model decided; the others were copied.
        semantic: bool ``(n,)``: semantic codes were allowed, otherwise linguistic ones.
        may_end: bool ``(n,)``: the end of turn was allowed.
        banned: int64 ``(n,)``: code that the repetition rule forbade, or -1.
        sampling: how was drawn.
        base: id of the first code.
        alignment: expected place of the answer in its source.
        against: ``prompt`` without its words, where sampling was guided.
        first: codes that were copied before the first decision.
    """

    prompt: list[int]
    ids: Ids
    drawn: Flags
    semantic: Flags
    may_end: Flags
    banned: Ids
    sampling: Sampling
    base: int
    alignment: Alignment | None = None
    against: list[int] | None = None
    first: int = 0

    @property
    def tokens(self) -> int:
        """Ids of prompt and answer."""
        return len(self.prompt) + len(self.ids)

    @property
    def columns(self) -> Ids:
        """Decisions as columns of the logits, int64 ``(n,)``: codes, and last the end of turn."""
        codes = self.ids - self.base
        return np.where((codes >= 0) & (codes < CODE_COUNT), codes, CODE_COUNT)


def lay_out(
    request: GenerateRequest, codes: DualCodes, vocabulary: Vocabulary, rules: Rules
) -> AnswerRow:
    """Return an answer as the decisions that give it.

    Args:
        request: what was asked.
        codes: of the answer, whoever gave it.
        vocabulary: of the model.
        rules: of sampling and policy that hold for the request's edit.

    Raises:
        StepeditError: if sampling by these rules could not give the answer.
    """
    sampling = sampling_of(rules.sampling)
    if sampling.greedy or sampling.top_k is not None or sampling.top_p is not None:
        raise StepeditError(
            "answers are learned from with a temperature above 0 and without top_k and top_p: "
            "what these cut off has no probability"
        )
    if not rules.sampling.grammar:
        raise StepeditError("answers are learned from with grammar = true")
    prompt = aligned_prompt(request, vocabulary.text, vocabulary.encoding)
    limit = min(rules.sampling.max_length, vocabulary.longest)
    # What a model in use is held to is not learned: it is what the model says by itself.
    free = Rules(rules.sampling, rules.policy.model_copy(update={"follow_source": False}))
    segments = constraint_of(request, prompt.ids, limit - len(prompt.ids), free)
    made = plan(segments, limit - len(prompt.ids))
    tokens = codes.interleave()
    first, stop = len(made.prefix), len(tokens) - len(made.suffix)
    if tuple(tokens[:first]) != made.prefix or tuple(tokens[stop:]) != made.suffix:
        raise StepeditError("the answer does not keep what it had to copy")
    body = tokens[first:stop]
    drawn, semantic, may_end, ended = _decisions(made, body)
    base, eot = vocabulary.layout.audio_base, vocabulary.layout.eot
    ids = np.concatenate([body + base, np.array([eot] * ended, np.int64)])
    before = [*prompt.ids, *(base + token for token in made.prefix)]
    against = None
    if sampling.guided:
        against = [*hide_words(prompt.ids, vocabulary.text), *before[len(prompt.ids) :]]
    banned = _banned(before, ids, sampling, base)
    row = AnswerRow(
        before, ids, drawn, semantic, may_end, banned, sampling, base, prompt.alignment, against,
        first,
    )  # fmt: skip
    if (drawn & (row.columns == banned)).any():
        raise StepeditError("the answer repeats a code that the repetition rule forbids")
    return row


def read_answer(
    prompt: Sequence[int], ids: Sequence[int], vocabulary: Vocabulary, alignment: Alignment | None
) -> AnswerRow:
    """Return an answer that is judged and not drawn, from ids: any codes, of any length.

    Args:
        prompt: its ids.
        ids: of the answer's codes, whole groups.
        vocabulary: of the model.
        alignment: expected place of the answer in its source.
    """
    flags = _flags(len(ids), np.zeros(len(ids), np.bool_), drawn=True)
    none = np.full(len(ids), -1, np.int64)
    sampling, base = sampling_of(READING.sampling), vocabulary.layout.audio_base
    made = np.asarray(ids, np.int64)
    return AnswerRow(list(prompt), made, *flags, none, sampling, base, alignment)


def _decisions(made: Plan, body: Ids) -> tuple[Flags, Flags, Flags, bool]:
    """Return which tokens were drawn, which kind they had to be, where an end was allowed.

    Raises:
        StepeditError: if the constraint does not give such a body.
    """
    parts: list[tuple[Flags, Flags, Flags]] = []
    at, ended = 0, False
    for segment in made.body:
        if isinstance(segment, Copy):
            length = len(segment.tokens)
            if tuple(body[at : at + length]) != segment.tokens:
                raise StepeditError("the answer does not keep what it had to copy")
            parts.append(_flags(length, np.zeros(length, np.bool_), drawn=False))
        elif isinstance(segment, Free):
            is_last = segment is made.body[-1]
            length, ended = _free_length(segment, len(body) - at, is_last)
            steps = length + ended
            place = np.arange(steps)
            inside = place % GROUP_SIZE == 0
            may_end = (place >= GROUP_SIZE * segment.min_groups) & inside
            parts.append(_flags(steps, may_end, drawn=True))
        at += length
    if at != len(body) or not parts:
        raise StepeditError("the answer has another length than was asked for")
    drawn, semantic, may_end = (np.concatenate(column) for column in zip(*parts, strict=True))
    return drawn, semantic, may_end, ended


def _free_length(segment: Free, left: int, is_last: bool) -> tuple[int, bool]:
    """Return the tokens of a free segment, and whether the model ended it."""
    assert segment.max_groups is not None
    least, most = GROUP_SIZE * segment.min_groups, GROUP_SIZE * segment.max_groups
    if not is_last:
        if least != most:
            raise StepeditError("free places of open length are learned from at the end alone")
        return most, False
    if not least <= left <= most:
        raise StepeditError(
            f"an answer of {left // GROUP_SIZE} groups is outside of "
            f"{segment.min_groups} to {segment.max_groups}, which sampling allows"
        )
    return left, left < most


def _flags(length: int, may_end: Flags, *, drawn: bool) -> tuple[Flags, Flags, Flags]:
    phase = np.arange(length) % GROUP_SIZE
    return np.full(length, drawn), phase >= LINGUISTIC_PER_GROUP, may_end


def _banned(before: Sequence[int], ids: Ids, sampling: Sampling, base: int) -> Ids:
    """Return the code that the repetition rule forbade at each place; -1 for none."""
    window = sampling.repetition_window
    if not window:
        return np.full(len(ids), -1, np.int64)
    read = np.concatenate([np.full(window, -1), np.asarray(before), ids])
    places = len(before) + np.arange(len(ids))
    recent = np.lib.stride_tricks.sliding_window_view(read, window)[places]
    newest = recent[:, -1]
    often = (recent == newest[:, None]).sum(1) >= sampling.repetition_count
    code = newest - base
    known = often & (recent[:, 0] >= 0) & (code >= 0) & (code < CODE_COUNT)
    return np.where(known, code, -1).astype(np.int64)
