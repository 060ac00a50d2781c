"""The command and its settings."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from stepedit_train import plugin
from stepedit_train.assembly.settings import AssembleSettings
from stepedit_train.data.stage import DataSettings
from stepedit_train.decoder.flow.stage import FlowSettings
from stepedit_train.lm.sft import SftSettings
from stepedit_train.settings import Settings, load_settings, resolve_path
from stepedit_train.stages import settings_of
from stepedit_train.tokenizers.linguistic.codebook import CodebookSettings
from stepedit_train.tokenizers.linguistic.stage import LinguisticSettings
from stepedit_train.tokenizers.semantic.export import SemanticExportSettings
from stepedit_train.tokenizers.semantic.stage import SemanticSettings

from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import Registry

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (DataSettings, "embedded/data.toml"),
        (LinguisticSettings, "embedded/linguistic.toml"),
        (CodebookSettings, "embedded/linguistic-codebook.toml"),
        (SemanticSettings, "embedded/semantic.toml"),
        (SemanticExportSettings, "embedded/semantic-export.toml"),
        (AssembleSettings, "embedded/assemble.toml"),
        (FlowSettings, "flow.toml"),
        (FlowSettings, "flow-small.toml"),
        (SftSettings, "sft.toml"),
        (settings_of("grpo"), "embedded/rl/grpo-sounds.toml"),
        *[
            (settings_of(stage), f"{folder}{stage}.toml")
            for stage in ("reward", "dpo", "grpo", "ppo")
            for folder in ("", "embedded/rl/")
        ],
    ],
)
def test_the_shipped_configs_are_valid(kind: type[Settings], name: str) -> None:
    load_settings(kind, CONFIGS / name)


def test_changed_settings_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('cache = "c"\nout = "o"\nsteps = 5\nbudget = 1.0\nlearning_rate = 0.1\n')
    made = load_settings(LinguisticSettings, file, ["steps=7", "encoder.num_blocks=2", "out=x"])
    assert made.steps == 7 and made.encoder.num_blocks == 2
    assert resolve_path(made, made.out) == tmp_path / "x"


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("steps = ", [], "is not TOML"),
        ("stepz = 3", [], "no parameter 'stepz'"),
        ("steps = 0", [], "steps: Input should be greater than or equal to 1, got 0"),
        ("", ["steps"], "--set takes name=value"),
        ("steps = 1", ["steps.more=1"], "steps is not a table"),
    ],
)
def test_wrong_settings_are_one_line(
    tmp_path: Path, text: str, given: list[str], message: str
) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(StepeditError, match=r"^[^\n]*$") as caught:
        load_settings(LinguisticSettings, file, given)
    assert message in str(caught.value)


def test_the_command_is_added_by_the_hook(tmp_path: Path) -> None:
    registry = Registry(disabled=())
    registry.register(plugin, "train")
    group = click.Group()
    registry.add_commands(group)
    run = CliRunner().invoke(group, ["train", "--help"])
    assert run.exit_code == 0 and "loss curve" in run.output
    missing = CliRunner().invoke(group, ["train", "sft", "--config", str(tmp_path / "no.toml")])
    assert isinstance(missing.exception, StepeditError)
    assert "cannot be read" in str(missing.exception)


@pytest.mark.parametrize("stage", ["reward", "dpo", "grpo", "ppo"])
def test_a_dry_run_says_what_a_step_takes(stage: str, tmp_path: Path) -> None:
    group = click.Group()
    plugin.stepedit_commands(group)
    config = tmp_path / f"{stage}.toml"
    text = (CONFIGS / "embedded" / "rl" / f"{stage}.toml").read_text(encoding="utf-8")
    config.write_text(text.replace('"llm/model"', f'"{tmp_path}"'))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes |= {"vocab_size": 324 + 5120, "num_attention_heads": 4, "num_attention_groups": 2}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "step1", **sizes}))
    asked = ["train", stage, "--config", str(config), "--dry-run"]
    run = CliRunner().invoke(group, asked)
    assert run.exit_code == 0, run.output
    assert "memory of each device" in run.output and "64 x H100" in run.output
    assert "0.4 M parameters" in run.output and "is not here" not in run.output
    assert CliRunner().invoke(group, ["train", "sft", *asked[2:]]).exit_code == 2
