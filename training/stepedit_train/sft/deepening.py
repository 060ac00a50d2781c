"""Take a model's weights into one of the same width and no fewer layers."""

from __future__ import annotations

from torch import Tensor

__all__ = ["deepened", "layer_origins"]

_LAYERS = "model.layers."
_OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


def layer_origins(layers: int, wanted: int) -> list[tuple[int, bool]]:
    """Return for each of ``wanted`` layers the one that it comes from, and whether it is new.

    New layers are spread evenly, each behind the one that it repeats.

    Raises:
        ValueError: if fewer layers are wanted than there are.
    """
    if not 0 < layers <= wanted:
        raise ValueError(f"{layers} layers cannot become {wanted}")
    ends = [(index + 1) * wanted // layers for index in range(layers)]
    begins = [0, *ends[:-1]]
    return [
        (index, place > begin)
        for index, (begin, end) in enumerate(zip(begins, ends, strict=True))
        for place in range(begin, end)
    ]


def deepened(weights: dict[str, Tensor], layers: int, wanted: int) -> dict[str, Tensor]:
    """Return weights of a deeper model that computes the same, by its parameter names.

    A new layer repeats the one before it, with zeros for what it adds to the residual stream: it
    does nothing until it has learned to. Source: block expansion, Wu et al. 2024 (LLaMA Pro), 3.2.

    Args:
        weights: of the model that is there, by parameter name.
        layers: how many it has.
        wanted: how many the deeper one has.

    Raises:
        ValueError: if fewer layers are wanted than there are.
    """
    found = {name: value for name, value in weights.items() if not name.startswith(_LAYERS)}
    for place, (index, is_new) in enumerate(layer_origins(layers, wanted)):
        prefix = f"{_LAYERS}{index}."
        for name, value in weights.items():
            if name.startswith(prefix):
                part = name.removeprefix(prefix)
                silent = is_new and part in _OUTPUTS
                found[f"{_LAYERS}{place}.{part}"] = (
                    value.new_zeros(value.shape) if silent else value
                )
    return found
