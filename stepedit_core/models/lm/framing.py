"""Between core's requests and the language model: ids, constraints, codes."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepedit_core.codes import GROUP_SECONDS, GROUP_SIZE, DualCodes
from stepedit_core.config import GenerationPolicy, SamplingConfig
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import BudgetError, EngineError
from stepedit_core.models.lm.chat import (
    FramedPrompt,
    PromptEncoding,
    Turn,
    clone_speaker_name,
    frame_prompt,
)
from stepedit_core.models.lm.constraints import CODE_COUNT, Follow, Free, Segment, grammar, mask
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1.alignment import Alignment
from stepedit_core.models.text.base import TextTokenizer
from stepedit_core.plan import Plan as EditPlan
from stepedit_core.prompt import Part, Slot

if TYPE_CHECKING:
    from stepedit_core.models.checkpoint.load import EngineParts
    from stepedit_core.models.lm.answers import Generated

__all__ = [
    "AlignedPrompt",
    "Rules",
    "aligned_prompt",
    "codes_of",
    "constraint_of",
    "most_groups",
    "prompt_ids",
    "sampling_of",
    "warn_if_cut",
]

_log = logging.getLogger(__name__)


def sampling_of(config: SamplingConfig) -> Sampling:
    """Return the rules of picking that a configuration asks for."""
    return Sampling(
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        repetition_window=config.repetition_window,
        guidance=config.guidance,
    )


def _turn(parts: tuple[Part, ...], speaker: str, audio: DualCodes) -> Turn:
    """Join the parts of a turn around its audio slot."""
    words = [speaker if part is Slot.SPEAKER else part for part in parts]
    if Slot.AUDIO not in words:
        return Turn("".join(word for word in words if isinstance(word, str)))
    at = words.index(Slot.AUDIO)
    before, after = (
        "".join(word for word in side if isinstance(word, str))
        for side in (words[:at], words[at + 1 :])
    )
    return Turn(before, audio.interleave(), after)


@dataclass(frozen=True)
class AlignedPrompt:
    """What a model is given of a request.

    Attributes:
        ids: the prompt's ids.
        alignment: where the answer is expected to stand in the source (or, for a clone, in
            the text), for models with a time-aligned prior.
    """

    ids: list[int]
    alignment: Alignment


def prompt_ids(
    request: GenerateRequest, tokenizer: TextTokenizer, encoding: PromptEncoding
) -> list[int]:
    """Return the ids of a request's prompt, its audio slot filled with the codes."""
    return aligned_prompt(request, tokenizer, encoding).ids


def aligned_prompt(
    request: GenerateRequest, tokenizer: TextTokenizer, encoding: PromptEncoding
) -> AlignedPrompt:
    """Return the ids of a request's prompt, and the answer's expected place in its source."""
    speech = request.utterance
    speaker = clone_speaker_name(speech.transcript or "", speech.samples, encoding)
    system = _turn(request.prompt.system, speaker, request.codes)
    user = _turn(request.prompt.user, speaker, request.codes)
    framed = frame_prompt(tokenizer, system, user, encoding)
    return AlignedPrompt(framed.ids, _alignment(request, framed))


def _alignment(request: GenerateRequest, framed: FramedPrompt) -> Alignment:
    """Return the expected alignment."""
    answer = len(framed.ids)
    if framed.text is not None:
        start, stop = framed.text
        expected = max(1.0, request.codes.groups * request.length_ratio)
        return Alignment(start, stop, answer, "text", ((0.0, (stop - start) / expected),))
    return Alignment(*framed.audio, answer, "audio", *request.tempo())


@dataclass(frozen=True)
class Rules:
    """What holds for the requests of one batch.

    Attributes:
        sampling: how codes are drawn.
        policy: how long an answer may be, what of it is generated, the best of how many is kept.
    """

    sampling: SamplingConfig
    policy: GenerationPolicy

    def follows_source(self, plan: EditPlan) -> bool:
        """Return whether these rules, of one edit, hold an answer to its source's codes."""
        held = self.policy.follow_source and self.sampling.grammar
        return held and plan.omissions is not None and plan.spans is None

    def for_edit(self, *names: str) -> Rules:
        """Return the rules that hold for one edit; of several names, later ones go before."""
        return Rules(self.sampling.for_edit(*names), self.policy.for_edit(*names))


