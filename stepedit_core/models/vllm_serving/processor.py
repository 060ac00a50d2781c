"""The grammar of codes as vLLM's logits processor, for its V1 model runner.

The V2 runner, vLLM's choice where Triton works, has another interface; `VllmGenerator` asks for
V1. vLLM refuses such processors beside speculative decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_core.models.vllm_serving.schedule import CodeSchedule, banned_id

__all__ = ["FIELD", "CodeGrammar"]

FIELD = "stepedit_codes"
"""Name in ``SamplingParams.extra_args`` of what a request is held to."""


class CodeGrammar(AdapterLogitsProcessor):  # type: ignore[misc]
    """Holds the requests that ask for it to their schedule and to the repetition rule."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse what is no schedule, with ValueError, as vLLM expects."""
        asked = (sampling_params.extra_args or {}).get(FIELD)
        if asked is not None:
            _processor_of(asked)

    def is_argmax_invariant(self) -> bool:
        """Return False: the likeliest id may be forbidden."""
        return False

    def new_req_logits_processor(
        self, params: SamplingParams
    ) -> Callable[[list[int], list[int], Tensor], Tensor] | None:
        """Return what holds one request, or None where it asks for nothing."""
        asked = (params.extra_args or {}).get(FIELD)
        return None if asked is None else _processor_of(asked)


def _processor_of(asked: Any) -> Callable[[list[int], list[int], Tensor], Tensor]:
    """Return a function of prompt ids, ids so far and logits, which it changes in place."""
    if not isinstance(asked, dict):
        raise ValueError(f"{FIELD} must be an object")
    schedule = CodeSchedule.from_data(asked)
    try:
        base, end = int(asked["base"]), int(asked["end"])
        window, count = int(asked["window"]), int(asked["count"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{FIELD} lacks a number: {error}") from error

    def hold(prompt: list[int], ids: list[int], logits: Tensor) -> Tensor:
        place = schedule.place(len(ids))
        ending = logits[end].clone()
        logits[: base + place.first] = -float("inf")
        logits[base + place.stop :] = -float("inf")
        if place.may_end:
            logits[end] = ending
        banned = banned_id([*prompt[-window:], *ids], window, count) if window else None
        is_drawn = place.stop - place.first > 1  # what is copied is put, whatever came before
        if is_drawn and banned is not None and base <= banned < base + CODE_COUNT:
            logits[banned] = -float("inf")
        return logits

    return hold
