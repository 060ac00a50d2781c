"""The reward model and DPO on tiny preferences: what they read, what they learn, resuming."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stepedit_pairs.shards import row_of, write_shard
from stepedit_train.journal import read_journal
from stepedit_train.lm.rows import Example
from stepedit_train.lm.store import save_examples
from stepedit_train.rl.dpo import DpoSettings, DpoTask, rules_of, train_dpo
from stepedit_train.rl.layout import READING, Vocabulary
from stepedit_train.rl.policy import load_policy
from stepedit_train.rl.preferences import Preferences, PreferenceSource, read_preferences
from stepedit_train.rl.reward_model import calibration_error, load_reward_model
from stepedit_train.rl.reward_stage import RewardModelSettings, train_reward

from stepedit_core.codes import DualCodes
from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.pairs import CorpusItem, EditPair, PairJob
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import speech_like
from tests.toy_edits import Hiss
from tests.train.lm.test_sft import make_model
from tests.train.making import codes

PROVENANCE = {
    "builder": "toy", "builder_version": 1, "plugin": "toys", "seed": 0, "stepedit": "0",
    "split": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


def half(seed: int, high: bool, groups: int = 3) -> DualCodes:
    """Return codes whose semantic stream has eight low values, or eight high ones."""
    rng = np.random.default_rng(seed)
    semantic = rng.integers(0, 8, 3 * groups) + 2048 * high
    return DualCodes(rng.integers(0, 1024, 2 * groups), semantic)


def make_preferences(folder: Path, count: int = 12, *, with_rejected: bool = True) -> Path:
    """Write rows as `pairs-prefer` does; half of them by people, half by a judge."""
    rows = []
    for number in range(count):
        speech = speech_like(0.4, 8000, seed=number).replace(transcript=f"words {number}")
        item = CorpusItem(str(number), "x.wav", speaker=f"s{number}", licence="CC0")
        known = {"source": codes(number), "target": half(number, False)}
        made = row_of(
            EditPair(speech, speech, Hiss(), 8.0),
            PairJob(str(number), (item,)),
            0,
            known,
            PROVENANCE,
        )
        by = "people" if number % 2 else "judge"
        rejected = half(number + 99, True).token_string() if with_rejected else None
        details = json.dumps({"preference": {"by": by}})
        rows.append({**made, "rejected_codes": rejected, "details": details})
    write_shard(folder, 0, rows)
    return folder


def fields(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "model": folder / "base",
        "out": folder / "run",
        "data": [{"path": folder / "prefer"}],
        "epochs": 5.0,
        "budget": 1500.0,
        "tokens": 1500,
        "learning_rate": 3e-3,
        "final_learning_rate": 1e-3,
        "dev_share": 0.4,
        "log_every": 1,
        "validate_every": 4,
        "device": "cpu",
        "precision": "float32",
        "gradient_checkpointing": False,
        "tensorboard": False,
        "checkpoint_minutes": 0,
        **changes,
    }


def entries(out: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in entry.items() if name != "seconds"}
        for entry in read_journal(out)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model(tmp_path / "base")
    (tmp_path / "base" / "sampling.json").write_text('{"repetition_window": 0}')
    make_preferences(tmp_path / "prefer")
    return tmp_path


def resumed(run: Any, folder: Path) -> Path:
    """Go on from the checkpoint before the last, as after kill -9; return the folder."""
    found = sorted((folder / "run" / "checkpoints").glob("*.pt"))
    again = folder / "again"
    (again / "checkpoints").mkdir(parents=True)
    shutil.copy(found[-2], again / "checkpoints")
    shutil.copy(folder / "run" / "log.jsonl", again)
    list(run(out=again))
    assert entries(again) == entries(folder / "run")
    return again


def test_the_reward_model_learns_what_is_preferred(folder: Path) -> None:
    def run(**changes: Any) -> Iterator[str]:
        settings = fields(folder, head_pace=10.0, **changes)
        return train_reward(RewardModelSettings.model_validate(settings))

    lines = list(run())
    assert "accuracy 1.000" in lines[-1] and "accuracy_by_people 1.000" in lines[-1]
    assert "accuracy_by_judge" in lines[-1] and "calibration_error" in lines[-1]
    model = load_reward_model(folder / "run" / "model")
    assert float(model.spread) > 0 and bool(model.head.linear.weight.any())
    again = load_reward_model(resumed(run, folder) / "model")
    for ours, theirs in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(CheckpointError, match="stepedit train reward"):
        load_reward_model(folder / "base")


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_dpo_makes_the_better_answer_likelier(folder: Path, kind: str) -> None:
    def run(**changes: Any) -> Iterator[str]:
        return train_dpo(DpoSettings.model_validate(fields(folder, loss_kind=kind, **changes)))

    lines = list(run())
    log = [entry for entry in entries(folder / "run") if entry["part"] == "train"]
    assert log[0]["margin"] == 0.0 and log[-1]["margin"] > 0.2
    assert log[-1]["chosen"] > log[-1]["rejected"]
    dev = [entry for entry in entries(folder / "run") if entry["part"] == "dev"]
    assert dev[-1]["accuracy"] == 1.0 and "model in" in lines[-1]
    if kind == "sigmoid":
        again = resumed(run, folder)
        pairs = (load_step1(one / "model", dtype=torch.float32) for one in (again, folder / "run"))
        for ours, theirs in zip(*(model.parameters() for model in pairs), strict=True):
            assert torch.equal(ours, theirs)


def test_dpo_reads_a_requests_prompt_once(folder: Path) -> None:
    settings = DpoSettings.model_validate(fields(folder, chosen_share=0.1, dev_share=0.0))
    vocabulary = Vocabulary.of_folder(folder / "base")
    data = read_preferences(
        settings.data, vocabulary, rules_of(folder / "base"), max_tokens=1500, dev_share=0, seed=0
    )
    # Two preferences of the first request, one of another.
    first, other = data.train[:2]
    again = replace(first, chosen=first.rejected, rejected=first.chosen)
    task = DpoTask(
        load_policy(settings, folder / "base"),
        Preferences([first, other, again], [], data.skipped),
        settings,
        vocabulary,
    )
    parts = task.batch([0, 1, 2], 0)
    assert [len(part.ids) for part in parts] == [4, 2] and all(part.shared for part in parts)
    whole = [task._joined(task.data.train)]
    assert whole[0].shared == 0
    ours, theirs = task.loss(parts), task.loss(whole)
    assert torch.allclose(ours.total, theirs.total, atol=1e-5)
    assert ours.parts == pytest.approx(theirs.parts, abs=1e-3)


def test_answers_that_nobody_could_draw_are_left_out(folder: Path) -> None:
    (folder / "base" / "sampling.json").unlink()
    lines = list(train_dpo(DpoSettings.model_validate(fields(folder, steps=1))))
    told = [line for line in lines if "repeats a code that the repetition rule forbids" in line]
    assert len(told) == 1 and told[0].startswith("left out ")
    log = [entry for entry in entries(folder / "run") if entry["part"] == "train"]
    assert np.isfinite(log[0]["chosen"])


def test_dpo_without_reference_and_with_adapters(folder: Path) -> None:
    changes = {"lora": {"rank": 2, "alpha": 4}, "epochs": 1.0}
    list(train_dpo(DpoSettings.model_validate(fields(folder, **changes))))
    log = [entry for entry in entries(folder / "run") if entry["part"] == "train"]
    assert log[0]["margin"] == 0.0
    free = fields(folder, reference_free=True, chosen_share=0.1, epochs=1.0, out=folder / "free")
    list(train_dpo(DpoSettings.model_validate(free)))
    log = [entry for entry in entries(folder / "free") if entry["part"] == "train"]
    assert log[0]["margin"] != 0.0 and log[0]["chosen"] < -50


def test_any_pairs_prefer_their_target_to_the_source(tmp_path: Path) -> None:
    make_model(tmp_path / "base")
    make_preferences(tmp_path / "prefer", with_rejected=False)
    settings = fields(tmp_path, epochs=1.0)
    with pytest.raises(StepeditError, match="has no rejected answer"):
        list(train_reward(RewardModelSettings.model_validate(settings)))
    data = [{"path": tmp_path / "prefer", "rejected": "source"}]
    lines = list(train_reward(RewardModelSettings.model_validate({**settings, "data": data})))
    assert "accuracy_by_margin" in lines[-1]


def test_a_neighbour_is_another_requests_target(tmp_path: Path) -> None:
    make_model(tmp_path / "base")
    rows = []
    for number, (place, edit) in enumerate(
        [(0, Hiss()), (0, Hiss(amount="much")), (1, Hiss()), (2, Hiss()), (2, Hiss())]
    ):
        speech = speech_like(0.4, 8000, seed=place).replace(transcript="words")
        item = CorpusItem(str(number), "x.wav", speaker=f"s{place}", licence="CC0")
        known = {"source": codes(place), "target": half(number, False)}
        pair = EditPair(speech, speech, edit, 8.0)
        rows.append(row_of(pair, PairJob(str(number), (item,)), 0, known, PROVENANCE))
    write_shard(tmp_path / "pairs", 0, rows)

    def read(rejected: Any) -> Preferences:
        sources = [PreferenceSource(path=tmp_path / "pairs", rejected=rejected)]
        words = Vocabulary.of_folder(tmp_path / "base")
        return read_preferences(sources, words, READING, max_tokens=2000, dev_share=0.0, seed=0)

    found = read("neighbour")
    one, two = found.train
    assert one.chosen.ids.tolist() == two.rejected.ids.tolist()
    assert one.rejected.ids.tolist() == two.chosen.ids.tolist()
    assert one.chosen.prompt == one.rejected.prompt != two.chosen.prompt
    assert found.skipped == {"its source has no other request of the same edit": 3}
    by_speaker = read("speaker")
    assert [a.name for a in by_speaker.train] == [a.name for a in found.train]
    assert by_speaker.skipped == {"its speaker has no other request of the same edit": 3}


def test_preferences_of_stored_examples(tmp_path: Path) -> None:
    make_model(tmp_path / "base")
    tokenizer = ByteTokenizer()
    rows = []
    for number in range(8):
        source, target = (
            tokenizer.audio_ids(half(number + 9 * high, high).interleave().tolist())
            for high in (True, False)
        )
        prompt = [1, 70, *source, 3]
        ids = [*prompt, *target, tokenizer.eot_id]
        rows.append(Example(str(number), "hiss", f"s{number}", ids, len(prompt)))
    save_examples(tmp_path / "replay.npz", rows, Counter())
    data = [{"path": tmp_path / "replay.npz", "rejected": "source"}]
    settings = fields(tmp_path, data=data, dev_share=0.1)
    lines = list(train_reward(RewardModelSettings.model_validate({**settings, "head_pace": 10.0})))
    assert lines[0].startswith("5 preferences") and "accuracy 1.000" in lines[-1]
    with pytest.raises(StepeditError, match="they are for `stepedit train reward`"):
        list(train_dpo(DpoSettings.model_validate(settings | {"out": tmp_path / "dpo"})))


def test_calibration_by_hand() -> None:
    sure = float(np.log(9))  # a probability of 0.9
    assert calibration_error([sure] * 9 + [-sure]) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error([sure, -sure]) == pytest.approx(0.4)
    assert calibration_error([]) == 0.0
