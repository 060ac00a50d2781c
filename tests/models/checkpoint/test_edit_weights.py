"""Weights of the language model for single edits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from stepedit_train.rl.rollouts import rollout_rules

from stepedit_core import Engine, GenerationPolicy, SamplingConfig
from stepedit_core.config import without_own_weights
from stepedit_core.errors import CheckpointError
from stepedit_core.recordings import packaged_speech
from tests.models.tiny_checkpoint import MODEL, write_engine
from tests.models.tiny_step1 import tiny_model
from tests.saying_edit import Say

RULES = {"edits": {"say": {"weights": "spoken"}}}
TEXT = Say(text="Bees.")


def loaded(folder: Path) -> Engine:
    policy = GenerationPolicy(max_growth=1.0, growth_seconds=0.0)
    return Engine.load(str(folder), sampling=SamplingConfig(max_length=600), generation=policy)


def said(engine: Engine) -> str:
    speech = packaged_speech("office")
    (made,) = engine.edit(speech, TEXT, seed=3)
    streamed = np.concatenate(list(engine.stream(speech, TEXT, seed=3)))
    assert len(streamed) == len(made.utterance.samples)
    return made.utterance.digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model with another copy of itself, which `say` asks for."""
    made = write_engine(tmp_path / "engine")
    tiny_model(1).save_pretrained(made / MODEL / "spoken")
    (made / MODEL / "sampling.json").write_text(json.dumps(RULES))
    return made


def test_an_edit_asks_its_own_weights_and_no_other_does(folder: Path, tmp_path: Path) -> None:
    plain, other = write_engine(tmp_path / "plain"), write_engine(tmp_path / "other")
    shutil.copyfile(folder / MODEL / "spoken" / "model.safetensors",
                    other / MODEL / "model.safetensors")  # fmt: skip
    engine = loaded(folder)
    assert said(engine) == said(loaded(other)) != said(loaded(plain))
    (folder / MODEL / "sampling.json").write_text("{}")
    assert said(loaded(folder)) == said(loaded(plain))


def test_weights_are_read_when_an_edit_asks_for_them(folder: Path) -> None:
    engine = loaded(folder)
    assert len(list(engine.parts.networks())) == 1
    said(engine)
    assert len(list(engine.parts.networks())) == 2
    engine.close()


def test_the_user_may_ask_the_model_itself(folder: Path, tmp_path: Path) -> None:
    policy = GenerationPolicy(max_growth=1.0, growth_seconds=0.0, edits={"say": {"weights": None}})
    engine = Engine.load(str(folder), sampling=SamplingConfig(max_length=600), generation=policy)
    assert said(engine) == said(loaded(write_engine(tmp_path / "plain")))


def test_missing_weights_are_named_when_the_model_is_loaded(folder: Path) -> None:
    shutil.rmtree(folder / MODEL / "spoken")
    with pytest.raises(CheckpointError, match=r"spoken.config\.json is missing"):
        loaded(folder)


def test_weights_of_another_vocabulary_are_refused(folder: Path) -> None:
    shutil.rmtree(folder / MODEL / "spoken")
    tiny_model(1, max_seq_len=2048).save_pretrained(folder / MODEL / "spoken")
    with pytest.raises(CheckpointError, match="max_seq_len is 2048"):
        said(loaded(folder))


@pytest.mark.parametrize("name", ["..", "a/b", "", "/etc"])
def test_a_name_is_that_of_a_folder_inside(folder: Path, name: str) -> None:
    rules = {"edits": {"say": {"weights": name}}}
    (folder / MODEL / "sampling.json").write_text(json.dumps(rules))
    with pytest.raises(CheckpointError, match=r"sampling\.json: is damaged"):
        loaded(folder)


def test_what_is_taught_answers_all_edits(folder: Path) -> None:
    engine = loaded(folder)
    assert GenerationPolicy().filled(engine.parts.generation).for_edit("say").weights == "spoken"
    assert rollout_rules(engine, None, None).for_edit("say").policy.weights is None
    rules = {"weights": "a", "temperature": 1, "edits": {"say": {"weights": "b", "best_of": 2}}}
    assert without_own_weights(rules) == {"temperature": 1, "edits": {"say": {"best_of": 2}}}
    assert GenerationPolicy(weights="a", edits={"say": {"weights": "b"}}).named_weights() == {
        "a": [],
        "b": ["say"],
    }
