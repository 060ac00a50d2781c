"""Codes that a language model draws, as input of the mel decoder, and weights of a label alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from stepedit_train.assembly.collect import _label_weights
from stepedit_train.decoder.drawn import DrawnCodes, DrawnCodesSettings, draw_codes
from stepedit_train.decoder.export import MelExportSettings, export_mel
from stepedit_train.decoder.mel.code_reader import MelCodeReader
from stepedit_train.decoder.mel.stage import MelSettings, MelTask, train_mel
from stepedit_train.decoder.store import MelStore
from stepedit_train.journal import read_journal

from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.checkpoint import read_flow
from stepedit_core.models.decoder.flow import FlowInput, FlowNoise
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.registry.registry import Registry
from tests.models.tiny_checkpoint import write_single
from tests.toy_edits import Hiss
from tests.train.decoder.test_mel import make_store, settings
from tests.train.making import make_pairs


def drawing(folder: Path, **changes: object) -> DrawnCodesSettings:
    fields: dict[str, object] = {
        "model": folder / "engine",
        "pairs": [folder / "pairs"],
        "out": folder / "drawn",
        "draws": 3,
    }
    return DrawnCodesSettings.model_validate(fields | changes)


@pytest.fixture
def paired(tmp_path: Path, toys: Registry) -> Path:
    """A tiny engine, and pairs of which the first is of the test split."""
    model = write_single(tmp_path / "model").rename(tmp_path / "engine")
    (model / "sampling.json").write_text('{"temperature": 0.5}')
    make_pairs(tmp_path / "pairs", [Hiss()] * 4)
    return tmp_path


def test_drawn_codes_keep_the_time_of_the_recording(paired: Path) -> None:
    assert next(draw_codes(drawing(paired))).startswith("pairs/part-000000: 3 of 3 pairs")
    assert not list(draw_codes(drawing(paired)))  # nothing is left to do
    found = DrawnCodes(paired / "drawn")
    names = sorted(load_file(paired / "drawn" / "pairs" / "part-000000.safetensors"))
    assert len(names) == 3
    first = found.rows("pairs", names[0])
    assert first is not None and first.shape == (3, 9, 2)
    assert (first[:, 2::3, 0] == 1024).all() and not (first[0] == first[1]).all()
    assert found.rows("pairs", "none") is None and found.rows("other", names[0]) is None
    with pytest.raises(StepeditError, match="no shards"):
        list(draw_codes(drawing(paired, pairs=[paired / "none"])))
    list(draw_codes(drawing(paired, out=paired / "again")))
    list(draw_codes(drawing(paired, out=paired / "else", seed=1)))
    again, other = (DrawnCodes(paired / name).rows("pairs", names[0]) for name in ("again", "else"))
    assert again is not None and other is not None
    assert (again == first).all() and not (other == first).all()


def test_a_folder_without_drawn_codes_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepeditError, match="drawn-codes"):
        DrawnCodes(tmp_path)


def test_drawn_codes_stand_for_the_recorded_ones(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    rows = np.tile(np.array([[7, 2000], [8, 2001], [1024, 2002]], np.int16), (10, 1))
    (tmp_path / "drawn" / "speed").mkdir(parents=True)
    tensors = {f"e{n}": rows[None] for n in range(8)}
    save_arrays(tensors, tmp_path / "drawn" / "speed" / "part-000000.safetensors")
    store = MelStore(tmp_path / "store")
    given = {"drawn_codes": tmp_path / "drawn", "reverse": 0.0}
    task = MelTask(settings(tmp_path, drawn_share=1.0, **given), store)
    for example in task.examples:
        rng = np.random.default_rng(3)
        made = task.maker.make(example, rng, disturbed=True)
        is_drawn = example.kind == "speed"
        assert (len(made.rows) == 30 and (made.rows == rows).all()) == is_drawn
        own = store.rows(example.target)
        assert (made.recorded == own).all()
        plain = task.maker.make(example, np.random.default_rng(3), disturbed=False)
        assert (plain.rows == own).all()
    for name, drawn, message in (
        ("denoise", rows, "none of the store's targets"),
        ("speed", rows[:27], "27 rows, and 30 in the store"),
    ):
        (tmp_path / "else" / name).mkdir(parents=True)
        path = tmp_path / "else" / name / "part-000000.safetensors"
        save_arrays({"e3": drawn[None]}, path)
        with pytest.raises(StepeditError, match=message):
            MelTask(settings(tmp_path, drawn_codes=tmp_path / "else"), store)
    none = MelTask(settings(tmp_path, drawn_share=0.0, **given), store)
    made = none.maker.make(none.examples[-1], np.random.default_rng(3), disturbed=True)
    assert not (made.rows == rows).all()


def test_the_reader_learns_from_recordings_and_holds_the_decoder_to_their_codes() -> None:
    torch.manual_seed(0)
    reader = MelCodeReader(16, 1)
    said = torch.arange(12) % 4
    rows = torch.stack([torch.where(said == 3, 1024, said), 1025 + 580 * said], 1)[None]
    table = torch.randn(4, 80) * 2 - 5
    recorded = table[said].repeat_interleave(2, 0)[None]
    mask = torch.ones(1, 12, 1)
    optimizer = torch.optim.Adam(reader.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        found = reader.read(recorded, recorded + 3, rows, mask)
        optimizer.zero_grad()
        found.reader.backward()
        optimizer.step()
        losses.append(found.reader.item())
    assert losses[-1] < 0.2 * losses[0]
    made = recorded.roll(2, 1).requires_grad_()
    optimizer.zero_grad()
    found = reader.read(recorded, made, rows, mask)
    assert found.read > 3 * found.reader
    (found.read + found.matching).backward()
    assert made.grad is not None and made.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in reader.parameters())
    held = torch.zeros(1, 12, 1)
    held[:, :6] = 1
    other = torch.where(held.repeat_interleave(2, 1) > 0, recorded, 0.0)
    assert torch.equal(
        reader(recorded, held).linguistic[:, :5], reader(other, held).linguistic[:, :5]
    )


def test_weights_of_a_label_alone(tmp_path: Path) -> None:
    """A run from a decoder's weights is exported beside it, and decodes its label alone."""
    make_store(tmp_path / "store")
    list(train_mel(settings(tmp_path, steps=2)))
    whole = MelExportSettings(run=tmp_path / "run", out=tmp_path / "whole", half=False)
    list(export_mel(whole))
    (tmp_path / "whole" / "flow.yaml").rename(tmp_path / "whole" / "cosyvoice.yaml")
    own = {"read_weight": 0.1, "read_from": 1, "critic_weight": 0.1, "critic_width": 4}
    frozen = {"frozen": ["reference_blocks.", "voice."], "log_every": 1, "seed": 5}
    chosen = settings(
        tmp_path, steps=3, weights=tmp_path / "whole", out=tmp_path / "own", **own, **frozen
    )
    list(train_mel(chosen))
    further = {**chosen.model_dump(exclude={"base"}), "out": tmp_path / "further"}
    going_on = MelTask(
        MelSettings.model_validate({**further, "start": tmp_path / "own"}),
        MelStore(tmp_path / "store"),
    )
    given = read_flow(tmp_path / "whole", "cpu", torch.float32).state_dict()
    kept = going_on.model.state_dict()
    assert torch.equal(kept["voice.weight"], given["voice.weight"])
    with pytest.raises(ValueError, match="give weights"):
        MelSettings.model_validate({**further, "weights": None, "start": tmp_path / "own"})
    with pytest.raises(StepeditError, match="no weight's name begins with 'voices'"):
        strange = MelSettings.model_validate({**further, "frozen": ["voices"]})
        MelTask(strange, MelStore(tmp_path / "store"))
    log = read_journal(tmp_path / "own")
    assert {"reader", "read", "read_matching", "critic"} <= set(log[0])
    export = MelExportSettings(
        run=tmp_path / "own", out=tmp_path / "exported", half=False, label="clone",
        decoder=tmp_path / "whole",
    )  # fmt: skip
    assert "flow-clone.safetensors: step 3" in next(export_mel(export))
    file = tmp_path / "exported" / "flow-clone.safetensors"
    held = load_file(file)
    assert held and not any(name.startswith(("reference_blocks.", "voice.")) for name in held)
    assert not any(name.startswith(("critic.", "code_reader.")) for name in held)

    _label_weights({"clone": file, "denoise": file}, tmp_path / "whole", False)
    configuration = tmp_path / "whole" / "cosyvoice.yaml"
    text = configuration.read_text()
    flow = read_flow(tmp_path / "whole", "cpu", torch.float32)
    assert isinstance(flow, ReferencedMelDecoder)
    assert flow.own["clone"] is flow.own["denoise"]  # one file, read once
    rng = np.random.default_rng(0)
    rows = torch.tensor([[1, 1025], [2, 1605], [1024, 2185]]).repeat(5, 1)
    mel, voice = torch.from_numpy(rng.normal(-5, 2, (30, 80))).float(), torch.ones(6)
    noise = FlowNoise(0)
    plain = FlowInput(rows, rows, mel, voice, noise)
    other = FlowInput(rows, rows[:9], mel, voice, noise, SourceMap(condition="clone"))
    mixed = flow.generate([plain, other, plain])
    alone = [flow.generate([one])[0] for one in (plain, other)]
    torch.testing.assert_close(mixed[0], alone[0])
    torch.testing.assert_close(mixed[1], alone[1])
    by_others = flow.generate([FlowInput(rows, rows[:9], mel, voice, noise)])[0]
    assert not torch.allclose(alone[1], by_others, atol=1e-3)
    cache = flow.open_stream(rows, rows[:0], mel, voice, noise, 0, None, SourceMap(None, "clone"))
    torch.testing.assert_close(flow.generate_chunk(rows[:9], cache, noise, True), alone[1])

    configuration.write_text(text.replace("flow-clone.", "../flow-clone."))
    with pytest.raises(CheckpointError, match="no file beside it"):
        read_flow(tmp_path / "whole", "cpu", torch.float32)
    configuration.write_text(text.replace("flow-clone.", "flow-else."))
    with pytest.raises(CheckpointError, match="flow-else"):
        read_flow(tmp_path / "whole", "cpu", torch.float32)


def test_what_cannot_be_exported_beside_a_decoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="go together"):
        MelExportSettings(run=tmp_path, out=tmp_path, label="clone")
