"""Where rows that share prompts stand."""

from __future__ import annotations

import pytest
import torch

from stepedit_core.models.lm.step1.decoding import Decoder
from stepedit_core.models.lm.step1.heads import PartHeads, full_head
from stepedit_core.models.lm.step1.places import Places
from tests.models.tiny_step1 import LAYOUT, prompts, tiny_model


@pytest.mark.parametrize(
    ("owners", "blocks", "most"),
    [
        ([0, 0, 1, 1], 2, 2),
        ([1, 0, 1, 1, 2], 3, 3),
        ([0] * 24 + [1] * 16 + [2] * 8, 6, 8),  # a prompt may have several blocks
        ([0] * 8 + [1], 3, 4),
    ],
)
def test_rows_come_back_from_their_places(owners: list[int], blocks: int, most: int) -> None:
    places = Places.of(torch.tensor(owners), 250, 0)
    assert (places.blocks, places.most) == (blocks, most)
    rows = torch.randn(len(owners), 2, 3, 4)
    laid = places.take(rows)
    assert laid.shape == (blocks, 2, most, 3, 4)
    assert torch.equal(places.give(laid), rows)
    own = torch.tensor(owners, dtype=torch.float32).view(-1, 1, 1, 1)
    asked = places.by_prompt(torch.arange(max(owners) + 1)).view(-1, 1, 1, 1, 1)
    assert torch.equal(places.take(own), asked.expand(blocks, 1, most, 1, 1).float())


def test_long_prompts_are_read_less_often() -> None:
    owners = torch.tensor([0] * 3 + [1] * 9)
    assert Places.of(owners, 40, 300).blocks > Places.of(owners, 4000, 0).blocks == 2


@torch.inference_mode()
def test_uneven_rows_give_what_copies_of_the_prompts_give() -> None:
    model, rows = tiny_model(), prompts(2)
    ids = torch.tensor([rows[0], rows[0][::-1]])
    owners = torch.tensor([0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    shared = Decoder(model, 2, 4, full_head(model))
    copies = Decoder(model, len(owners), 4, full_head(model))
    shared.prefill(ids, None, None, owners)
    copies.prefill(ids[owners])
    token = torch.arange(len(owners))[:, None] + 400
    for step in range(300):  # beyond the first storage
        one, other = shared.step(token + step), copies.step(token + step)
        if step in (100, 200):
            kept = torch.arange(1, len(token), 2)
            shared.keep(kept)
            copies.keep(kept)
            token, one, other = token[kept], one[kept], other[kept]
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_columns_of_the_head_follow_its_weights() -> None:
    model = tiny_model().requires_grad_(False)
    x = torch.randn(3, 24)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        part = PartHeads(model, LAYOUT.audio_base, 5120, LAYOUT.eot).of(1024, 5120, True)
        whole = model.lm_head(x)[:, [*range(324 + 1024, 324 + 5120), LAYOUT.eot]]
        return part(x), whole

    torch.testing.assert_close(*both())
    model.lm_head.weight.mul_(2)
    torch.testing.assert_close(*both())
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    torch.testing.assert_close(*both())
