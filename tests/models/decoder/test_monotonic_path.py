"""The path through the reference: found in warped sequences, the same in streams and batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.models.decoder.convnext import time_mask
from stepedit_core.models.decoder.flow import FlowInput, FlowNoise
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.decoder.reference.monotonic_path import (
    GROUP_FRAMES,
    MonotonicPath,
    PathState,
    frame_positions,
    group_likeness,
    search,
)
from tests.models.decoder.test_reference_model import SIZES, item
from tests.models.decoder_parts import randomise

LAG = 4


def sounds(groups: int, seed: int) -> Tensor:
    """Return features of speech in which every word (0.36 s) is said twice, in another order."""
    rng = np.random.default_rng(seed)
    words = rng.standard_normal((-(-groups // 6), 9, 16)).repeat(2, axis=1)
    order = np.concatenate([rng.permutation(len(words)) for _ in range(2)])
    made = words[order].reshape(-1, 16)[: GROUP_FRAMES * groups]
    return torch.from_numpy(made + 0.03 * rng.standard_normal(made.shape)).float()


def walked(target: Tensor, reference: Tensor) -> tuple[Tensor, PathState]:
    """Return the likeness of groups and the path."""
    likeness = F.normalize(target, dim=1) @ F.normalize(reference, dim=1).t()
    scores = group_likeness(likeness[None], None)
    return scores[0], search(scores, LAG)


def heard_at(reference: Tensor, frames: Tensor, seed: int) -> Tensor:
    """Return what is heard of a reference at some frames, in noise."""
    noise = torch.randn(len(frames), 16, generator=torch.Generator().manual_seed(seed))
    return reference[frames] + 0.5 * noise


@pytest.mark.parametrize("rate", [0.6, 0.8, 1.0, 1.25, 1.6])
def test_the_path_finds_an_even_warp(rate: float) -> None:
    reference = sounds(80, 1)
    frames = (torch.arange(int(len(reference) / rate)) * rate).long()
    scores, path = walked(heard_at(reference, frames, 2), reference)
    wanted = frames[GROUP_FRAMES // 2 :: GROUP_FRAMES] / GROUP_FRAMES
    place = path.place[0, : len(wanted)]
    away = (place + 0.5 - wanted).abs()
    assert away.max() < 2.5 and away.median() < 0.75
    assert path.fit.mean() > 0.3
    # Without order, the words' other places are taken for them.
    alone = (scores[: len(wanted)].argmax(1) + 0.5 - wanted).abs()
    assert (alone > 3).float().mean() > 0.2


@pytest.mark.parametrize("pause", [(30, 34), (30, 42), (50, 75)])
def test_the_path_jumps_over_what_was_cut_out(pause: tuple[int, int]) -> None:
    first, stop = pause
    reference = sounds(100, 3)
    # A pause sounds the same all along.
    reference[GROUP_FRAMES * first : GROUP_FRAMES * stop] = sounds(1, 4)[:1]
    kept = torch.cat([torch.arange(0, first), torch.arange(stop, 100)])
    frames = (GROUP_FRAMES * kept[:, None] + torch.arange(GROUP_FRAMES)).flatten()
    _, path = walked(heard_at(reference, frames, 5), reference)
    assert (path.place[0] - kept).abs().max() <= 1
    assert ((path.place[0] - kept).abs() > 0).float().mean() < 0.1


def test_the_places_of_frames_lie_between_those_of_groups() -> None:
    found = frame_positions(2.0 * torch.arange(8.0)[None], 48)[0]
    # Within, twice as fast; at the ends, smoothing holds back and the edge is kept.
    assert torch.allclose(found[9:39].diff(), torch.tensor(2.0), atol=1e-5)
    assert float(found[20]) == pytest.approx(6 * 2 * (20 - 2.5) / 6 + 2.5, abs=1e-4)
    assert (found.diff() >= 0).all() and float(found[-1]) <= 6 * 14 + 2.5
    assert float(frame_positions(torch.tensor([[3.0]]), 6).max()) == pytest.approx(20.5)


def decoder(lag: int = LAG, seed: int = 0) -> ReferencedMelDecoder:
    made = ReferencedMelDecoder(**SIZES, spk_embed_dim=6, kernel=5, lag=lag)  # type: ignore[arg-type]
    randomise(made, seed)
    if made.walk is not None:
        with torch.no_grad():
            for pull in made.walk.pull:
                pull.fill_(1.0)
            made.walk.slope.fill_(25.0)
            made.walk.least.fill_(0.1)
    return made.eval()


def edited(prompt: int, first: int, count: int, seed: int = 0) -> FlowInput:
    """Return an utterance that says what its reference says, one row in five left out."""
    one = item(prompt, 3, seed)
    kept = [row for row in range(first, prompt) if row % 15 < 12][:count]
    return FlowInput(one.prompt_rows, one.prompt_rows[kept], *_rest(one))


def _rest(one: FlowInput) -> tuple[Tensor, Tensor, FlowNoise]:
    return one.prompt_mel, one.speaker, one.noise


def test_the_path_bears_on_what_is_decoded() -> None:
    made, one = decoder(), edited(150, 15, 90)
    whole = made.generate([one])[0]
    assert made.walk is not None
    with torch.no_grad():
        made.walk.least.fill_(9.0)  # nothing fits so well
    assert (made.generate([one])[0] - whole).abs().max() > 0.1


@pytest.mark.parametrize("steps", [(3,), (15, 24, 48), (9, 60), (120,)])
def test_a_stream_follows_the_path_of_the_whole(steps: tuple[int, ...]) -> None:
    made, one = decoder(), edited(180, 6, 138)
    whole = made.generate([one])[0]
    cache = made.open_stream(one.prompt_rows, one.rows[:0], *_rest(one), 0, 9)
    parts, begin = [], 0
    sizes = list(steps)
    while begin + sizes[0] + made.lookahead < len(one.rows):
        chunk = one.rows[begin : begin + sizes[0] + made.lookahead]
        parts.append(made.generate_chunk(chunk, cache, one.noise, last=False))
        begin += sizes[0]
        sizes = sizes[1:] or sizes
        assert cache.path is not None
        assert 3 * cache.path.place.shape[1] == len(cache.past) <= made.lookahead
    assert parts or steps == (120,)
    parts.append(made.generate_chunk(one.rows[begin:], cache, one.noise, last=True))
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=5e-5)


def test_a_padded_batch_gives_what_each_gives_alone() -> None:
    made = decoder()
    items = [edited(150, 15, 90), edited(45, 0, 33, 1), edited(96, 9, 51, 2), item(12, 21)]
    for one, together in zip(items, made.generate([*items, item(30, 120)]), strict=False):
        alone = made.generate([one])[0]
        assert together.shape == (80, 2 * len(one.rows))
        assert torch.allclose(together, alone, atol=5e-5)


def test_padding_does_not_bend_the_path() -> None:
    walk = MonotonicPath(LAG, (1, 2))
    reference = sounds(30, 6)
    long, short = (
        heard_at(reference, torch.arange(120), 7),
        heard_at(reference, torch.arange(66), 8),
    )
    both = torch.zeros(2, 120, 16)
    both[0], both[1, :66], both[1, 66:] = long, short, reference[5]
    likeness = F.normalize(both, dim=2) @ F.normalize(reference, dim=1).t()
    mask = time_mask(torch.tensor([120, 66]), 120)
    padded = walk.search(likeness, mask, None, None)
    alone = walk.search(likeness[1:, :66], None, None, None)
    assert torch.equal(padded.place[1:, :11], alone.place)
    assert alone.place[0, -2] < alone.place[0, -1]  # it moves until it ends
    for made, wanted in zip(
        walk.attention_bias(padded, 120, 180, mask),
        walk.attention_bias(alone, 66, 180, None),
        strict=True,
    ):
        assert torch.allclose(made[1:, :, :66], wanted, atol=1e-5)


def test_without_a_lag_the_weights_are_those_of_before() -> None:
    plain, pathed = decoder(0), decoder()
    assert plain.walk is None and plain.lookahead < pathed.lookahead
    assert {name.partition(".")[0] for name in plain.state_dict()} == {
        "embed", "token_blocks", "token_norm", "parity", "mel_in", "reference_blocks",
        "reference_norm", "copy", "early", "late", "early_out", "late_out", "copy_in", "voice",
        "conditions", "mel_blocks", "norm", "out",
    }  # fmt: skip
    added = {name for name in pathed.state_dict() if name.startswith("walk.")}
    assert added and set(plain.state_dict()) == set(pathed.state_dict()) - added
    old = {name: weight for name, weight in pathed.state_dict().items() if name not in added}
    plain.load_state_dict(old)
    # Its answer is that of a path that pulls nowhere.
    assert pathed.walk is not None
    with torch.no_grad():
        for pull in pathed.walk.pull:
            pull.fill_(-1e4)
    one = edited(60, 0, 42)
    assert torch.allclose(plain.generate([one])[0], pathed.generate([one])[0], atol=5e-5)
