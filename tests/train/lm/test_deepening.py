"""Layers that are added: where they come from, and that they change nothing at first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stepedit_train.lm.base import BaseSettings, layer_origins, make_base

from stepedit_core.models.lm.step1 import load_step1


def made(folder: Path, **changes: object) -> Path:
    settings = {"hidden_size": 32, "intermediate_size": 48, "alignment": [], **changes}
    list(make_base(BaseSettings.model_validate({"out": folder, **settings})))
    return folder


@pytest.mark.parametrize(
    ("layers", "wanted", "origins"),
    [
        (3, 3, [0, 1, 2]),
        (4, 6, [0, 1, 1, 2, 3, 3]),
        (2, 5, [0, 0, 1, 1, 1]),
    ],
)
def test_placement_of_new_layers(layers: int, wanted: int, origins: list[int]) -> None:
    found = layer_origins(layers, wanted)
    assert [index for index, _ in found] == origins
    first = {index: origins.index(index) for index in origins}
    assert [not new for _, new in found] == [first[o] == i for i, o in enumerate(origins)]


def test_layers_are_never_taken_away() -> None:
    with pytest.raises(ValueError, match="4 layers cannot become 3"):
        layer_origins(4, 3)


def test_deeper_model_output(tmp_path: Path) -> None:
    shallow = load_step1(made(tmp_path / "a", layers=2), dtype=torch.float32)
    deep = load_step1(made(tmp_path / "b", layers=3, weights=tmp_path / "a"), dtype=torch.float32)
    assert len(deep.model.layers) == 3
    ids = torch.arange(40)[None]
    torch.testing.assert_close(deep(ids).logits, shallow(ids).logits)
    new = deep.model.layers[2]
    assert torch.equal(new.mlp.up_proj.weight, shallow.model.layers[1].mlp.up_proj.weight)
    deep(ids).logits.square().mean().backward()
    assert new.mlp.down_proj.weight.grad.abs().max() > 0
    assert new.self_attn.o_proj.weight.grad.abs().max() > 0
