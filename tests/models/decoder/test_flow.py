from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stepedit_core.errors import EngineError
from stepedit_core.models.decoder.flow import (
    FlowInput,
    FlowNoise,
    align_mel,
    conformer,
    dit,
    token_rows,
)
from stepedit_core.models.decoder.flow.conformer import (
    LayerCache,
    RelativeAttention,
    RelativePositions,
)
from stepedit_core.models.decoder.flow.matching import euler_steps
from tests.models.decoder_parts import Golden, reference, tiny_flow, tokens

KINDS = ["a", "b"]


def close(got: Tensor, want: Any, atol: float) -> None:
    np.testing.assert_allclose(got.detach().numpy(), np.asarray(want), rtol=0, atol=atol)


# ---- token rows -------------------------------------------------------------------------------


def test_a_group_becomes_three_steps() -> None:
    rows = token_rows([7, 8, 1024, 2000, 5119])
    assert rows.tolist() == [[7, 1025], [8, 2001], [1024, 5120]]


@pytest.mark.parametrize(
    ("count", "filled"),
    [
        (4, [[1, 1026], [2, 1027], [1024, 1025]]),
        (3, [[1, 1026], [2, 1025], [1024, 1025]]),
        (2, [[1, 1025], [2, 1025], [1024, 1025]]),
        (1, [[1, 1025], [0, 1025], [1024, 1025]]),
    ],
)
def test_an_incomplete_group_is_filled_from_the_end_of_the_tail(
    count: int, filled: list[list[int]]
) -> None:
    given = [1, 2, 1025, 1026, 1027][:count]
    assert token_rows(given).tolist() == filled
    assert len(given) == count, "the caller's list is left alone"


@pytest.mark.parametrize("bad", [-1, 5120, 65536])
def test_tokens_out_of_range_are_refused(bad: int) -> None:
    with pytest.raises(EngineError, match=str(bad)):
        token_rows([1, 2, bad])


def test_align_is_nearest_neighbour() -> None:
    mel = torch.arange(5.0).unsqueeze(1)
    assert align_mel(mel, 8)[:, 0].tolist() == [0, 0, 1, 1, 2, 3, 3, 4]
    assert align_mel(mel, 0).shape == (0, 1)


# ---- noise ------------------------------------------------------------------------------------


def test_noise_columns_do_not_depend_on_how_far_it_has_grown() -> None:
    long, short = FlowNoise(5, 4), FlowNoise(5, 4)
    whole = long.columns(0, 40000)
    assert torch.equal(short.columns(10, 20), whole[:, :, 10:20])
    assert torch.equal(short.columns(3000, 3001), whole[:, :, 3000:3001])
    assert abs(float(whole.std()) - 1) < 0.02 and abs(float(whole.mean())) < 0.02
    assert not torch.equal(FlowNoise(6, 4).columns(0, 5), whole[:, :, :5])


def test_given_noise_is_used_and_its_end_is_said() -> None:
    values = torch.randn(1, 3, 7)
    noise = FlowNoise(channels=3, values=values)
    assert torch.equal(noise.columns(2, 7), values[:, :, 2:7])
    with pytest.raises(EngineError, match="8 frames are needed"):
        noise.columns(0, 8)
    with pytest.raises(ValueError, match="shape"):
        FlowNoise(channels=4, values=values)


# ---- solver -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 10])
def test_euler_steps_follow_the_cosine_schedule(count: int) -> None:
    steps = euler_steps(count)
    assert len(steps) == count
    for index, (time, length) in enumerate(steps):
        assert time == pytest.approx(1 - math.cos(math.pi / 2 * index / count), abs=1e-6)
        after = 1 - math.cos(math.pi / 2 * (index + 1) / count)
        assert time + length == pytest.approx(after, abs=1e-6)


def test_no_steps_are_refused() -> None:
    with pytest.raises(EngineError, match="n_steps"):
        euler_steps(0)


# ---- attention --------------------------------------------------------------------------------


def encoding(distance: int, width: int) -> Tensor:
    rate = torch.exp(torch.arange(0, width, 2) * -(math.log(10000.0) / width))
    return torch.stack([torch.sin(distance * rate), torch.cos(distance * rate)], -1).flatten()


