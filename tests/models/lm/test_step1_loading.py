from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stepedit_core.errors import CheckpointError
from stepedit_core.models.lm.quantize import Int8Linear
from stepedit_core.models.lm.step1 import load_step1
from stepedit_core.models.lm.step1.packed import read_packed_int4
from tests.models.tiny_step1 import prompts, tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().to(torch.bfloat16).save_pretrained(tmp_path)
    return tmp_path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([prompts(1)[0]])).logits.float()


def test_types_follow_the_config_or_the_caller(folder: Path) -> None:
    assert load_step1(folder).lm_head.weight.dtype == torch.bfloat16
    assert load_step1(folder, dtype=torch.float16).lm_head.weight.dtype == torch.float16
    model = load_step1(folder, dtype=torch.float32)
    stored = weights(folder)
    assert not model.training
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, stored[name].float()), name


def test_shards_of_any_name_are_read_by_the_index(folder: Path) -> None:
    stored = weights(folder)
    whole = logits(load_step1(folder, dtype=torch.float32))
    names = sorted(stored)
    where = {name: f"model-0000{1 + index % 2}.safetensors" for index, name in enumerate(names)}
    for shard in set(where.values()):
        save_file({n: stored[n] for n in names if where[n] == shard}, folder / shard)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert torch.equal(logits(load_step1(folder, dtype=torch.float32)), whole)
    (folder / "model-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002\.safetensors.*missing"):
        load_step1(folder)


def test_an_index_may_not_name_files_elsewhere(folder: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "../other/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a file name"):
        load_step1(folder)


def test_files_that_are_missing_truncated_or_foreign_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for bad in (content[:-1000], content[:50], b"", b"PK\x03\x04" + content):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"model\.safetensors.*download"):
            load_step1(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match="neither"):
        load_step1(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match=r"config\.json.*'llama'"):
        load_step1(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_step1(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("model.norm.weight"), r"1 tensors are missing \(model\.norm\.weight"),
        (lambda w: w.update(extra=torch.zeros(1)), "'extra' is repeated or does not belong"),
        (lambda w: w["lm_head.weight"].view(-1)[5].fill_(torch.nan), "not finite"),
        (lambda w: w["lm_head.weight"].view(-1)[-1].fill_(torch.inf), "not finite"),
        (
            lambda w: w.update({"model.norm.weight": torch.ones(25, dtype=torch.bfloat16)}),
            r"shape \(25,\).*asks for \(24,\)",
        ),
    ],
)
def test_wrong_tensors_are_named(folder: Path, change: object, message: str) -> None:
    stored = weights(folder)
    assert callable(change)
    change(stored)
    save_file(stored, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_step1(folder)


def pack(weight: torch.Tensor, group: int) -> dict[str, torch.Tensor]:
    """Symmetric int4, eight to an int32 from the low end, offset 8."""
    rows, columns = weight.shape
    grouped = weight.float().view(rows, -1, group)
    scale = grouped.abs().amax(-1) / 7.5
    values = (grouped / scale[..., None]).round().clamp(-8, 7).to(torch.int64) + 8
    words = (values.view(rows, -1, 8) << (4 * torch.arange(8))).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words)
    return {
        "weight_packed": words.to(torch.int32),
        "weight_scale": scale.to(torch.bfloat16),
        "weight_shape": torch.tensor([rows, columns]),
    }


def test_packed_int4_checkpoints_are_expanded(folder: Path) -> None:
    stored, expected = {}, {}
    for name, tensor in weights(folder).items():
        if "_proj" not in name:
            stored[name] = tensor
            continue
        parts = pack(tensor, 8)
        layer = name.removesuffix(".weight")
        stored |= {f"{layer}.{part}": value for part, value in parts.items()}
        words = parts["weight_packed"].to(torch.int64)
        rows, columns = tensor.shape
        values = torch.tensor(
            [
                [(int(words[r, c // 8]) >> (4 * (c % 8))) & 15 for c in range(columns)]
                for r in range(rows)
            ]
        )
        scale = parts["weight_scale"].float().repeat_interleave(8, dim=1)
        expected[name] = (values - 8) * scale
    save_file(stored, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    scheme = {"weights": {"num_bits": 4, "type": "int", "symmetric": True, "group_size": 8}}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": scheme},
    }
    (folder / "config.json").write_text(json.dumps(config))
    model = load_step1(folder, dtype=torch.float32)
    for name, value in expected.items():
        torch.testing.assert_close(model.get_parameter(name), value, rtol=1e-2, atol=1e-4)
    scheme["weights"]["symmetric"] = False
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json.*does not read"):
        load_step1(folder)


def test_packed_layers_with_zero_points_or_missing_parts_are_refused() -> None:
    with pytest.raises(CheckpointError, match="asymmetric"):
        list(read_packed_int4([("a.weight_zero_point", torch.zeros(1))]))
    with pytest.raises(CheckpointError, match="lacks some"):
        list(read_packed_int4([("a.weight_scale", torch.ones(1, 1))]))
    parts = {
        "weight_packed": torch.zeros(2, 3, dtype=torch.int32),
        "weight_scale": torch.ones(2, 1),
    }
    parts["weight_shape"] = torch.tensor([2, 64])
    with pytest.raises(CheckpointError, match="do not fit"):
        list(read_packed_int4((f"a.{name}", tensor) for name, tensor in parts.items()))


def test_quantised_loading_replaces_the_decoder_stack_only(folder: Path) -> None:
    model = load_step1(folder, quantize="int8")
    kinds = [type(module) for module in model.modules() if isinstance(module, Int8Linear)]
    assert len(kinds) == 7 * 3
    assert type(model.lm_head) is torch.nn.Linear


_PEAK = """
import sys, torch
from stepedit_core.models.lm.step1 import load_step1

def status(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

before = status("VmRSS")
model = load_step1(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
print((status("VmHWM") - before) / sum(p.numel() * p.element_size() for p in model.parameters()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' /proc")
def test_loading_holds_little_more_than_the_model(tmp_path: Path, dtype: str) -> None:
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 12}
    model = tiny_model(num_attention_heads=8, vocab_size=8192, **sizes)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(tmp_path), dtype],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert float(done.stdout) < 1.2, done.stdout


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_groups", "num_hidden_layers"])
@pytest.mark.parametrize("value", [0, -4, "x", 2.5, None, True, 10**6])
def test_impossible_sizes_are_refused_before_anything_is_built(
    folder: Path, key: str, value: object
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(CheckpointError, match=rf"config\.json.*{key}.*download"):
        load_step1(folder)
