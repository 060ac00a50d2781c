"""Rules of picking that come with a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.codes import DualCodes
from stepedit_core.config import (
    EngineConfig,
    GenerationPolicy,
    SamplingConfig,
    engine_config,
    join_rules,
)
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import CheckpointError, EngineError
from stepedit_core.models.checkpoint.model_files import SAMPLING, folder_sampling
from stepedit_core.models.lm.constraints import Free
from stepedit_core.models.lm.framing import Rules, constraint_of
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.testing import speech_like


def test_a_model_sets_what_its_user_does_not(tmp_path: Path) -> None:
    assert folder_sampling(tmp_path) == ({}, {})
    (tmp_path / SAMPLING).write_text(json.dumps({"temperature": 0.2, "hold_length": 0.9}))
    sampling, policy = folder_sampling(tmp_path)
    chosen = SamplingConfig(temperature=1.0, top_k=5).filled(sampling)
    assert chosen == SamplingConfig(temperature=1.0, top_k=5)
    assert GenerationPolicy(best_of=2).filled(policy) == GenerationPolicy(best_of=2, min_length=0.9)
    assert SamplingConfig().filled({}) == SamplingConfig()


def test_single_edits_have_rules_of_their_own_unless_the_user_sets_them(tmp_path: Path) -> None:
    own = {"denoise": {"temperature": 0.9, "guidance": 2.0}}
    (tmp_path / SAMPLING).write_text(json.dumps({"temperature": 0.2, "edits": own}))
    model = SamplingConfig().filled(folder_sampling(tmp_path)[0])
    assert model.for_edit("denoise") == SamplingConfig(temperature=0.9, guidance=2.0)
    assert model.for_edit("speed") == SamplingConfig(temperature=0.2)
    chosen = SamplingConfig(temperature=1.5).filled(folder_sampling(tmp_path)[0])
    assert chosen.for_edit("denoise") == SamplingConfig(temperature=1.5, guidance=2.0)
    single = SamplingConfig(edits={"speed": {"top_k": 5}, "denoise": {"temperature": 0.4}})
    merged = single.filled(folder_sampling(tmp_path)[0])
    assert merged.for_edit("denoise") == SamplingConfig(temperature=0.4, guidance=2.0)
    assert merged.for_edit("speed") == SamplingConfig(temperature=0.2, top_k=5)
    both = SamplingConfig(edits={"speed": {"temperature": 0.2, "top_k": 5}, "masked": {"top_k": 7}})
    assert both.for_edit("speed", "masked") == SamplingConfig(temperature=0.2, top_k=7)
    assert both.for_edit("masked") == SamplingConfig(top_k=7)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"edits": {"speed": {"temprature": 1}}}',
        '{"edits": {"speed": {"edits": 1}}}',
        '{"temprature": 1}',
        '{"temperature": -1}',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / SAMPLING).write_text(content)
    with pytest.raises(CheckpointError, match=r"sampling\.json"):
        folder_sampling(tmp_path)


@pytest.mark.parametrize(
    ("known", "held", "least"),
    [
        (True, {"min_length": 0.9}, 18),
        (True, {"min_length_estimated": 0.9}, 1),
        (True, {}, 1),
        (False, {"min_length": 0.9}, 1),
        (False, {"min_length": 0.9, "min_length_estimated": 0.5}, 10),
    ],
)
def test_definite_and_guessed_durations_are_held_apart(
    known: bool, held: dict[str, float], least: int
) -> None:
    codes = DualCodes.from_interleaved([0, 0, 1024, 1024, 1024] * 10)
    plan = Plan(length_ratio=2.0, length_is_exact=known)
    request = GenerateRequest(Prompt.edit("Slower."), codes, speech_like(1.2), plan=plan)
    rules = Rules(SamplingConfig(), GenerationPolicy(**held))
    made = constraint_of(request, [1, 2], 5000, rules)
    assert len(made) == 1 and isinstance(made[0], Free)
    assert made[0].min_groups == least


def test_a_wrong_rule_names_the_edit() -> None:
    with pytest.raises(EngineError, match=r"edits\.speed\.temprature: Extra inputs"):
        engine_config(sampling={"edits": {"speed": {"temprature": 1}}})


@pytest.mark.filterwarnings("default")
def test_fields_that_have_moved_are_taken_under_their_old_names() -> None:
    own = {"speed": {"candidates": 2, "top_k": 5}}
    with pytest.warns(DeprecationWarning, match="belong to GenerationPolicy"):
        sampling = SamplingConfig(hold_guess=0.5, keep_rest=True, temperature=0.1, edits=own)
    config = EngineConfig(sampling=sampling, generation=GenerationPolicy(min_length=0.2))
    assert config.sampling.for_edit("speed") == SamplingConfig(temperature=0.1, top_k=5)
    assert config.generation == GenerationPolicy(
        min_length=0.2,
        min_length_estimated=0.5,
        regenerate="insertions",
        edits={"speed": {"best_of": 2}},
    )
    assert config.generation.for_edit("speed").best_of == 2
    assert join_rules(sampling, GenerationPolicy()) == {
        "temperature": 0.1,
        "min_length_estimated": 0.5,
        "regenerate": "insertions",
        "edits": {"speed": {"top_k": 5, "best_of": 2}},
    }


@pytest.mark.filterwarnings("default")
def test_reuse_decoded_is_taken_and_said_to_have_no_effect() -> None:
    with pytest.warns(DeprecationWarning, match="carry='audio'"):
        assert EngineConfig.model_validate({"reuse_decoded": False}) == EngineConfig()
