"""Fine-tuning on pairs: what is learned from, what is left out, and resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stepedit_train.lm import sft as stage
from stepedit_train.lm.mixture import PackedBatches, Source, collate
from stepedit_train.lm.rows import IGNORED, Example, read_examples
from stepedit_train.lm.sft import SftSettings, train_sft
from stepedit_train.lm.training import complete_checkpoint

from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME
from stepedit_core.models.lm.framing import prompt_ids
from stepedit_core.models.lm.step1 import Step1Config, Step1ForCausalLM, load_step1
from stepedit_core.models.text import load_tokenizer
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import speech_like
from tests.toy_edits import Gain, Hiss
from tests.train.making import asking_to_stop, codes, make_pairs, read_mixture

TOKENIZER = {"tokenizer_class": "ByteTokenizer", "audio_base_id": 324, "audio_count": 5120}


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


def make_model(folder: Path) -> Path:
    """Write a tiny language model with a byte vocabulary."""
    torch.manual_seed(0)
    config = Step1Config(
        vocab_size=324 + 5120,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_attention_groups=2,
        max_seq_len=2048,
        dtype="float32",
    )
    Step1ForCausalLM(config).save_pretrained(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER))
    return folder


def settings(folder: Path, **changes: object) -> SftSettings:
    fields: dict[str, object] = {
        "model": folder / "base",
        "out": folder / "run",
        "data": [{"path": folder / "pairs"}],
        "steps": 6,
        "tokens": 1800,
        "learning_rate": 1e-2,
        "final_learning_rate": 1e-3,
        "dev_share": 0.0,
        "log_every": 1,
        "save_every": 3,
        "device": "cpu",
        "tensorboard": False,
    }
    return SftSettings.model_validate(fields | changes)


def losses(out: Path) -> list[float]:
    state = json.loads((out / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def test_rows_become_prompt_and_answer(tmp_path: Path) -> None:
    edits = [Hiss(), Hiss(amount="much"), Gain(), Hiss(amount="much")]
    folder = make_pairs(tmp_path / "pairs", edits)
    tokenizer = ByteTokenizer()
    examples, skipped = read_examples(folder, tokenizer, "r1", max_tokens=4000)
    assert [one.edit for one in examples] == ["hiss", "hiss"]
    assert dict(skipped) == {
        "split test": 1,
        "gain has no llm route for these parameters": 1,
    }
    one = examples[0]
    speech = speech_like(0.4, 8000, seed=1).replace(transcript="words 1")
    request = GenerateRequest(edits[1].prompt(speech), codes(1), speech)
    assert one.ids[: one.prompt] == prompt_ids(request, tokenizer, "r1")
    answer = tokenizer.audio_ids(codes(1).interleave().tolist())
    assert one.ids[one.prompt :] == [*answer, tokenizer.eot_id]
    assert one.labels == [IGNORED] * one.prompt + [*answer, tokenizer.eot_id]
    none, why = read_examples(folder, tokenizer, "r1", max_tokens=50)
    assert not none and why["longer than 50 tokens"] == 2


def test_rows_without_codes_say_so(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "pairs", [Hiss(), Hiss()], with_codes=False)
    with pytest.raises(StepeditError, match=r"pairs: no row of it .*1: the row has no codes"):
        read_mixture([Source(path=folder)], ByteTokenizer(), "r1")
    with pytest.raises(StepeditError, match="no shards"):
        read_mixture([Source(path=tmp_path)], ByteTokenizer(), "r1")


def test_shares_repeat_rows_and_speakers_are_held_out(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "pairs", [Hiss()] * 41)
    whole = read_mixture([Source(path=folder, share=2.5)], ByteTokenizer(), "r1", dev_share=0.0)
    assert len(whole.train) == 100 and len({one.name for one in whole.train}) == 40
    parted = read_mixture([Source(path=folder)], ByteTokenizer(), "r1", dev_share=0.3)
    assert len(parted.train) + len(parted.dev) == 40 and len(parted.dev) >= 4
    assert not {one.speaker for one in parted.train} & {one.speaker for one in parted.dev}


def test_batches_are_padded_without_loss() -> None:
    examples = [Example(str(n), "e", "s", list(range(1, n + 1)), 2) for n in (3, 5, 9, 4)]
    packed = PackedBatches(examples, 18, seed=0)
    assert sorted(len(packed[i]) for i in range(len(packed))) == [1, 3] or len(packed) > 1
    made = collate([[examples[0], examples[1]]])
    assert made["input_ids"].tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert made["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert made["labels"].tolist() == [[-100, -100, 3, -100, -100], [-100, -100, 3, 4, 5]]


def test_padding_changes_no_loss(tmp_path: Path) -> None:
    model: Any = load_step1(make_model(tmp_path / "base"), dtype=torch.float32)
    examples = [Example(str(n), "e", "s", list(range(70, 70 + n)), 4) for n in (9, 21)]
    together = collate([examples])
    alone = [collate([[one]]) for one in examples]
    with torch.inference_mode():
        mixed = model(**together).loss.item() * (5 + 17)
        each = [model(**batch).loss.item() for batch in alone]
    assert mixed == pytest.approx(each[0] * 5 + each[1] * 17, rel=1e-5)


def test_it_learns_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    make_model(tmp_path / "base")
    for part, content in (
        (tmp_path / TOKENIZER_NAME, "codes"),
        (tmp_path / "base" / DECODER_FOLDER, "sound"),
    ):
        part.mkdir()
        (part / "part").write_text(content)
    make_pairs(tmp_path / "pairs", [Hiss()] + [Hiss(amount="much")] * 6)
    lines = list(train_sft(settings(tmp_path)))
    assert lines[2].startswith("6 examples") and "left out 1: split test" in lines
    whole = losses(tmp_path / "run")
    assert len(whole) == 6 and whole[-1] < 0.9 * whole[0]
    trained = load_step1(tmp_path / "run" / "model", dtype=torch.float32)
    assert trained.config.use_cache
    assert (tmp_path / "run" / "model" / TOKENIZER_NAME / "part").read_text() == "codes"
    assert (tmp_path / "run" / "model" / DECODER_FOLDER / "part").read_text() == "sound"
    assert load_tokenizer(tmp_path / "run" / "model").vocab_size == 324 + 5120

    # As after kill -9 between two checkpoints, and in the middle of writing the second.
    out = tmp_path / "again"
    shutil.copytree(tmp_path / "run" / "checkpoint-3", out / "checkpoint-3")
    (out / "checkpoint-6").mkdir()
    (out / "checkpoint-6" / "model.safetensors").write_bytes(b"half")
    list(train_sft(settings(tmp_path, out=out)))
    assert losses(out) == whole
    resumed = load_step1(out / "model", dtype=torch.float32)
    for ours, theirs in zip(trained.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(tmp_path / "base")
    make_pairs(tmp_path / "pairs", [Hiss(amount="much")] * 3)
    list(train_sft(settings(tmp_path)))
    out = tmp_path / "stopped"

    with monkeypatch.context() as patch:
        patch.setattr(stage, "collate", asking_to_stop(stage.collate, 2))
        lines = list(train_sft(settings(tmp_path, out=out)))
    assert "as asked" in lines[-1] and not (out / "model").exists()
    list(train_sft(settings(tmp_path, out=out)))
    assert losses(out) == losses(tmp_path / "run")


def test_adapters(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = make_model(tmp_path / "base")
    make_pairs(tmp_path / "pairs", [Hiss(amount="much")] * 3)
    list(train_sft(settings(tmp_path, steps=3, lora={"rank": 4, "alpha": 8}, save_every=50)))
    before = load_step1(base, dtype=torch.float32).state_dict()
    after = load_step1(tmp_path / "run" / "model", dtype=torch.float32).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "model.layers.0.self_attn.q_proj.weight" in changed
    assert all("proj" in name for name in changed)
    assert list((tmp_path / "run" / "adapter").glob("*.safetensors"))


def test_weights_of_an_edits_own_are_started_from_and_answer_all_edits_then(
    tmp_path: Path,
) -> None:
    base = make_model(tmp_path / "base")
    own = load_step1(base, dtype=torch.float32)
    with torch.no_grad():
        own.lm_head.weight.mul_(2)
    own.save_pretrained(str(base / "spoken"))
    rules = {"temperature": 0.5, "edits": {"hiss": {"weights": "spoken", "guidance": 2.0}}}
    (base / "sampling.json").write_text(json.dumps(rules))
    make_pairs(tmp_path / "pairs", [Hiss(amount="much")] * 3)
    small = {"steps": 1, "learning_rate": 1e-9, "final_learning_rate": 1e-9}
    list(train_sft(settings(tmp_path, weights="spoken", **small)))
    made = tmp_path / "run" / "model"
    head = load_step1(made, dtype=torch.float32).lm_head.weight
    torch.testing.assert_close(head, own.lm_head.weight, atol=1e-5, rtol=1e-5)
    kept = {"temperature": 0.5, "edits": {"hiss": {"guidance": 2.0}}}
    assert json.loads((made / "sampling.json").read_text()) == kept


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, content in ((2, "{}"), (10, "{"), (9, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if content is not None:
            (folder / "trainer_state.json").write_text(content)
    assert complete_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_the_result_may_not_overwrite_its_base(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="overwrite"):
        list(train_sft(settings(tmp_path, out=tmp_path / "base")))
