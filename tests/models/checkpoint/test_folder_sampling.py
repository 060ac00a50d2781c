"""Rules of picking that come with a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepedit_core.codes import DualCodes
from stepedit_core.config import SamplingConfig, engine_config
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import CheckpointError, EngineError
from stepedit_core.models.checkpoint.folder_sampling import SAMPLING, folder_sampling
from stepedit_core.models.lm.constraints import Free
from stepedit_core.models.lm.framing import constraint_of
from stepedit_core.prompt import Prompt
from stepedit_core.testing import speech_like


def test_a_model_sets_what_its_user_does_not(tmp_path: Path) -> None:
    assert folder_sampling(tmp_path) == {}
    (tmp_path / SAMPLING).write_text(json.dumps({"temperature": 0.2, "hold_length": 0.9}))
    defaults = folder_sampling(tmp_path)
    chosen = SamplingConfig(temperature=1.0, top_k=5).filled(defaults)
    assert chosen == SamplingConfig(temperature=1.0, top_k=5, hold_length=0.9)
    assert SamplingConfig().filled({}) == SamplingConfig()


def test_single_edits_have_rules_of_their_own_unless_the_user_sets_them(tmp_path: Path) -> None:
    own = {"denoise": {"temperature": 0.9, "guidance": 2.0}}
    (tmp_path / SAMPLING).write_text(json.dumps({"temperature": 0.2, "edits": own}))
    model = SamplingConfig().filled(folder_sampling(tmp_path))
    assert model.for_edit("denoise") == SamplingConfig(temperature=0.9, guidance=2.0)
    assert model.for_edit("speed") == SamplingConfig(temperature=0.2)
    chosen = SamplingConfig(temperature=1.5).filled(folder_sampling(tmp_path))
    assert chosen.for_edit("denoise") == SamplingConfig(temperature=1.5, guidance=2.0)
    single = SamplingConfig(edits={"speed": {"top_k": 5}, "denoise": {"temperature": 0.4}})
    merged = single.filled(folder_sampling(tmp_path))
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
        (True, {"hold_length": 0.9}, 18),
        (True, {"hold_guess": 0.9}, 1),
        (True, {}, 1),
        (False, {"hold_length": 0.9}, 1),
        (False, {"hold_length": 0.9, "hold_guess": 0.5}, 10),
    ],
)
def test_definite_and_guessed_durations_are_held_apart(
    known: bool, held: dict[str, float], least: int
) -> None:
    codes = DualCodes.from_interleaved([0, 0, 1024, 1024, 1024] * 10)
    request = GenerateRequest(
        Prompt.edit("Slower."), codes, speech_like(1.2), length_ratio=2.0, known_length=known
    )
    made = constraint_of(request, [1, 2], 5000, SamplingConfig(**held))
    assert len(made) == 1 and isinstance(made[0], Free)
    assert made[0].min_groups == least


def test_a_wrong_rule_names_the_edit() -> None:
    with pytest.raises(EngineError, match=r"edits\.speed\.temprature: Extra inputs"):
        engine_config(sampling={"edits": {"speed": {"temprature": 1}}})
