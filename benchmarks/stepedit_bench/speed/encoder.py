"""Measure the batched encoder against the chunk-by-chunk loop, at full size or any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stepedit_core.models.tokenizer.linguistic.chunked import encode_chunked
from stepedit_core.models.tokenizer.linguistic.encoder import SANMConfig, SANMEncoder
from stepedit_core.models.tokenizer.linguistic.windows import plan_windows, uniform_chunks

__all__ = ["EncoderTimes", "measure_encoder", "random_encoder"]

FRAMES_PER_SECOND = 1 / 0.06


@dataclass(frozen=True)
class EncoderTimes:
    """Seconds for one utterance by the loop, batched, and per utterance of a batch.

    Attributes:
        chunked: seconds of the chunk-by-chunk loop.
        batched: seconds of one batched pass.
        batch: seconds per utterance when ``batch_size`` utterances share a pass.
        batch_size: utterances.
        difference: largest absolute difference between loop and batched pass.
    """

    chunked: float
    batched: float
    batch: float
    batch_size: int
    difference: float

    @property
    def ratio(self) -> float:
        """How many times faster the batched pass is."""
        return self.chunked / self.batched

    @property
    def batch_ratio(self) -> float:
        """How many times faster an utterance of a batch is."""
        return self.chunked / self.batch


def random_encoder(
    config: SANMConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> SANMEncoder:
    """Return an encoder with seeded random weights; published sizes if ``config`` is None."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = SANMEncoder(config or SANMConfig())
    return encoder.to(device, dtype).eval().requires_grad_(False)


def _seconds(work: Callable[[], Tensor], device: torch.device, repeats: int) -> float:
    """Return the fastest of ``repeats`` runs after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


@torch.inference_mode()
def measure_encoder(
    encoder: SANMEncoder, seconds: float = 10.0, batch_size: int = 8, repeats: int = 2
) -> EncoderTimes:
    """Time both ways on the encoder's device, in one run.

    Args:
        encoder: in evaluation mode.
        seconds: length of each utterance.
        batch_size: utterances that share a pass.
        repeats: runs after the warm-up; the fastest counts.
    """
    weight = encoder.after_norm.weight
    count = round(seconds * FRAMES_PER_SECOND)
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size * count, encoder.config.input_size)
    frames = torch.randn(shape, generator=generator).to(weight.device, weight.dtype)
    sizes = uniform_chunks(count)
    one = plan_windows([sizes]).to(weight.device)
    many = plan_windows([sizes] * batch_size).to(weight.device)
    first = frames[:count]

    def loop() -> Tensor:
        return encode_chunked(encoder, first, sizes)

    def single() -> Tensor:
        return encoder.forward_packed(first, one)

    def batch() -> Tensor:
        return encoder.forward_packed(frames, many)

    difference = (loop() - single()).abs().max().item()
    chunked, batched, together = (
        _seconds(work, weight.device, repeats) for work in (loop, single, batch)
    )
    return EncoderTimes(chunked, batched, together / batch_size, batch_size, difference)