def constraint_of(
    request: GenerateRequest, ids: list[int], budget: int, rules: Rules
) -> tuple[Segment, ...]:
    """Return the constraint of a request: a grammar, or what it copies or follows of the source.

    Raises:
        BudgetError: if the expected output does not fit beside the prompt.
    """
    expected = max(1, round(request.codes.groups * request.length_ratio))
    if expected * GROUP_SIZE > budget:
        over = (expected * GROUP_SIZE - budget) / GROUP_SIZE * 0.12
        raise BudgetError(
            f"the prompt has {len(ids)} tokens and the output needs about "
            f"{expected * GROUP_SIZE}, but the limit for both is {len(ids) + budget}: "
            f"shorten the recording by about {over / (1 + request.length_ratio):.1f} s"
        )
    if request.free is None:
        policy = rules.policy
        passage = request.passage() if rules.follows_source(request.plan) else None
        if passage is not None:
            return (Follow(passage),)
        is_known = request.plan.has_known_length
        least = policy.min_length if is_known else policy.min_length_estimated
        return grammar(max(1, int(least * expected)), most_groups(request, budget, policy))
    spans = [(part.start, part.stop) for part in request.free]
    frees = [Free(part.length, part.length) for part in request.free]
    return mask(request.codes, spans, frees)


def most_groups(request: GenerateRequest, budget: int, policy: GenerationPolicy) -> int:
    """Return the length at which output is cut, in groups.

    A model that does not find its end repeats itself until the budget is used up; no edit
    needs several times the expected length, and none much more than one that it was asked for.
    """
    expected = request.codes.groups * request.length_ratio
    if request.plan.has_known_length:
        longest = math.ceil(policy.max_growth_known * expected) + 1
    else:
        longest = round(policy.max_growth * expected) + round(policy.growth_seconds / GROUP_SECONDS)
    return max(1, min(budget // GROUP_SIZE, longest))


def codes_of(output: Generated, request: GenerateRequest, parts: EngineParts) -> DualCodes:
    """Return generated ids as codes; without the grammar, groups out of phase are left out.

    Raises:
        EngineError: if not one whole group was generated.
    """
    base = parts.layout.audio_base
    tokens = [i - base for i in output.ids if base <= i < base + CODE_COUNT]
    codes = DualCodes.from_interleaved(_whole_groups(tokens))
    if codes.groups == 0:
        raise EngineError(
            "the language model ended its turn without any speech; try another seed or a "
            "clearer transcript"
        )
    return codes


def warn_if_cut(codes: DualCodes, request: GenerateRequest, policy: GenerationPolicy) -> None:
    """Say that an answer which is kept is as long as it may be: the model did not end it."""
    is_guessed = request.free is None and not request.plan.has_known_length
    if is_guessed and codes.groups >= most_groups(request, sys.maxsize, policy):
        _log.warning(
            "the language model did not end its turn; its output was cut at %.1f s", codes.seconds
        )


def _whole_groups(tokens: list[int]) -> list[int]:
    """Keep the groups of two linguistic and three semantic tokens, in order.

    The public system emits tokens freely and decodes whatever comes; a token of the wrong kind
    would shift all that follow, so reading starts afresh at the next linguistic token.
    """
    kept: list[int] = []
    group: list[int] = []
    for token in tokens:
        linguistic = token < 1024
        if linguistic != (len(group) < 2):
            # Of three linguistic tokens in a row, the last two may begin a group.
            group = [*group[len(group) - 1 :], token] if len(group) == 2 else [token]
            group = group if linguistic else []
            continue
        group.append(token)
        if len(group) == GROUP_SIZE:
            kept += group
            group = []
    return kept
