"""Adding an edit to a trained model: replay rows, settings, the command."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from stepedit_train import measuring, plugin
from stepedit_train.adding import adding_settings
from stepedit_train.adding_input import base_folder
from stepedit_train.lm.base import BaseSettings, make_base
from stepedit_train.lm.mixture import _held_out
from stepedit_train.lm.replay import REPLAY, ReplaySettings, chosen_rows, make_replay
from stepedit_train.lm.rows import Example
from stepedit_train.lm.sft import SftSettings
from stepedit_train.lm.store import load_examples, save_examples
from stepedit_train.seeds import share_of

from stepedit_core import embedded
from stepedit_core.errors import CheckpointError, StepeditError, UnknownEditError
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_core.models.checkpoint.model_files import RouteTable, folder_sampling
from stepedit_core.models.checkpoint.naming import named
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.registry.registry import Registry
from tests.models.audio_cases import write_semantic_graph
from tests.models.tokenizer.test_linguistic_checkpoint import write_checkpoint
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


def test_replay_stage(tmp_path: Path, model: Path) -> None:
    make_pairs(tmp_path / "pairs", [Hiss()] * 6)
    settings = {"model": model, "data": [{"path": tmp_path / "pairs"}], "rows": 4, "dev_share": 0}
    lines = list(make_replay(ReplaySettings.model_validate(settings)))
    assert lines[2] == "hiss: 4 rows"
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


def _taught(tmp_path: Path, model: Path, *more: str) -> Result:
    group = click.Group()
    plugin.stepedit_commands(group)
    asked = ["train", "sft", "--edits", "hiss", "--base", str(model), "--replay", "0", "--pairs"]
    asked += [str(tmp_path / "pairs"), "--out", str(tmp_path / "taught"), "--set", "steps=1"]
    asked += ["--set", "device=cpu", "--set", "tensorboard=false", "--measure", "0", *more]
    return CliRunner().invoke(group, asked)


def test_pairs_without_codes_are_encoded(tmp_path: Path, model: Path) -> None:
    make_pairs(tmp_path / "pairs" / "hiss", [Hiss()] * 6, with_codes=False)
    result = _taught(tmp_path, model)
    assert isinstance(result.exception, StepeditError)
    why = str(result.exception)
    assert "no row of it can be trained on" in why and "5: the row has no codes" in why
    write_checkpoint(model / TOKENIZER_NAME)
    write_semantic_graph(model / TOKENIZER_NAME / "speech_tokenizer_v1.onnx")
    result = _taught(tmp_path, model, "--set", "dev_share=0.001")
    assert result.exit_code == 0, result.output
    assert "4 examples to train on, 1 to validate on" in result.output
    assert "no codes" not in result.output


def test_a_taught_folder_needs_nothing_else(tmp_path: Path, model: Path) -> None:
    make_pairs(tmp_path / "pairs" / "hiss", [Hiss()] * 6)
    routes = {"model": "x", "edits": {"speed": {"llm": 0.5, "dsp": 0.9, "n": 8, "route": "dsp"}}}
    (model / "routes.json").write_text(json.dumps(routes))
    (model / "sampling.json").write_text('{"temperature": 0.5}')
    (model / DECODER_FOLDER / "deep").mkdir(parents=True)
    (model / DECODER_FOLDER / "deep" / "flow.safetensors").write_bytes(b"weights")
    assert _taught(tmp_path, model).exit_code == 0
    made = tmp_path / "taught" / "model"
    assert RouteTable.load(made).routes == {"speed": "dsp"}
    assert folder_sampling(made) == ({"temperature": 0.5}, {})
    assert (made / DECODER_FOLDER / "deep" / "flow.safetensors").read_bytes() == b"weights"
    assert not [path for path in made.rglob("*") if path.is_symlink()]
    assert named(made) == "taught" and named(made.rename(tmp_path / "moved")) == "taught"
    assert json.loads((tmp_path / "moved" / "engine.json").read_text())["trained_from"] == "model"
    (tmp_path / "moved" / "engine.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"engine\.json: damaged"):
        named(tmp_path / "moved")


def test_validation_holds_rows_of_the_new_edit() -> None:
    many = [Example(f"{n}", "a", f"s{n % 5}", [1], 0) for n in range(20)]
    kept, held = _held_out(many, 1e-9, needed=True)
    assert len(held) == 4 and len({one.speaker for one in held}) == 1
    assert not {one.speaker for one in held} & {one.speaker for one in kept}
    alone = [Example(f"{n}", "a", "s", [1], 0) for n in range(20)]
    kept, held = _held_out(alone, 0.1 if share_of("sft", "s") >= 0.1 else 1e-9, needed=True)
    assert len(held) in (1, 2) and len(kept) + len(held) == 20
    assert _held_out(many, 1e-9, needed=False)[1] == []


def test_routes_are_measured_by_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bench(edit: str, engine: str, route: str, cases: int, out: Path) -> str | None:
        if edit == "mute":
            return "no plugin brings a scorer"
        out.mkdir(parents=True)
        joint = [True, True, None, False] if route == "llm" else [True, False, False, False]
        rows = [{"condition": "edit", "status": "ok", "joint": value} for value in joint]
        (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return None

    monkeypatch.setattr(measuring, "_bench", bench)
    monkeypatch.setattr(measuring, "fingerprint", lambda folders: "weights")
    monkeypatch.setattr(measuring, "find_folders", lambda config: None)
    model = tmp_path / "out" / "model"
    model.mkdir(parents=True)
    (model / "routes.json").write_text('{"edits": {"speed": {"route": "dsp"}}}')
    lines = list(measuring.measure_routes(model, ["hiss", "mute"], 4))
    assert any("hiss: joint success by llm 67%, dsp 25% of 4 cases" in line for line in lines)
    assert any("mute is not in routes.json" in line for line in lines)
    assert RouteTable.load(model).routes == {"speed": "dsp", "hiss": "llm"}
