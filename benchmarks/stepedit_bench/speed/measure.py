"""Time every stage of an engine and the plain way of doing the same work, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_bench.speed.language_model import measure_language_model
from stepedit_bench.speed.sizes import Sizes, build_decoder, build_encoder
from stepedit_bench.speed.timing import Measurement, Settings, paired

if TYPE_CHECKING:
    from stepedit_core.models.decoder.decoder import Reference

__all__ = ["measure_all"]


def _encoder(sizes: Sizes, settings: Settings) -> Iterator[Measurement]:
    """Linguistic encoding: one pass against the chunk loop, alone and in a batch."""
    from stepedit_bench.speed.encoder import measure_encoder

    encoder = build_encoder(sizes, settings.device)
    got = measure_encoder(encoder, settings.seconds, settings.batch, settings.repeats)
    note = f"chunk loop; largest difference {got.difference:.1e}"
    yield Measurement("linguistic encoding", got.batched, got.chunked, None, settings.seconds, note)
    yield Measurement(
        f"linguistic encoding, batch of {got.batch_size}, each",
        got.batch,
        got.chunked,
        None,
        settings.seconds,
        note,
    )


def _reference(settings: Settings, seconds: float = 3.0) -> Reference:
    """Return a reference of random codes and mel."""
    from stepedit_core.models.decoder.decoder import Reference

    rng = np.random.default_rng(1)
    mel = rng.standard_normal((round(seconds * 50), 80)).astype(np.float32)
    return Reference(_codes(seconds), mel, rng.standard_normal(192).astype(np.float32))


def _codes(seconds: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return random token indices in the 2:3 phase."""
    rng = np.random.default_rng(2)
    groups = round(seconds / 0.12)
    rows = [np.r_[rng.integers(0, 1024, 2), rng.integers(1024, 5120, 3)] for _ in range(groups)]
    return np.concatenate(rows).astype(np.int64)


def _decoder(sizes: Sizes, settings: Settings) -> Iterator[Measurement]:
    """Flow and vocoder: folded and, on CUDA, compiled, against eager with weight norms."""
    reference, codes = _reference(settings), _codes(settings.seconds)

    fast, slow = (build_decoder(sizes, settings.device, fold=fold) for fold in (True, False))
    if settings.device.type == "cuda":
        fast.compile()
    took = paired(
        lambda: fast.decode(codes, reference, seed=0),
        lambda: slow.decode(codes, reference, seed=0),
        settings,
    )
    note = "not compiled, weight norms computed at every call"
    yield Measurement("flow and vocoder", took.ours, took.plain, None, settings.seconds, note)


def measure_all(
    sizes: Sizes, settings: Settings, on_stage: Callable[[str], None] | None = None
) -> list[Measurement]:
    """Measure all stages.

    Args:
        sizes: what to build.
        settings: how to measure.
        on_stage: told the name of each stage before it begins.
    """
    found: list[Measurement] = []
    stages = {
        "linguistic encoder": _encoder,
        "language model": measure_language_model,
        "decoder": _decoder,
    }
    for name, stage in stages.items():
        if on_stage is not None:
            on_stage(name)
        found += stage(sizes, settings)
    return found
