from __future__ import annotations

import pytest
import torch

from stepedit_core.models.lm.quantize import Int4Linear, Int8Linear, quantize_linears
from tests.models.tiny_step1 import prompts, tiny_model

SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4}


def relative(error: torch.Tensor, value: torch.Tensor) -> float:
    return float(error.float().norm() / value.float().norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize(
    ("kind", "sizes", "bound"),
    [
        (Int8Linear, (64, 48), 0.01),
        (Int8Linear, (18, 10), 0.01),  # shapes that no kernel takes
        (Int4Linear, (64, 48), 0.12),
        (Int4Linear, (256, 30), 0.12),
    ],
)
def test_products_are_those_of_the_stored_weights(
    kind: type[Int4Linear], sizes: tuple[int, int], bound: float, rows: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(sizes[1], sizes[0], generator=generator).to(dtype)
    x = torch.randn(2, rows, sizes[0], generator=generator).to(dtype)
    layer = kind(*sizes)
    layer.load(weight)
    dense = layer.dense()
    assert relative(dense - weight, weight) < bound
    expected = x.float() @ dense.float().T
    assert layer(x).dtype == dtype
    assert relative(layer(x) - expected, expected) < (1e-5 if dtype == torch.float32 else 0.01)


def test_the_decoder_stack_shrinks_and_the_rest_stays() -> None:
    for kind, share in (("int8", 0.55), ("int4", 0.33)):
        model = tiny_model(**SIZES).to(torch.bfloat16)
        before = sum(p.numel() * p.element_size() for p in model.model.layers.parameters())
        kinds = quantize_linears(model, kind)  # type: ignore[arg-type]
        layers = model.model.layers
        after = sum(b.numel() * b.element_size() for b in [*layers.buffers(), *layers.parameters()])
        assert after < share * before
        assert len(kinds) == 7 * 3
        assert set(kinds.values()) == {kind}
        assert type(model.lm_head) is torch.nn.Linear


def test_layers_too_odd_for_int4_become_int8_and_are_told() -> None:
    model = tiny_model(hidden_size=24, intermediate_size=64)
    kinds = quantize_linears(model, "int4")
    assert kinds["model.layers.0.self_attn.q_proj"] == "int8"
    assert kinds["model.layers.0.mlp.down_proj"] == "int4"
    with pytest.raises(ValueError, match="unknown quantisation"):
        quantize_linears(model, "int3")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.02), ("int4", 0.35)])
def test_logits_stay_close(kind: str, bound: float) -> None:
    # Random weights are the worst case: no structure that rounding would spare.
    model = tiny_model(**SIZES, initializer_range=0.05)
    ids = torch.tensor([prompts(3)[2]])
    with torch.no_grad():
        plain = model(ids).logits
        quantize_linears(model, kind)  # type: ignore[arg-type]
        assert relative(model(ids).logits - plain, plain) < bound
