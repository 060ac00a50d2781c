from __future__ import annotations

import numpy as np
import pytest
import torch
from stepedit_bench.speed.encoder import measure_encoder, random_encoder

from stepedit_core.models.tokenizer.linguistic.chunked import encode_chunked
from stepedit_core.models.tokenizer.linguistic.encoder import (
    SANMConfig,
    SANMEncoder,
    sinusoid_positions,
)
from stepedit_core.models.tokenizer.linguistic.tokenizer import nearest_centroid
from stepedit_core.models.tokenizer.linguistic.windows import plan_windows, uniform_chunks

SMALL = SANMConfig(
    input_size=20,
    output_size=16,
    attention_heads=2,
    linear_units=24,
    num_blocks=3,
    kernel_size=7,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_stream(
    state: dict[str, torch.Tensor], config: SANMConfig, frames: torch.Tensor, sizes: list[int]
) -> torch.Tensor:
    """Stream in float64 with bare tensor operations, one query at a time where it matters."""
    w = {name: value.double() for name, value in state.items()}
    d, heads, taps = config.output_size, config.attention_heads, config.kernel_size
    names = ["encoders0.0", *(f"encoders.{i}" for i in range(config.num_blocks - 1))]
    caches = {name: (torch.zeros(0, d).double(), torch.zeros(0, d).double()) for name in names}
    places = torch.arange(1, len(frames) + 1)
    stream = frames.double() * d**0.5 + sinusoid_positions(places, frames.shape[1]).double()
    stream = torch.cat([torch.zeros(5, frames.shape[1]).double(), stream])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-12).sqrt()
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[f"{name}.weight"].t() + w[f"{name}.bias"]

    def layer(x: torch.Tensor, name: str) -> torch.Tensor:
        q, k, v = linear(norm(x, f"{name}.norm1"), f"{name}.self_attn.linear_q_k_v").split(d, 1)
        old_k, old_v = caches[name]
        caches[name] = torch.cat([old_k, k[:-5]])[-16:], torch.cat([old_v, v[:-5]])[-16:]
        keys, values = torch.cat([old_k, k]), torch.cat([old_v, v])
        parts = []
        for h in range(heads):
            s = slice(h * d // heads, (h + 1) * d // heads)
            parts.append(
                torch.softmax(q[:, s] @ keys[:, s].t() / (d // heads) ** 0.5, 1) @ values[:, s]
            )
        out = linear(torch.cat(parts, 1), f"{name}.self_attn.linear_out") + v
        kernel = w[f"{name}.self_attn.fsmn_block.weight"][:, 0]
        for t in range(len(v)):
            for j in range(taps):
                if 0 <= (source := t + j - (taps - 1) // 2) < len(v):
                    out[t] += kernel[:, j] * v[source]
        hidden = out + x if x.shape[1] == d else out
        inner = linear(norm(hidden, f"{name}.norm2"), f"{name}.feed_forward.w_1").relu()
        return hidden + linear(inner, f"{name}.feed_forward.w_2")

    outputs, at = [], 0
    for size in sizes:
        x = stream[at : at + 5 + size]
        at += size
        for name in names:
            x = layer(x, name)
        outputs.append(norm(x[-size:], "after_norm"))
    return torch.cat(outputs)


@pytest.mark.parametrize("count", [1, 4, 7, 45])
def test_the_chunk_loop_is_the_streaming_encoder(encoder: SANMEncoder, count: int) -> None:
    frames, sizes = noise(count, 20), uniform_chunks(count)
    want = plain_stream(dict(encoder.state_dict()), SMALL, frames, sizes)
    with torch.inference_mode():
        got = encode_chunked(encoder, frames, sizes)
    torch.testing.assert_close(got.double(), want, atol=2e-5, rtol=0)


@pytest.fixture(scope="module")
def encoder() -> SANMEncoder:
    return random_encoder(SMALL)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 8, 9, 16, 17, 20, 21, 24, 25, 40, 83])
def test_one_pass_equals_the_chunk_loop(encoder: SANMEncoder, count: int) -> None:
    frames, sizes = noise(count, 20), uniform_chunks(count)
    with torch.inference_mode():
        loop = encode_chunked(encoder, frames, sizes)
        batched = encoder.forward_packed(frames, plan_windows([sizes]))
    torch.testing.assert_close(batched, loop, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [[1, 4, 2, 5, 3, 4, 4, 1], [5, 5, 5, 5, 5, 2], [1] * 25])
def test_one_pass_equals_the_loop_for_uneven_chunks(encoder: SANMEncoder, sizes: list[int]) -> None:
    frames = noise(sum(sizes), 20)
    with torch.inference_mode():
        loop = encode_chunked(encoder, frames, sizes)
        batched = encoder.forward_packed(frames, plan_windows([sizes]))
    torch.testing.assert_close(batched, loop, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kernel", "shift", "width"), [(11, 0, 16), (4, 0, 16), (11, 2, 20)])
def test_one_pass_equals_the_loop_for_other_shapes(kernel: int, shift: int, width: int) -> None:
    config = SANMConfig(20, width, 4, 24, 2, kernel, shift)
    other = random_encoder(config, seed=3)
    with torch.inference_mode():
        loop = encode_chunked(other, noise(30, 20), uniform_chunks(30))
        batched = other(noise(30, 20)[None], torch.tensor([30]))[0]
    torch.testing.assert_close(batched, loop, atol=1e-5, rtol=0)


def test_a_batch_gives_what_single_calls_give(encoder: SANMEncoder) -> None:
    lengths = [23, 1, 40, 8]
    frames = noise(4, 40, 20)
    with torch.inference_mode():
        together = encoder(frames, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone = encode_chunked(encoder, frames[row, :length], uniform_chunks(length))
            torch.testing.assert_close(together[row, :length], alone, atol=1e-5, rtol=0)
            assert not together[row, length:].any()


def test_frames_hear_five_frames_and_the_memory_but_not_the_future(encoder: SANMEncoder) -> None:
    frames, sizes = noise(80, 20), uniform_chunks(80)
    changed = frames.clone()
    changed[40] += 1
    with torch.inference_mode():
        plan = plan_windows([sizes])
        difference = encoder.forward_packed(frames, plan) - encoder.forward_packed(changed, plan)
    moved = difference.abs().amax(1) > 1e-7
    assert not moved[:40].any()
    assert moved[40:45].all()
    # Three layers: each lets a frame reach at most the overlap and the memory further.
    assert not moved[40 + 3 * (16 + 5 + 4) :].any()


def test_a_plan_names_the_frames_of_every_window() -> None:
    plan = plan_windows([[4, 1], [], [2]])
    assert plan.inputs.tolist() == [
        [0, 0, 0, 0, 0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4, 5, 0, 0, 0],
        [0, 0, 0, 0, 0, 6, 7, 0, 0],
    ]
    assert plan.ragged
    assert plan.inside.sum(1).tolist() == [9, 6, 7]
    assert plan.outputs.tolist() == [5, 6, 7, 8, 14, 23, 24]
    assert plan.positions.tolist() == [1, 2, 3, 4, 5, 1, 2]
    # The second window remembers the first one's four oldest rows; the others remember nothing.
    assert plan.key_mask[:, 0, 0, :16].sum(1).tolist() == [0, 4, 0]
    assert plan.keys[1, 12:16].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("sizes", [[], [[]], [[4, 0]]])
def test_plans_of_nothing_are_refused(sizes: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        plan_windows(sizes)


def test_positions_are_sines_then_cosines() -> None:
    vectors = sinusoid_positions(torch.tensor([1, 3]), 8)
    scales = 10_000.0 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(vectors[1, :4], np.sin(3 * scales), atol=1e-6)
    np.testing.assert_allclose(vectors[1, 4:], np.cos(3 * scales), atol=1e-6)


def test_the_encoder_can_be_trained() -> None:
    encoder = SANMEncoder(SMALL).train()
    encoder(noise(2, 12, 20), torch.tensor([12, 7])).square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        if not name.endswith("after_norm.bias") and "q_k_v.bias" not in name:
            assert weight.grad.any(), name


def test_nearest_centroid_is_the_euclidean_one() -> None:
    frames, centroids = noise(200, 8), noise(50, 8, seed=1)
    want = (frames[:, None] - centroids).square().sum(-1).argmin(1)
    assert torch.equal(nearest_centroid(frames, centroids), want)


def test_the_measurement_runs_and_compares() -> None:
    times = measure_encoder(random_encoder(SMALL), seconds=1.0, batch_size=2, repeats=1)
    assert times.difference < 1e-5
    assert times.ratio > 0
    assert times.batch_ratio > 0