@pytest.mark.parametrize("cached", [0, 5])
def test_relative_attention_equals_its_definition(cached: int) -> None:
    torch.manual_seed(0)
    heads, width, queries = 3, 12, 4
    layer = RelativeAttention(width, heads, key_bias=True)
    with torch.no_grad():
        layer.pos_bias_u.normal_()
        layer.pos_bias_v.normal_()
    x = torch.randn(1, cached + queries, width)
    cache = LayerCache()
    table = RelativePositions(width)
    if cached:
        layer(x[:, :cached], table(cached, cached, x), None, cache, None)
    got = layer(x[:, cached:], table(queries, cached + queries, x), None, cache, None)

    def split(y: Tensor) -> Tensor:
        return y.view(-1, heads, width // heads)

    q, k, v = split(layer.linear_q(x[0])), split(layer.linear_k(x[0])), split(layer.linear_v(x[0]))
    rows = []
    for t in range(cached, cached + queries):
        scores = torch.stack(
            [
                ((q[t] + layer.pos_bias_u) * k[s]).sum(-1)
                + (
                    (q[t] + layer.pos_bias_v) * split(layer.linear_pos(encoding(t - s, width)))[0]
                ).sum(-1)
                for s in range(cached + queries)
            ]
        ) / math.sqrt(width // heads)
        rows.append((scores.softmax(0).unsqueeze(-1) * v).sum(0).flatten())
    close(got[0], layer.linear_out(torch.stack(rows)).detach(), 1e-5)


def test_relative_positions_have_no_end() -> None:
    table = RelativePositions(8)
    like = torch.zeros(1)
    assert table(2, 3, like).shape == (4, 8)
    assert torch.allclose(table(1, 6001, like)[0], encoding(6000, 8), atol=1e-3)


def test_a_limited_cache_keeps_the_newest_frames() -> None:
    cache = LayerCache()
    keys, _ = cache.extend(torch.arange(5.0).view(1, 1, 5, 1), torch.zeros(1, 1, 5, 1), 3)
    assert keys.flatten().tolist() == [0, 1, 2, 3, 4] and cache.frames == 3
    keys, _ = cache.extend(torch.tensor([9.0]).view(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 3)
    assert keys.flatten().tolist() == [2, 3, 4, 9]


@torch.no_grad()
def test_conformer_norms_work_on_very_small_signals() -> None:
    """Their epsilon is 1e-12, that of the other norms 1e-5."""
    encoder = tiny_flow().encoder
    small = torch.randn(50, encoder.width) * 1e-4
    for layer in (*encoder.encoders, *encoder.up_encoders):
        for norm in (layer.norm_mha, layer.norm_ff):
            assert float(norm(small).std()) == pytest.approx(1, abs=0.3)
    assert encoder.after_norm(small).std() < 0.3


def block_masked(sizes: list[int]) -> Callable[..., Tensor]:
    """Return attention in which every chunk sees itself and the chunks before it."""
    plain = torch.nn.functional.scaled_dot_product_attention
    chunk = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))

    def attend(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        scale = q.shape[2] // len(chunk)
        owner = chunk.repeat_interleave(scale)
        seen = owner[:, None] >= owner[None, :]
        bias = torch.zeros(seen.shape).masked_fill(~seen, -math.inf)
        return plain(q, k, v, attn_mask=bias if attn_mask is None else attn_mask + bias)

    return attend


def test_estimator_chunks_equal_one_pass_with_a_block_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, sizes = tiny_flow().decoder.estimator, [6, 2, 10]
    torch.manual_seed(1)
    x, mu, cond = (torch.randn(2, 80, sum(sizes)) for _ in range(3))
    speaker, t = torch.randn(2, 80), torch.tensor([0.3])
    cache, parts, start = estimator.empty_cache(), [], 0
    with torch.no_grad():
        for size in sizes:
            at = slice(start, start + size)
            parts.append(
                estimator(x[:, :, at], mu[:, :, at], t, speaker, cond[:, :, at], None, cache)
            )
            start += size
        assert cache.frames == sum(sizes)
        monkeypatch.setattr(dit.F, "scaled_dot_product_attention", block_masked(sizes))
        close(torch.cat(parts, 2), estimator(x, mu, t, speaker, cond), 1e-5)


def test_encoder_chunks_equal_one_pass_with_a_block_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, sizes = tiny_flow().encoder, [6, 3, 9]
    torch.manual_seed(1)
    x = torch.randn(1, sum(sizes), 12)
    cache, parts, start = encoder.empty_cache(), [], 0
    with torch.no_grad():
        for index, size in enumerate(sizes):
            last = index == len(sizes) - 1
            end = start + size + (0 if last else encoder.lookahead)
            parts.append(encoder.forward_chunk(x[:, start:end], cache, last))
            start += size
        monkeypatch.setattr(conformer.F, "scaled_dot_product_attention", block_masked(sizes))
        close(torch.cat(parts, 1), encoder(x), 1e-5)


def test_shortening_keeps_the_newest_and_the_prompt() -> None:
    cache = tiny_flow().decoder.estimator.empty_cache()
    for block in cache.blocks:
        for values in ([1.0, 2, 3], [4.0, 5], [6.0]):
            x = torch.tensor(values).view(1, 1, -1, 1)
            block.extend(x, x)
    cache.shorten(newest=2, oldest=4)
    assert cache.frames == 6, "nothing to shorten yet"
    cache.shorten(newest=2, oldest=3)
    for block in cache.blocks:
        assert block.keys is not None
        assert block.keys.flatten().tolist() == [6, 4, 1, 2, 3]


# ---- the whole flow ---------------------------------------------------------------------------


def flow_input(prompt: int, groups: int, seed: int) -> FlowInput:
    ref = reference(prompt, seed)
    rows = token_rows(ref.tokens)
    mel = align_mel(torch.from_numpy(ref.mel), 2 * len(rows))
    speaker = torch.from_numpy(ref.embedding)
    return FlowInput(rows, token_rows(tokens(groups, seed)), mel, speaker, FlowNoise(seed))


def test_a_padded_batch_equals_single_utterances() -> None:
    flow = tiny_flow()
    items = [flow_input(6, 4, 0), flow_input(2, 3, 1), flow_input(9, 6, 2)]
    for item, mel in zip(items, flow.generate(items, 3), strict=True):
        assert mel.shape == (80, 2 * len(item.rows))
        close(mel, flow.generate([item], 3)[0], 2e-5)


def test_noise_prompt_and_speaker_all_matter() -> None:
    flow, item = tiny_flow(), flow_input(4, 3, 0)
    base = flow.generate([item], 3)[0]
    assert torch.equal(base, flow.generate([flow_input(4, 3, 0)], 3)[0])
    for change in (
        {"noise": FlowNoise(1)},
        {"speaker": item.speaker + torch.randn(len(item.speaker))},
        {"prompt_mel": item.prompt_mel + 1},
        {"prompt_rows": item.prompt_rows.flip(0)},
    ):
        other = FlowInput(**(item.__dict__ | change))
        assert (flow.generate([other], 3)[0] - base).abs().max() > 1e-3, change


def test_start_from_mean_begins_at_the_predicted_mel() -> None:
    flow = tiny_flow()
    noise, mu = torch.randn(1, 80, 4), torch.randn(1, 80, 4)
    assert torch.equal(flow.start(noise, mu), noise)
    flow.start_from_mean = True
    assert torch.equal(flow.start(noise, mu), noise + mu)


def test_half_precision_keeps_the_state_in_float32() -> None:
    flow, item = tiny_flow(), flow_input(4, 3, 0)
    whole = flow.generate([item], 4)[0]
    half = flow.bfloat16().generate([item], 4)[0]
    assert half.dtype is torch.float32
    assert torch.nn.functional.cosine_similarity(half.flatten(), whole.flatten(), 0) > 0.99


def test_gradients_reach_every_parameter() -> None:
    flow = tiny_flow().train()
    rows = token_rows(tokens(3)).unsqueeze(0)
    mu = flow.predict_mean(rows)
    both = torch.cat([mu, mu])
    speaker = flow.project_speaker(torch.randn(2, flow.speaker_size))
    flow.decoder.velocity(torch.randn_like(mu), 0.4, both, speaker, both).square().mean().backward()
    silent = [name for name, p in flow.named_parameters() if p.grad is None]
    assert not silent


def test_the_compiled_estimator_gives_the_same() -> None:
    flow, items = tiny_flow(), [flow_input(3, 2, 0), flow_input(2, 4, 1)]
    plain = flow.generate(items, 2)
    flow.decoder.estimator.compile(dynamic=True, backend="eager")
    for got, want in zip(flow.generate(items, 2), plain, strict=True):
        close(got, want, 1e-5)


# ---- goldens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_equals_the_public_flow(kind: str) -> None:
    golden = Golden(kind)
    want, flow, noise = golden.load("06_flow"), golden.decoder().flow, golden.noise()
    for count in range(5, 10):
        assert (token_rows(want[f"in{count}"]).numpy() == want[f"out{count}"]).all()
    ref = golden.reference(want["prompt_ids"])
    prompt, rows = token_rows(ref.tokens), token_rows(want["gen_ids"][0])
    mel = align_mel(torch.from_numpy(ref.mel), 2 * len(prompt))
    close(mel, want["prompt_feat_aligned"][0], 0)
    speaker = torch.from_numpy(ref.embedding)
    with torch.inference_mode():
        embedded = flow.input_embedding(torch.cat([prompt, rows]).unsqueeze(0))
        close(embedded, want["token_embed"], 0)
        close(flow.encoder(embedded), want["encoder_out"], 1e-4)
        mu = torch.from_numpy(want["mu"]).transpose(1, 2)
        close(flow.predict_mean(torch.cat([prompt, rows]).unsqueeze(0)), mu, 1e-4)
        close(flow.project_speaker(speaker[None]), want["spk_proj"], 1e-5)
        estimator = flow.decoder.estimator
        close(estimator.t_embedder(torch.tensor([0.0, 0.3, 0.95])), want["t_emb"], 1e-4)
        cond = torch.zeros_like(mu)
        cond[:, :, : len(mel)] = mel.t()
        mu2, cond2, speaker2 = (
            torch.cat([x, torch.zeros_like(x)])
            for x in (mu, cond, flow.project_speaker(speaker[None]))
        )
        x = noise.columns(0, mu.shape[2]).repeat(2, 1, 1)
        t = torch.from_numpy(want["est_t"])
        close(estimator(x, mu2, t, speaker2, cond2), want["est_out"], 1e-4)
    item = FlowInput(prompt, rows, mel, speaker, noise)
    close(flow.generate([item])[0], want["mel"][0], 1e-4)
    close(flow.generate([item], 4)[0], want["mel_4steps"][0], 1e-4)
