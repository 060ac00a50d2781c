"""What a stage says of its settings is a file that it reads."""

from __future__ import annotations

import tomllib

import pytest
from click.testing import CliRunner
from stepedit_train.cli import train
from stepedit_train.decoder.flow.stage import FlowSettings
from stepedit_train.lm.sft import SftSettings
from stepedit_train.settings import explain
from stepedit_train.stages import STAGES, settings_of

from stepedit_core.errors import StepeditError


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself_as_toml(stage: str) -> None:
    kind = settings_of(stage)
    lines = list(explain(kind))
    data = tomllib.loads("\n".join(lines))
    assert set(data) <= set(kind.model_fields)
    for name, field in kind.model_fields.items():
        if name == "base":
            continue
        # Everything is there, given or commented out, and nothing is without a word on it.
        assert any(f"{name} =" in line or f"[{name}]" in line for line in lines), name
        assert field.description, f"{stage}: {name}"


def test_the_defaults_are_those_of_the_settings() -> None:
    given = {"steps": 5, "budget": 60.0, "learning_rate": 1e-4, "data": "d", "out": "o"}
    data = tomllib.loads("\n".join(explain(FlowSettings)))
    assert FlowSettings.model_validate(data | given) == FlowSettings.model_validate(given)


def test_what_is_off_and_what_must_be_given_is_commented_out() -> None:
    lines = list(explain(SftSettings))
    assert "# [lora]" in lines and "# # Rank." in lines and "# rank = 32" in lines
    assert "# model = ...    (must be given)" in lines and "[[data]]" in lines
    assert lines.index("# model = ...    (must be given)") < lines.index("epochs = 1.0")


def test_the_command_prints_it_and_lists_the_stages() -> None:
    runner = CliRunner()
    printed = runner.invoke(train, ["mel", "--explain"])
    assert printed.exit_code == 0 and "labels_again = false" in printed.output
    shown = runner.invoke(train, ["--help"]).output
    assert all(f"{name} " in shown and stage.what in shown for name, stage in STAGES.items())
    with pytest.raises(StepeditError, match="no training stage 'mell'"):
        settings_of("mell")
