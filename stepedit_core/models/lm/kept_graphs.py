"""Decoders with CUDA graphs that calls of ``generate`` leave for later ones."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakKeyDictionary

from stepedit_core.models.lm.step1.decoding import GraphDecoder
from stepedit_core.models.lm.step1.network import CausalLM

__all__ = ["keep_decoder", "release_graphs", "take_decoder"]

_KEPT_SIZES = 2
"""Batch sizes whose graphs and caches are kept; each holds keys and values of its size."""

_decoders: WeakKeyDictionary[CausalLM, OrderedDict[tuple[object, ...], GraphDecoder]] = (
    WeakKeyDictionary()
)


def take_decoder(model: CausalLM, key: tuple[object, ...]) -> GraphDecoder | None:
    """Return the decoder that was kept under a key, for one user alone; None if there is none."""
    return _decoders.setdefault(model, OrderedDict()).pop(key, None)


def keep_decoder(model: CausalLM, decoder: GraphDecoder) -> None:
    """Keep a decoder with its graphs, one for each of the last batch sizes."""
    kept = _decoders.setdefault(model, OrderedDict())
    kept[decoder.key] = decoder
    while len(kept) > _KEPT_SIZES:
        kept.popitem(last=False)


def release_graphs(model: CausalLM) -> None:
    """Free the CUDA graphs and caches that earlier calls kept for ``model``."""
    _decoders.pop(model, None)
