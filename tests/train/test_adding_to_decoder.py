"""Adding edits to a mel decoder: labels that grow, output that is kept, the engine that results."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from stepedit_train.adding import add_to_decoder
from stepedit_train.cli import train
from stepedit_train.decoder.examples import MelTrainBatch
from stepedit_train.decoder.export import MEL_CLASS
from stepedit_train.decoder.mel.self_generated import with_distilled
from stepedit_train.decoder.mel.settings import MelSizes
from stepedit_train.decoder.mel.stage import MelTask, train_mel
from stepedit_train.decoder.pretrained import entry_in, read_decoder_of, take_decoder
from stepedit_train.decoder.store import MelStore
from stepedit_train.export import configuration, entry_of

from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.hyperyaml import Component, read_hyperyaml
from stepedit_core.models.decoder.reference.model import MelBatch, ReferencedMelDecoder
from stepedit_core.models.engine import Engine
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Hiss
from tests.train.decoder.test_mel import SIZES, make_store, settings
from tests.train.making import make_pairs

TAUGHT = ("denoise", "speed")
SMALL = {**SIZES, "spk_embed_dim": 6, "places": True, "labels_again": True}


def decoder_with(labels: tuple[str, ...], seed: int = 0, **changes: object) -> ReferencedMelDecoder:
    torch.manual_seed(seed)
    made = MelSizes.model_validate({**SMALL, "labels": labels, **changes}).build()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return made.eval()


def write_decoder(folder: Path, decoder: ReferencedMelDecoder, **entry: object) -> Path:
    """Write a decoder folder without vocoder, as far as the mel stage reads it."""
    folder.mkdir()
    sizes = {**SMALL, "labels": list(decoder.labels.names), **entry}  # type: ignore[union-attr]
    text = configuration({"flow": entry_of(MEL_CLASS, sizes)})
    (folder / "cosyvoice.yaml").write_text(text)
    torch.save(decoder.state_dict(), folder / "flow.pt")
    return folder


def batch_of(count: int = 12, rows: int = 18) -> MelTrainBatch:
    rng = np.random.default_rng(0)
    draw = lambda *shape: torch.from_numpy(rng.normal(-5, 1, shape).astype(np.float32))  # noqa: E731
    codes = torch.from_numpy(
        np.stack(
            [rng.integers(0, 1024, (count, rows)), rng.integers(1025, 5121, (count, rows))], axis=2
        )
    )
    lengths = torch.full((count,), rows)
    places = torch.arange(rows).float().repeat(count, 1)
    return MelTrainBatch(
        codes, lengths, codes, lengths, draw(count, 2 * rows, 80), draw(count, 6), places,
        torch.full((count, rows), 3), mel=draw(count, 2 * rows, 80),
    )  # fmt: skip


def test_more_labels() -> None:
    old = decoder_with(TAUGHT)
    new = decoder_with(("speed", "flat", "denoise"), seed=1)
    take_decoder(old, new)
    batch = batch_of(2)
    for name in TAUGHT:
        assert old.labels is not None and new.labels is not None
        numbers = [1 + model.labels.names.index(name) for model in (old, new)]
        told = [replace(batch, labels=torch.full_like(batch.labels, n)) for n in numbers]
        torch.testing.assert_close(new(told[1]), old(told[0]))
    with pytest.raises(StepeditError, match="lacks speed"):
        take_decoder(old, decoder_with(("denoise",)))
    with pytest.raises(StepeditError, match="other sizes"):
        take_decoder(old, decoder_with(TAUGHT, width=32))
    with pytest.raises(StepeditError, match="parts that `sizes` does not name"):
        take_decoder(old, decoder_with((), labels_again=False))


def test_distilled_targets() -> None:
    old, batch = decoder_with(TAUGHT), batch_of()
    chosen = torch.arange(12) % 3 > 0
    made = with_distilled(old, batch, chosen, np.random.default_rng(0))
    assert torch.equal(made.mel[~chosen], batch.mel[~chosen])
    assert torch.equal(made.prompt_mel[~chosen], batch.prompt_mel[~chosen])
    assert (made.labels[~chosen] == 3).all() and batch.labels.eq(3).all()
    told = {field.name: getattr(made, field.name)[chosen] for field in fields(MelBatch)}
    torch.testing.assert_close(made.mel[chosen], old(MelBatch(**told)))
    labels = told["labels"]
    assert set(labels.unique().tolist()) == {0, 1, 2}  # never the label that it has yet to learn
    alone = ((labels > 0).any(1)) & (labels == 0).any(1)
    assert alone.any()  # some are put in between
    assert made.positions[chosen][alone].isnan().equal(labels[alone] > 0)
    noisier = made.prompt_mel[chosen] - batch.prompt_mel[chosen]
    assert (noisier >= -1e-5).all() and 0 < (noisier.amax((1, 2)) > 0).float().mean() < 1
    again = with_distilled(old, batch, chosen, np.random.default_rng(0))
    assert torch.equal(again.mel, made.mel)


def drift(task: MelTask, before: ReferencedMelDecoder) -> float:
    """How far a trained decoder is from what it was, told of an old edit."""
    batch = task.batch(list(range(len(task.examples))), 999)
    told = replace(batch, labels=torch.ones_like(batch.labels))
    task.model.eval()
    with torch.no_grad():
        return float((task.model(told) - before(told)).abs().mean())


def test_old_edits_are_kept(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    before = decoder_with(TAUGHT)
    folder = write_decoder(tmp_path / "before", before)
    sizes = {**SMALL, "labels": [*TAUGHT, "flat"]}
    drifts = []
    for keep in (True, False):
        changes = {"weights": folder, "sizes": sizes, "out": tmp_path / f"run-{keep}"}
        changes["distil_from"] = folder if keep else None
        chosen = settings(tmp_path, **changes)
        list(train_mel(chosen))
        task = MelTask(chosen, MelStore(tmp_path / "store"))
        (found,) = (tmp_path / f"run-{keep}" / "checkpoints").glob("*.pt")
        task.model.load_state_dict(torch.load(found, weights_only=True)["model"])
        drifts.append(drift(task, before))
    assert drifts[0] < 0.6 * drifts[1]


def test_contradicting_settings(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    for given in ({"keep": True}, {"start": tmp_path, "weights": tmp_path}):
        with pytest.raises(ValueError, match="weights"):
            settings(tmp_path, **given)
    folder = write_decoder(tmp_path / "before", decoder_with(TAUGHT))
    sizes = {**SMALL, "labels": ["flat", *TAUGHT]}
    with pytest.raises(StepeditError, match="distil_from needs its own labels first"):
        MelTask(settings(tmp_path, distil_from=folder, sizes=sizes), MelStore(tmp_path / "store"))
    (folder / "cosyvoice.yaml").write_text("flow: !new:stepvocoder.cosyvoice2.flow.flow.X {}\n")
    with pytest.raises(StepeditError, match="another kind"):
        entry_in(folder)


def test_bounds_are_left_out_of_what_is_kept(tmp_path: Path) -> None:
    bounds = {"denoise": [1.0, 1.0, 1.0]}
    folder = write_decoder(tmp_path / "before", decoder_with(TAUGHT), bounds=bounds)
    found = read_decoder_of(folder)
    assert found.labels is not None and not found.labels.bounds


def run(pairs: Path, out: Path) -> list[str]:
    given = ["steps=2", "budget=6", "tensorboard=false"]
    return list(add_to_decoder(["hiss"], "embedded", pairs, out, given))


def test_an_edit_is_added_to_the_embedded_decoder(tmp_path: Path, toys: Registry) -> None:
    make_pairs(tmp_path / "pairs" / "hiss", [Hiss()] * 4)
    lines = run(tmp_path / "pairs", tmp_path / "out")
    assert lines[-1] == f"engine in {tmp_path / 'out' / 'model'}"
    folder = tmp_path / "out" / "model"
    shipped: Any = Engine.load().parts.decoder.flow
    made = Engine.load(folder)
    flow: Any = made.parts.decoder.flow
    assert flow.labels.names == (*shipped.labels.names, "hiss")
    assert flow.labels.bounds == shipped.labels.bounds
    before_it, after_it = (one.own["clone"].state_dict() for one in (shipped, flow))
    for name, weight in before_it.items():  # clones are decoded as they were
        assert name.startswith("labels.") or torch.equal(after_it[name], weight), name
    assert made.parts.reader is not None and (folder / "replay.npz").exists()
    assert not (folder / "figures.json").exists() and not (folder / "MODEL_CARD.md").exists()
    vocoder = read_hyperyaml(folder / "CosyVoice-300M-25Hz" / "cosyvoice.yaml")["hift"]
    assert isinstance(vocoder, Component) and vocoder.arguments["voiced_noise"] == 0.2
    before = (folder / "CosyVoice-300M-25Hz" / "flow.safetensors").read_bytes()
    run(tmp_path / "pairs", tmp_path / "out")  # is done: says so, and writes the same again
    assert (folder / "CosyVoice-300M-25Hz" / "flow.safetensors").read_bytes() == before
    with pytest.raises(StepeditError, match="shards"):
        list(add_to_decoder(["gain"], str(folder), tmp_path / "pairs", tmp_path / "other"))


def test_the_command_names_the_stages_that_add_edits(tmp_path: Path) -> None:
    for stage, message in (("vocoder", "stages sft, mel and grpo"), ("mel", "--out DIR")):
        found = CliRunner().invoke(train, [stage, "--edits", "speed"])
        assert found.exit_code == 2 and message in found.output
