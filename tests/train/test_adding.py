"""Adding an edit to a trained model: replay rows, settings, the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from stepedit_train import plugin
from stepedit_train.adding import adding_settings, base_folder
from stepedit_train.lm.base import BaseSettings, make_base
from stepedit_train.lm.replay import REPLAY, ReplaySettings, chosen_rows, make_replay
from stepedit_train.lm.rows import Example
from stepedit_train.lm.sft import SftSettings
from stepedit_train.lm.store import load_examples, save_examples

from stepedit_core import embedded
from stepedit_core.errors import StepeditError, UnknownEditError
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Hiss
from tests.train.making import make_pairs


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    sizes = {"hidden_size": 32, "layers": 2, "intermediate_size": 48, "max_seq_len": 2048}
    list(make_base(BaseSettings.model_validate({"out": folder, **sizes})))
    return folder


def known(count: int, edit: str) -> list[Example]:
    return [Example(f"{edit}{n}", edit, f"s{n}", [1, 70, 400, 3], 2) for n in range(count)]


def test_replay_takes_about_as_many_rows_of_every_edit() -> None:
    rows = known(50, "a") + known(3, "b") + known(20, "c")
    chosen = chosen_rows(rows, 23, seed=0)
    assert Counter(one.edit for one in chosen) == {"a": 10, "b": 3, "c": 10}
    assert chosen == chosen_rows(rows, 23, seed=0) != chosen_rows(rows, 23, seed=1)
    assert len(chosen_rows(rows, 500, seed=0)) == 73


def test_the_replay_stage_writes_a_file_beside_the_model(tmp_path: Path, model: Path) -> None:
    make_pairs(tmp_path / "pairs", [Hiss()] * 6)
    settings = {"model": model, "data": [{"path": tmp_path / "pairs"}], "rows": 4, "dev_share": 0}
    lines = list(make_replay(ReplaySettings.model_validate(settings)))
    assert lines[0] == "hiss: 4 rows"
    rows = load_examples(model / REPLAY)[0]
    assert [one.name for one in rows] == ["0", "1", "2", "3"]
    assert all(one.speaker.startswith("s") and one.alignment is not None for one in rows)


def test_new_pairs_and_replay_are_mixed_as_asked(tmp_path: Path, model: Path) -> None:
    make_pairs(tmp_path / "pairs" / "hiss", [Hiss()] * 6)
    pairs, out = tmp_path / "pairs", tmp_path / "out"
    with pytest.raises(StepeditError, match="would forget"):
        adding_settings(["hiss"], str(model), pairs, out)
    assert len(adding_settings(["hiss"], str(model), pairs, out, replay=0).data) == 1
    save_examples(model / REPLAY, known(3, "a"), Counter())
    made = adding_settings(["hiss"], str(model), pairs, out, ["noise.masked=0.2", "steps=7"], 1.5)
    assert isinstance(made, SftSettings) and made.steps == 7 and made.noise.masked == 0.2
    assert [(one.path.name, one.share) for one in made.data] == [("hiss", 1.0), (REPLAY, 3.0)]
    with pytest.raises(UnknownEditError, match="hiss"):
        adding_settings(["hisss"], str(model), pairs, out)
    with pytest.raises(StepeditError, match="shards"):
        adding_settings(["gain"], str(model), pairs, out)
    with pytest.raises(StepeditError, match=r"config\.json is missing"):
        base_folder(str(pairs))


def test_the_name_embedded_means_what_ships(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(embedded, "is_shipped", lambda: False)
    with pytest.raises(StepeditError, match="ships no embedded model"):
        base_folder("embedded")
    monkeypatch.setattr(embedded, "is_shipped", lambda: True)
    assert base_folder("embedded") == embedded.FOLDER


def test_the_command_adds_an_edit(tmp_path: Path, model: Path) -> None:
    make_pairs(tmp_path / "pairs" / "hiss", [Hiss()] * 5)
    save_examples(model / REPLAY, known(3, "a"), Counter())
    group = click.Group()
    plugin.stepedit_commands(group)
    asked = ["train", "sft", "--edits", "hiss", "--base", str(model), "--pairs"]
    asked += [str(tmp_path / "pairs"), "--out", str(tmp_path / "out"), "--set", "steps=2"]
    asked += ["--set", "device=cpu", "--set", "tensorboard=false", "--set", "dev_share=0.0"]
    asked += ["--measure", "0"]
    result = CliRunner().invoke(group, asked)
    assert result.exit_code == 0, result.output
    assert "9 examples to train on" in result.output
    assert load_step1(tmp_path / "out" / "model").config.source_alignment is not None
    assert (tmp_path / "out" / "model" / REPLAY).is_file()
    for wrong in (["train", "sft"], [*asked[:1], "semantic", *asked[2:]], asked[:-10][:6]):
        assert CliRunner().invoke(group, wrong).exit_code == 2
