"""vLLM's answers are those of our own loop; needs the extra ``vllm``, and no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("vllm")

from stepedit_core.codes import DualCodes, FreeGroups
from stepedit_core.config import EngineConfig, GenerationPolicy, SamplingConfig
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import EngineError
from stepedit_core.models.engine import Engine
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.lm.generate_codes import answer_requests
from stepedit_core.models.lm.step1 import Step1ForCausalLM
from stepedit_core.models.vllm_serving.engine import VllmEngine
from stepedit_core.models.vllm_serving.generator import VllmGenerator
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.registry.registry import load_engine
from stepedit_core.testing import speech_like
from tests.models.tiny_checkpoint import write_single
from tests.models.tiny_step1 import tiny_model
from tests.models.vllm_serving import sqrt_alibi

pytestmark = pytest.mark.slow

GREEDY = SamplingConfig(temperature=0.0, repetition_window=6)
SMALL: dict[str, Any] = {"enforce_eager": True, "kv_cache_memory_bytes": 64 * 2**20}


def codes(seed: int, groups: int) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def request(seed: int, groups: int = 5, **fields: Any) -> GenerateRequest:
    speech = speech_like(0.4, 8000).replace(transcript="words")
    prompt = Prompt.edit(f"Make it {'very ' * seed}so.\n")
    return GenerateRequest(prompt, codes(seed, groups), speech, seed, **fields)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, VllmGenerator]]:
    sqrt_alibi.register()
    folder = write_single(tmp_path_factory.mktemp("engine"))
    engine = Engine.from_config(EngineConfig(name_or_path=str(folder), dtype="float32"))
    before = torch.get_rng_state()
    generator = VllmGenerator(folder, engine.parts, **SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    yield engine, generator
    generator.close()


def same(served: tuple[Engine, VllmGenerator], requests: list[GenerateRequest]) -> list[int]:
    """Compare both ways of drawing; return the groups of the answers."""
    engine, generator = served
    rules = Rules(GREEDY, GenerationPolicy(min_length=0.5, max_growth=1.5))
    ours = answer_requests(engine.parts, rules, requests, graphs=False)
    theirs = generator.generate(requests, rules)
    assert [one.interleave().tolist() for one in theirs] == [
        one.interleave().tolist() for one in ours
    ]
    return [one.groups for one in theirs]


def test_greedy_answers_are_the_loops(served: tuple[Engine, VllmGenerator]) -> None:
    asked = [request(n, 4 + n, plan=Plan(uniform_tempo=True)) for n in range(4)]
    assert len(set(same(served, [*asked, request(5)]))) > 1


def test_copied_parts_are_copied(served: tuple[Engine, VllmGenerator]) -> None:
    free = (FreeGroups(1, 2, 2), FreeGroups(3, 4, 1))
    assert same(served, [request(1, 5, free=free), request(2, 5, free=(FreeGroups(1, 2, 0),))])


def test_drawn_answers_hold_the_grammar(served: tuple[Engine, VllmGenerator]) -> None:
    _, generator = served
    rules = Rules(SamplingConfig(temperature=1.0), GenerationPolicy(max_growth=1.0))
    asked = [request(n % 2) for n in range(6)]
    one, two = (generator.generate(asked, rules) for _ in range(2))
    assert [a.interleave().tolist() for a in one] == [b.interleave().tolist() for b in two]
    assert len({tuple(a.interleave().tolist()) for a in one}) == 2
    with pytest.raises(EngineError, match="without guidance"):
        generator.generate(asked, Rules(SamplingConfig(guidance=2.0), rules.policy))


def test_the_engine_by_name(served: tuple[Engine, VllmGenerator]) -> None:
    engine, _ = served
    config = EngineConfig(name_or_path=f"vllm:{engine.config.name_or_path}", compile=False)
    with pytest.raises(EngineError, match="reads weights as they lie"):
        VllmEngine.from_config(config.model_copy(update={"quantize": "int8"}))
    both = []
    for name in (config.name_or_path, engine.config.name_or_path):
        loaded = load_engine(
            config.model_copy(update={"name_or_path": name, "sampling": GREEDY, "dtype": "float32"})
        )
        both.append(
            [one.interleave().tolist() for one in loaded.generate([request(0), request(2)])]
        )
        loaded.close()
    assert both[0] == both[1]
    with pytest.raises(EngineError, match="position priors"):
        load_engine(EngineConfig(name_or_path="vllm:embedded"))


def test_other_weights_are_taken(served: tuple[Engine, VllmGenerator]) -> None:
    engine, generator = served
    before: Any = engine.parts.model
    other: Step1ForCausalLM = tiny_model(7)
    same(served, [request(0)])
    generator.load_weights(other.state_dict().items())
    engine.parts.model.load_state_dict(other.state_dict(), strict=True)
    same(served, [request(0), request(3)])
    assert before is engine.parts.model and torch.is_tensor(before.lm_head.weight)
