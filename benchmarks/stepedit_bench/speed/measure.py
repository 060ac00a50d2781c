"""Time every stage of an engine and the plain way of doing the same work, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stepedit_bench.speed.sizes import Sizes, build_decoder, build_encoder, build_model

if TYPE_CHECKING:
    from stepedit_core.models.decoder.decoder import Reference
    from stepedit_core.models.lm.step1.modeling import Step1ForCausalLM

__all__ = ["Measurement", "Settings", "measure_all"]

_AUDIO_BASE = 324
_TOKENS_PER_SECOND = 5 / 0.12


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        device: torch device.
        dtype: of the language model.
        seconds: audio per utterance, in seconds.
        prompt_tokens: length of the language model's prompt.
        new_tokens: tokens to generate.
        batch: items of the batched stages.
        repeats: runs after the warm-up; the fastest counts.
    """

    device: torch.device
    dtype: torch.dtype
    seconds: float = 10.0
    prompt_tokens: int = 600
    new_tokens: int = 200
    batch: int = 8
    repeats: int = 2


@dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
        stage: what was done.
        ours: seconds by stepedit.
        plain: seconds by the plain way, or None where there is none.
        floor: seconds that moving the bytes takes at the measured copy bandwidth, or None.
        audio_seconds: audio that the work stands for.
        note: what the plain way is, and rates.
    """

    stage: str
    ours: float
    plain: float | None
    floor: float | None
    audio_seconds: float
    note: str

    def data(self) -> dict[str, Any]:
        """Return the line as JSON data with its ratios."""
        ratio = None if self.plain is None else self.plain / self.ours
        above = None if self.floor is None else self.ours / self.floor
        times = self.audio_seconds / self.ours
        return {**asdict(self), "ratio": ratio, "times_floor": above, "times_real_time": times}


def _seconds(work: Callable[[], object], settings: Settings) -> float:
    """Return the fastest of several runs after a warm-up."""
    best = float("inf")
    for run in range(settings.repeats + 1):
        if settings.device.type == "cuda":
            torch.cuda.synchronize(settings.device)
        begin = time.perf_counter()
        work()
        if settings.device.type == "cuda":
            torch.cuda.synchronize(settings.device)
        if run:
            best = min(best, time.perf_counter() - begin)
    return best


def copy_bandwidth(device: torch.device, settings: Settings) -> float:
    """Return bytes per second that a large copy moves, reads and writes counted."""
    size = 2**30 if device.type == "cuda" else 2**27
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _seconds(lambda: target.copy_(source), settings)


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


def _plain_generate(model: Step1ForCausalLM, ids: torch.Tensor, new_tokens: int) -> object:
    """Generate with transformers: eager mode, dynamic cache, sampling."""
    return model.generate(  # type: ignore[misc,unused-ignore]
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=True,
        temperature=0.7,
        top_k=50,
        pad_token_id=0,
    )


def _language_model(sizes: Sizes, settings: Settings) -> Iterator[Measurement]:
    """Generation of one item and of a batch: ours against transformers' generate."""
    from stepedit_core.models.lm.constraints import grammar
    from stepedit_core.models.lm.session import TokenLayout, generate, release_graphs

    model = build_model(sizes, settings.device, settings.dtype)
    base = model.config.vocab_size - 9216 if model.config.vocab_size > 10_000 else _AUDIO_BASE
    rng = np.random.default_rng(0)
    count = settings.new_tokens // 5
    prompt = (base + rng.integers(0, 1024, settings.prompt_tokens)).tolist()
    ids = torch.tensor([prompt], device=settings.device)
    audio = settings.new_tokens / _TOKENS_PER_SECOND

    def ours(items: int) -> object:
        return generate(
            model,
            [prompt] * items,
            layout=TokenLayout(audio_base=base),
            constraints=[grammar(count, count)] * items,
            seeds=list(range(items)),
            max_new_tokens=5 * count,
        )

    plain = _seconds(lambda: _plain_generate(model, ids, settings.new_tokens), settings)
    alone = _seconds(lambda: ours(1), settings)
    floor = None
    if settings.device.type == "cuda":
        moved = sum(p.numel() * p.element_size() for p in model.parameters())
        moved -= model.model.embed_tokens.weight.numel() * settings.dtype.itemsize
        floor = settings.new_tokens * moved / copy_bandwidth(settings.device, settings)
    rate = settings.new_tokens / alone
    note = f"transformers generate, eager, dynamic cache; {rate:.0f} tokens/s"
    yield Measurement("language model, one item", alone, plain, floor, audio, note)
    many = _seconds(lambda: ours(settings.batch), settings)
    rate = settings.batch * settings.new_tokens / many
    yield Measurement(
        f"language model, batch of {settings.batch}",
        many,
        plain * settings.batch,
        None,
        audio * settings.batch,
        f"the same one after another; {rate:.0f} tokens/s",
    )
    release_graphs(model)


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

    def decode_seconds(*, fold: bool) -> float:
        decoder = build_decoder(sizes, settings.device, fold=fold)
        if fold and settings.device.type == "cuda":
            decoder.compile()
        return _seconds(lambda: decoder.decode(codes, reference, seed=0), settings)

    slow, fast = decode_seconds(fold=False), decode_seconds(fold=True)
    note = "not compiled, weight norms computed at every call"
    yield Measurement("flow and vocoder", fast, slow, None, settings.seconds, note)


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
        "language model": _language_model,
        "decoder": _decoder,
    }
    for name, stage in stages.items():
        if on_stage is not None:
            on_stage(name)
        found += stage(sizes, settings)
    return found
