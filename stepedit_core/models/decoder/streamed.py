"""Audio while tokens arrive: one request through generation and streaming decode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SIZE, SEMANTIC_PER_GROUP
from stepedit_core.config import SamplingConfig
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.llm_route.expected import origin_of
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.decoder.decoder import Reference
from stepedit_core.models.decoder.streaming import CHUNK_STEPS, StreamDecoder
from stepedit_core.models.lm.chat import hide_words
from stepedit_core.models.lm.framing import aligned_prompt, constraint_of, sampling_of
from stepedit_core.models.lm.generation import stream

__all__ = ["first_chunk_groups", "stream_request"]

FloatArray = npt.NDArray[np.float32]


def first_chunk_groups(parts: EngineParts) -> int:
    """Return the groups (120 ms each) that the first chunk waits for, its look-ahead included."""
    return (CHUNK_STEPS[0] + parts.decoder.flow.lookahead) // SEMANTIC_PER_GROUP


def stream_request(
    parts: EngineParts, sampling: SamplingConfig, request: GenerateRequest, voice: Reference
) -> Iterator[FloatArray]:
    """Yield audio of one request, float32 at the decoder's rate.

    Raises:
        RouteError: if the request is confined to spans, whose joins need all of the audio.
        BudgetError: if prompt and output do not fit the context.
        EngineError: if the model ends its turn without a single group.
    """
    if any(not part.new for part in request.free or ()):
        raise RouteError("an edit that is confined to spans cannot be streamed; use edit()")
    prompt = aligned_prompt(request, parts.text, parts.encoding)
    ids = prompt.ids
    sampling = sampling.for_edit(*request.sampled_as)
    budget = parts.budget(len(ids), sampling.max_length)
    rules = sampling_of(sampling)
    tokens = stream(
        parts.model,
        ids,
        layout=parts.layout,
        sampling=rules,
        constraint=constraint_of(request, ids, budget, sampling),
        seed=request.seed,
        max_new_tokens=budget,
        alignment=prompt.alignment,
        against=hide_words(ids, parts.text) if rules.guided else None,
    )
    base = parts.layout.audio_base
    origin = origin_of(request, budget // GROUP_SIZE)
    with StreamDecoder(parts.decoder, voice, request.seed, origin=origin) as session:
        group: list[int] = []
        spoken = False
        for token in tokens:
            group.append(token - base)
            if len(group) < GROUP_SIZE:
                continue
            spoken = True
            chunk = session.push(group)
            group = []
            if chunk is not None:
                yield chunk
        if not spoken:
            raise EngineError("the language model ended its turn without any speech")
        rest = session.push(last=True)
        if rest is not None and len(rest):
            yield rest
