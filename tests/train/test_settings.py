"""Settings: from TOML with phases, mixtures and old names, and to TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from stepedit_train.cli import train
from stepedit_train.decoder.data import MelDataSettings
from stepedit_train.decoder.flow.stage import FlowSettings
from stepedit_train.decoder.mel.settings import MelSettings
from stepedit_train.lm.sft import SftSettings
from stepedit_train.rl.settings import RlSettings
from stepedit_train.settings import (
    RenamedSetting,
    explain,
    load_phases,
    load_settings,
    note_finished,
    was_finished,
)
from stepedit_train.stages import STAGES, settings_of

from stepedit_core.errors import StepeditError
from tests.train.small_run import settings


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


def test_explained_settings() -> None:
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


MIXTURE = """
[[pairs]]
path = "pairs/speed"
language_model = 0.5
decoder = 2.5
[[pairs]]
path = "pairs/masked"
insertions_only = true
decoder = 0
"""
MEL = """
mixture = "mixture.toml"
data = "store"
out = "mel"
weights = "engine"
steps = 1000
budget = 50.0
learning_rate = 1e-3
[shares]
melody = 3.0
[sizes]
lag = 4
[[phase]]
learning_rate = 2e-3
[[phase]]
steps = 5000
sizes = { places = true }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mixture.toml").write_text(MIXTURE)
    (tmp_path / "mel.toml").write_text(MEL)
    return tmp_path


def test_a_phase_begins_with_the_one_before(folder: Path) -> None:
    first, last = load_phases(MelSettings, folder / "mel.toml")
    assert (str(first.out), str(last.out)) == ("mel/phase-1", "mel")
    assert (str(first.weights), first.start) == ("engine", None)
    assert (last.weights, str(last.start)) == (None, "mel/phase-1")
    assert (first.steps, first.learning_rate, first.sizes.places) == (1000, 2e-3, False)
    assert (last.steps, last.learning_rate, last.sizes.places) == (5000, 1e-3, True)
    assert first.sizes.lag == last.sizes.lag == 4
    given = ["scale=0.01", "steps=2000", "out=elsewhere"]
    scaled = load_phases(MelSettings, folder / "mel.toml", given)
    assert [one.steps for one in scaled] == [20, 20] and scaled[0].warmup == 2
    assert str(scaled[1].start) == "elsewhere/phase-1" and scaled[0].critic_from == 2


def test_a_model_goes_on_from_the_phase_before(folder: Path) -> None:
    lines = (
        'mixture = "mixture.toml"\nmodel = "base"\nout = "llm"\n[[phase]]\ndata = []\n[[phase]]\n'
    )
    (folder / "sft.toml").write_text(lines)
    first, last = load_phases(SftSettings, folder / "sft.toml", ["scale=0.5"])
    assert (str(first.model), str(last.model)) == ("base", "llm/phase-1/model")
    assert first.data == () and [one.insertions_only for one in last.data] == [False, True]
    assert last.epochs == 0.5 and last.data[0].share == 0.5


def test_stages_share_a_mixture(folder: Path) -> None:
    made = load_settings(MelSettings, folder / "mel.toml")
    assert made.shares == {"speed": 2.5, "melody": 3.0}
    (folder / "data.toml").write_text('mixture = "mixture.toml"\ntokenizer = "t"\nout = "o"\n')
    pairs = load_settings(MelDataSettings, folder / "data.toml").pairs
    assert pairs == (Path("pairs/speed"),)
    (folder / "mixture.toml").write_text("[[pears]]\n")
    with pytest.raises(StepeditError, match="is no mixture"):
        load_settings(MelSettings, folder / "mel.toml")


def test_old_names_are_taken_with_a_note(tmp_path: Path) -> None:
    text = 'data = "d"\nout = "o"\nsteps = 1\nbudget = 1.0\nlearning_rate = 1.0\n'
    (tmp_path / "mel.toml").write_text(text + 'spoil = 0.5\nkeep = true\nweights = "w"\n')
    with pytest.warns(RenamedSetting, match="spoil is now called mix_source_codes"):
        made = load_settings(MelSettings, tmp_path / "mel.toml")
    assert made.mix_source_codes == 0.5 and made.distil_from == made.weights == Path("w")
    with pytest.raises(StepeditError, match="spoil is the old name of mix_source_codes"):
        load_settings(MelSettings, tmp_path / "mel.toml", ["mix_source_codes=0.1"])


def test_a_checkpoint_with_old_names_is_of_the_same_run() -> None:
    given = {"data": "d", "out": "o", "steps": 1, "budget": 1.0, "learning_rate": 1.0}
    made = MelSettings.model_validate({**given, "weights": "w", "distil_from": "w"})
    now = made.curve()
    names = {new: old for old, new in MelSettings.renamed.items()}
    old = {names.get(name, name): value for name, value in now.items()}
    old["keep"] = bool(old.pop("distil_from"))
    assert "spoil" in old and "one_way" in old and MelSettings.with_present_names(old) == now


def test_a_finished_run_is_known_again(tmp_path: Path) -> None:
    made = settings(out=str(tmp_path))
    assert not was_finished(made)
    note_finished(made)
    assert was_finished(settings(out=str(tmp_path), log_every=9))
    with pytest.raises(StepeditError, match="finished with other settings"):
        was_finished(settings(out=str(tmp_path), learning_rate=0.5))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("epochs = true", "epochs: a number is wanted"),
        ("steps = '1_0'", "steps: a number is wanted"),
        ("learning_rate = nan", "learning_rate"),
        ("budget = inf", "budget"),
        ("steps = 2.5", "steps"),
        ("seed = -1", "seed"),
        ("seed = 99999999999999999999", "seed: 9223372036854775807 is the most"),
        ("gradient_checkpointing = 'yes'", "gradient_checkpointing: true or false is wanted"),
        ("lora = 3", "lora"),
        ("lora = {rank = true}", "lora.rank: a number is wanted"),
        ("model = 3", "model"),
        ("out = ['a']", "out"),
        ("dev_share = 1", "dev_share"),
        ("precision = 'int3'", "precision"),
    ],
)
def test_settings_of_a_wrong_type(tmp_path: Path, line: str, why: str) -> None:
    config = tmp_path / "s.toml"
    given = {"model": "'m'", "out": "'o'"} | {line.split(" = ")[0]: line.split(" = ", 1)[1]}
    config.write_text("".join(f"{name} = {value}\n" for name, value in given.items()))
    with pytest.raises(StepeditError, match=rf"s\.toml: .*{why}"):
        load_settings(RlSettings, config)


def test_a_file_nested_too_deeply(tmp_path: Path) -> None:
    config = tmp_path / "s.toml"
    config.write_text(f"model = {'[' * 5_000}")
    with pytest.raises(StepeditError, match=r"s\.toml: is not TOML"):
        load_settings(RlSettings, config)
    config.write_text("model = 'm'\nout = 'o'\n")
    assert str(load_settings(RlSettings, config, [f"model={'[' * 500}"]).model) == "[" * 500
