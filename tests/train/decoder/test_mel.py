"""The mel stages: the store, the task and the export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from stepedit_train.corruption import disturb_rows
from stepedit_train.decoder.data import grid_mel
from stepedit_train.decoder.examples import examples_of
from stepedit_train.decoder.export import MelExportSettings, export_mel
from stepedit_train.decoder.mel.critic import MelCritic
from stepedit_train.decoder.mel.self_generated import with_self_generated
from stepedit_train.decoder.mel.stage import MelSettings, MelTask, train_mel
from stepedit_train.decoder.store import MelStore, Spoken, store_path, write_store
from stepedit_train.journal import read_journal

from stepedit_core.codes import DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import build, read_hyperyaml
from stepedit_core.models.decoder.checkpoint import BUILDERS
from stepedit_core.models.decoder.reference.model import MelBatch, ReferencedMelDecoder

SIZES = {"width": 24, "token_blocks": 1, "reference_blocks": 1, "mel_blocks": 2, "heads": 2}
LEVELS = (8, 8, 8, 8)


def make_store(folder: Path) -> None:
    """Write utterances whose mel tells their codes, by two speakers of different level."""
    rng = np.random.default_rng(0)
    table = rng.normal(-5, 2, (8, 80)).astype(np.float32)
    items, tensors = [], {}

    def add(name: str, speaker: str, split: str, family: str, role: str) -> None:
        said = rng.integers(0, 8, 30)
        rows = np.stack([np.where(np.arange(30) % 3 == 2, 1024, said), 1025 + 580 * said], axis=1)
        mel = np.repeat(table[said], 2, axis=0) + (1 if speaker == "a" else -1)
        tensors[f"{len(items)}.rows"] = rows.astype(np.int16)
        tensors[f"{len(items)}.mel"] = mel.astype(np.float16)
        items.append(Spoken(name, speaker, split, family, role, 30))

    for number in range(8):
        split = "dev" if number < 2 else "train"
        add(f"p{number}", "ab"[number % 2], split, "", "plain")
        add(f"e{number}", "ab"[number % 2], split, "speed", "source")
        add(f"e{number}", "ab"[number % 2], split, "speed", "target")
    write_store(store_path(folder, "one"), items, tensors)
    voices = rng.standard_normal((2, 2, 6)).astype(np.float32)
    save_arrays({"a": voices[0], "b": voices[1]}, folder / "speakers.safetensors")


def settings(folder: Path, **changes: object) -> MelSettings:
    fields: dict[str, object] = {
        "data": folder / "store",
        "out": folder / "run",
        "steps": 40,
        "budget": 12.0,
        "learning_rate": 5e-3,
        "warmup": 3,
        "log_every": 5,
        "validate_every": 40,
        "tensorboard": False,
        "sizes": {**SIZES, "spk_embed_dim": 6},
    }
    return MelSettings.model_validate(fields | changes)


def test_the_decoder_learns_and_is_exported(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    chosen = settings(tmp_path)
    lines = list(train_mel(chosen))
    assert lines[0].startswith("18 examples, 6 to validate on")
    log = read_journal(tmp_path / "run")
    train = [entry for entry in log if entry["part"] == "train"]
    assert train[-1]["mel"] < 0.75 * train[0]["mel"]
    assert {"mel/self", "mel/other", "mel/speed"} <= set(log[-1])
    export = MelExportSettings(run=tmp_path / "run", out=tmp_path / "out", sizes=chosen.sizes)
    assert "step 40" in next(export_mel(export))
    parts = read_hyperyaml(tmp_path / "out" / "flow.yaml")
    made = build(parts, BUILDERS, parts)["flow"]
    assert isinstance(made, ReferencedMelDecoder) and made.speaker_size == 6


def test_reversed_pairs(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    store = MelStore(tmp_path / "store")

    def forward(**changes: object) -> list[bool]:
        found = examples_of(store, settings(tmp_path, **changes), "train")
        return [store.items[e.target].role == "target" for e in found if e.kind == "speed"]

    assert not any(forward(reverse=1.0)) and all(forward(reverse=1.0, one_way=("speed",)))
    kinds = [e.kind for e in examples_of(store, settings(tmp_path, self_share=2.0), "train")]
    assert (kinds.count("self"), kinds.count("other"), kinds.count("speed")) == (12, 6, 6)


def test_other_reference(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    task = MelTask(settings(tmp_path), MelStore(tmp_path / "store"))
    rng = np.random.default_rng(0)
    for example in task.examples:
        if example.kind == "other":
            chosen = task.maker._reference(example, rng)
            items = task.store.items
            assert chosen != example.target
            assert items[chosen].speaker == items[example.target].speaker
            assert items[chosen].split == "train"


def test_batches_come_from_the_step_alone(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    task = MelTask(settings(tmp_path), MelStore(tmp_path / "store"))
    one, two, other = (task.batch([0, 5, 9], step) for step in (3, 3, 4))
    assert torch.equal(one.prompt_mel, two.prompt_mel) and torch.equal(one.mel, two.mel)
    assert one.mel.shape != other.mel.shape or not torch.equal(one.mel, other.mel)


def test_disturbed_rows_stay_in_their_codebooks() -> None:
    rng = np.random.default_rng(0)
    semantic = rng.integers(0, 4096, 3000)
    linguistic = np.where(np.arange(3000) % 3 == 2, 1024, rng.integers(0, 1024, 3000))
    rows = np.stack([linguistic, 1025 + semantic], axis=1)
    changed = disturb_rows(rows, rng, LEVELS)
    assert (changed[2::3, 0] == 1024).all() and (changed[:, 0] <= 1024).all()
    assert changed[:, 1].min() >= 1025 and changed[:, 1].max() <= 5120
    is_other = changed[:, 1] != rows[:, 1]
    assert 0.08 < is_other.mean() < 0.16
    digits = np.stack(
        [(a - 1025)[:, None] // 8 ** np.arange(4) % 8 for a in (rows[:, 1], changed[:, 1])]
    )
    steps = np.abs(digits[1] - digits[0])[is_other]
    assert 0.6 < (steps.sum(1) == 1).mean() < 0.9


def test_mels_begin_where_the_codes_do() -> None:
    rng = np.random.default_rng(0)
    samples = np.zeros(24_000, np.float32)
    samples[9600:] = 0.1 * rng.standard_normal(14_400)
    codes = DualCodes(np.zeros(8, np.int64), np.zeros(12, np.int64), 0.4)
    mel = grid_mel(samples, 24_000, codes)
    assert mel.shape == (24, 80)
    assert float(mel[2:20].mean()) > -3
    early = grid_mel(samples, 24_000, DualCodes(codes.linguistic, codes.semantic, -0.05))
    assert float(early[:18].max()) < -6 < float(early[23].mean())


def test_an_incomplete_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="mel-data"):
        MelStore(tmp_path)


def test_critic_losses() -> None:
    torch.manual_seed(0)
    critic = MelCritic(4)
    rough = torch.randn(2, 30, 80) - 5
    smooth = torch.full((2, 30, 80), -5.0)
    mask = torch.ones(2, 30, 1)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        found = critic.judge(rough, smooth, mask)
        optimizer.zero_grad()
        found.critic.backward()
        optimizer.step()
        losses.append(found.critic.item())
    assert losses[-1] < 0.3 * losses[0]
    smooth.requires_grad_()
    optimizer.zero_grad()
    found = critic.judge(rough, smooth, mask)
    (found.adversary + found.matching).backward()
    assert smooth.grad is not None and smooth.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in critic.parameters())


def test_a_critic_does_not_see_padding() -> None:
    critic = MelCritic(4)
    mel = torch.randn(1, 30, 80)
    mask = (torch.arange(30) < 20).float()[None, :, None]
    other = torch.where(mask > 0, mel, torch.randn(1, 30, 80))
    assert torch.equal(critic(mel, mask)[-1], critic(other, mask)[-1])


def test_resume_and_export_with_critic(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    judged = {"critic_weight": 0.1, "critic_from": 2, "critic_width": 4, "critic_pace": 2.0}
    chosen = settings(tmp_path, steps=6, log_every=1, checkpoint_minutes=0, **judged)
    list(train_mel(chosen))
    first = read_journal(tmp_path / "run")
    assert {"critic", "adversary", "matching"} <= set(first[0])
    sorted((tmp_path / "run" / "checkpoints").glob("step-*.pt"))[-1].unlink()
    list(train_mel(chosen))
    assert [e.get("loss") for e in read_journal(tmp_path / "run")] == [e.get("loss") for e in first]
    export = MelExportSettings(run=tmp_path / "run", out=tmp_path / "out", sizes=chosen.sizes)
    list(export_mel(export))
    held = load_file(tmp_path / "out" / "flow.safetensors")
    assert set(held) == set(chosen.sizes.build().state_dict())


def test_the_critic_learns_at_a_pace_of_its_own(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    store = MelStore(tmp_path / "store")
    task = MelTask(settings(tmp_path, critic_weight=0.1, critic_width=4, critic_pace=3.0), store)
    decoder, critic = task.parameter_groups()
    assert critic["pace"] == 3.0 and "pace" not in decoder
    assert len(decoder["params"]) + len(critic["params"]) == len(list(task.model.parameters()))
    assert len(critic["params"]) == len(list(MelCritic(4).parameters()))


def test_self_generated_reference(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    task = MelTask(settings(tmp_path), MelStore(tmp_path / "store"))
    batch = task.batch([0, 1, 2], 5)
    rng = np.random.default_rng(0)
    assert with_self_generated(task.model, batch, 0.0, rng) is batch
    echoed = with_self_generated(task.model, batch, 1.0, rng)
    assert torch.equal(echoed.mel, batch.mel) and torch.equal(echoed.rows, batch.rows)
    assert not echoed.prompt_mel.requires_grad
    for place, length in enumerate(batch.prompt_lengths.tolist()):
        rows, mel = batch.prompt_rows[place, :length], batch.prompt_mel[place, : 2 * length]
        count = torch.tensor([length])
        alone = MelBatch(rows[None], count, rows[None], count, mel[None], batch.speaker[[place]])
        with torch.no_grad():
            made = task.model(alone)[0]
        torch.testing.assert_close(echoed.prompt_mel[place, : 2 * length], made)
        rest = batch.prompt_mel[place, 2 * length :]
        assert torch.equal(echoed.prompt_mel[place, 2 * length :], rest)


def test_a_run_with_echoes_goes_on_onto_the_same_curve(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    list(train_mel(settings(tmp_path, echo=0.5, steps=6, log_every=1)))
    whole = [entry["mel"] for entry in read_journal(tmp_path / "run") if entry["part"] == "train"]
    again = settings(tmp_path, echo=0.5, steps=6, log_every=1, out=tmp_path / "again")
    list(train_mel(again))
    same = [entry["mel"] for entry in read_journal(tmp_path / "again") if entry["part"] == "train"]
    assert whole == same and len(whole) == 6
