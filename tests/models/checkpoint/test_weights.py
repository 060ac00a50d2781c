from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.weights import load_into, read_state_dict


def saved(tmp_path: Path, value: object, name: str = "flow.pt") -> Path:
    torch.save(value, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("mmap", [True, False])
def test_reads_views_and_other_dtypes(tmp_path: Path, mmap: bool) -> None:
    storage = torch.arange(100, dtype=torch.float32)
    path = saved(tmp_path, {"view": storage[10:20].view(2, 5).t(), "half": storage.half()})
    state = read_state_dict(path, mmap=mmap)
    assert torch.equal(state["view"], storage[10:20].view(2, 5).t())
    assert state["half"].dtype is torch.float16


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "generator"])
def test_reads_nested_state_dicts(tmp_path: Path, key: str) -> None:
    path = saved(tmp_path, {key: {"w": torch.ones(2)}, "epoch": 3})
    assert list(read_state_dict(path)) == ["w"]


def test_reads_the_format_before_zip(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_state_dict(path)["w"], torch.ones(3))


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "w.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "w.safetensors")["w"], torch.ones(3))


def refused(path: Path, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    assert said in str(caught.value) and path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_refuses_truncated_files(tmp_path: Path, name: str, part: float) -> None:
    path = tmp_path / name
    state = {"w": torch.randn(100, 100)}
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    refused(path, "truncated")


def test_refuses_foreign_files(tmp_path: Path) -> None:
    for name, raw, said in (
        ("pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS"),
        ("page.pt", b"<!DOCTYPE html><html></html>", "web page"),
        ("noise.pt", bytes(range(256)) * 8, "not"),
        ("noise.safetensors", bytes(range(256)) * 8, "not a safetensors"),
        ("empty.pt", b"", "empty"),
    ):
        (tmp_path / name).write_bytes(raw)
        refused(tmp_path / name, said)
    refused(saved(tmp_path, [1, 2], "list.pt"), "list")
    refused(saved(tmp_path, {"w": "text"}, "text.pt"), "'w'")
    refused(saved(tmp_path, {}, "none.pt"), "no tensors")
    refused(tmp_path / "gone.pt", "no such file")


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("zipped", [True, False])
def test_does_not_run_pickled_code(tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "bad.pt", tmp_path / "ran"
    if zipped:
        torch.save({"w": Payload(target)}, path)
    else:
        path.write_bytes(pickle.dumps({"w": Payload(target)}, protocol=2))
    with pytest.raises(CheckpointError, match=r"bad\.pt.*not run") as caught:
        read_state_dict(path)
    assert "weights_only" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_refuses_values_that_are_not_finite(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    bad = torch.zeros(50, dtype=dtype)
    bad[33] = value
    refused(saved(tmp_path, {"fine": torch.ones(2), "layer.w": bad}), "layer.w")


def test_loads_into_a_module_on_the_meta_device(tmp_path: Path) -> None:
    source = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    source[0].weight.requires_grad_(False)
    with torch.device("meta"):
        target = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    target[0].weight.requires_grad_(False)
    state = {f"net.{k}": v.clone() for k, v in source.state_dict().items()} | {
        "other": torch.ones(1)
    }
    load_into(target, state, "net.", tmp_path / "x.pt")
    assert list(state) == ["other"]
    x = torch.randn(5, 3)
    assert torch.equal(target.eval()(x), source.eval()(x))
    assert not target[0].weight.requires_grad and target[0].bias.requires_grad


def test_converts_floats_only() -> None:
    module = nn.BatchNorm1d(2)
    load_into(module, dict(nn.BatchNorm1d(2).state_dict()), dtype=torch.bfloat16)
    assert module.weight.dtype is torch.bfloat16
    assert module.num_batches_tracked.dtype is torch.int64


def test_keeps_the_stored_storage_when_nothing_changes() -> None:
    weight = torch.randn(4, 3)
    with torch.device("meta"):
        module = nn.Linear(3, 4, bias=False)
    load_into(module, {"weight": weight})
    assert module.weight.data_ptr() == weight.data_ptr()


def test_names_what_does_not_fit() -> None:
    state = {"weight": torch.ones(3, 4), "gain": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        load_into(nn.Linear(3, 4), state, file="flow.pt")
    text = str(caught.value)
    assert text.startswith("flow.pt")
    for said in ("1 missing (bias)", "1 unexpected (gain)", "weight is (3, 4) instead of (4, 3)"):
        assert said in text
    assert set(state) == {"weight", "gain"}, "a refused state dict is left alone"


def test_accepts_both_spellings_of_weight_norm() -> None:
    def normed() -> nn.Module:
        return nn.ModuleDict(
            {"conv": torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 3))}
        )

    source, target = normed(), normed()
    old = {
        k.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): v.clone()
        for k, v in source.state_dict().items()
    }
    load_into(target, old)
    x = torch.randn(1, 2, 9)
    assert torch.equal(target["conv"](x), source["conv"](x))  # type: ignore[index]
