"""What the reference decoder is conditioned on: positions in the reference, and the edit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stepedit_core.llm_route.source_map import SourceMap, positions_at
from stepedit_core.models.decoder.flow import FlowInput
from stepedit_core.models.decoder.reference.conditioning import (
    NEPER_DB,
    EditEmbedding,
    SourceMelCondition,
    source_frames,
)
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.lm.step1 import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.alignment import targets
from tests.models.decoder.test_reference_model import SIZES, item, streamed
from tests.models.decoder_parts import randomise

LABELS = ("denoise", "style:shout")


def decoder(*, random: bool = True, lag: int = 2, again: bool = False) -> ReferencedMelDecoder:
    told = {"places": True, "labels": LABELS, "labels_again": again}
    made = ReferencedMelDecoder(**SIZES, spk_embed_dim=6, kernel=5, lag=lag, **told)  # type: ignore[arg-type]
    if random:
        randomise(made, 0)
    return made.eval()


def told(one: FlowInput, pace: float, label: str = "", first: int = 0) -> FlowInput:
    places = positions_at(len(one.rows), ((0.0, pace),))
    made = np.arange(len(one.rows) // 3) >= first
    return replace(one, source_map=SourceMap(places, label, made))


def test_what_is_told_counts_and_other_labels_do_not() -> None:
    made, one = decoder(), item(45, 60)
    plain, placed, denoised = made.generate([one, told(one, 1.0), told(one, 1.0, "denoise")])
    assert not torch.allclose(plain, placed, atol=1e-3)
    assert not torch.allclose(placed, denoised, atol=1e-3)
    # What was not taught may be about the very sound that places would bring back.
    assert torch.allclose(made.generate([told(one, 1.0, "clone")])[0], plain, atol=2e-5)


def test_what_an_edit_that_was_not_taught_left_alone_keeps_its_place() -> None:
    made, one = decoder(lag=0), item(45, 120)
    placed, late = made.generate([told(one, 1.0), told(one, 1.0, "clone", first=30)])
    reach = 2 * made.lookahead
    assert torch.allclose(placed[:, : 180 - reach], late[:, : 180 - reach], atol=2e-5)
    assert not torch.allclose(placed[:, 180:], late[:, 180:], atol=1e-3)


@pytest.mark.parametrize("again", [False, True])
def test_a_label_belongs_to_what_was_made(*, again: bool) -> None:
    made, one = decoder(lag=0, again=again), item(45, 120)
    plain, late = made.generate([told(one, 1.0), told(one, 1.0, "denoise", first=30)])
    reach = 2 * made.lookahead
    assert torch.allclose(plain[:, : 180 - reach], late[:, : 180 - reach], atol=2e-5)
    assert not torch.allclose(plain[:, 180:], late[:, 180:], atol=1e-3)


def test_per_block_labels_are_identity_at_init() -> None:
    made, one = decoder(random=False, again=True), item(45, 60)
    once = decoder(random=False)
    once.load_state_dict(made.state_dict(), strict=False)
    given = told(one, 1.0, "denoise")
    assert torch.equal(made.generate([given])[0], once.generate([given])[0])
    plain = made.generate([given])[0]
    assert made.labels is not None
    for table in made.labels.again:
        torch.nn.init.normal_(table.weight)
        assert not torch.allclose(made.generate([given])[0], plain, atol=1e-3)
        torch.nn.init.zeros_(table.weight)


def test_before_training_a_small_share_is_taken_as_found() -> None:
    torch.manual_seed(0)
    made, one = decoder(random=False, lag=0), item(60, 60)
    plain, placed = made.generate([one, told(one, 1.0, "denoise")])
    share = torch.sigmoid(torch.tensor(-3.0))
    rest = (placed - plain).t() / 3.0  # the small share of the mel that was found
    reference = (one.prompt_mel[:120] + 5.0) / 3.0
    assert torch.allclose(rest[2:-2], share * reference[2:-2], atol=1e-4)


def test_a_batch_gives_what_each_gives_alone() -> None:
    made = decoder()
    items = [told(item(30, 60), 1.3), item(45, 90), told(item(12, 21), 0.7, "style:shout")]
    for one, together in zip(items, made.generate(items), strict=True):
        assert torch.allclose(together, made.generate([one])[0], atol=2e-5)


@pytest.mark.parametrize("again", [False, True])
def test_a_stream_gives_the_frames_of_the_whole(*, again: bool) -> None:
    made, one = decoder(again=again), told(item(45, 90), 0.8, "denoise", first=4)
    frames, cache = streamed(made, one)
    assert torch.allclose(frames, made.generate([one])[0], atol=2e-5)
    assert cache.gone > 0


def test_bounds_keep_the_mel_near_the_reference() -> None:
    labels = EditEmbedding(("denoise", "x"), 4, {"denoise": (6.0, 20.0, 3.0)})
    db = 1 / NEPER_DB
    placed = torch.zeros(1, 80, 5)
    made = torch.full((1, 80, 5), -1.0 * db)
    made[:, 40:] = -60.0 * db  # a pause
    made[:, 10, 0], made[:, 10, 1] = -60.0 * db, 30.0 * db
    asked = torch.ones(1, 40, dtype=torch.int64)
    known = torch.ones(1, 80, dtype=torch.bool)
    out = labels.bounded(made, asked, placed, known) * NEPER_DB
    assert out[0, 10].tolist() == pytest.approx([-6, 3, -1, -1, -1], abs=0.3)
    assert out[0, 60].tolist() == pytest.approx([-20] * 5, abs=0.1)
    for untouched in ((2 * asked, known), (asked, ~known)):
        assert torch.equal(labels.bounded(made, untouched[0], placed, untouched[1]), made)
    with pytest.raises(ValueError, match="three levels"):
        EditEmbedding(("denoise",), 4, {"denoise": (6.0, -1.0, 3.0)})
    with pytest.raises(ValueError, match="not in tuple"):
        EditEmbedding(("denoise",), 4, {"speed": (6.0, 1.0, 3.0)})


def test_the_mel_is_taken_between_frames() -> None:
    mel = torch.arange(10.0)[None, :, None].expand(1, 10, 4)
    frames = torch.tensor([[0.0, 2.5, torch.nan, 8.75, 20.0, -3.0]])
    found, known = SourceMelCondition(6, 4).look(frames, mel, None)
    assert found[0, :, 0].tolist() == pytest.approx([0.0, 2.5, 0.0, 8.75, 9.0, 0.0])
    assert known[0].tolist() == [True, True, False, True, True, True]


def test_frames_of_the_same_place_are_the_same_frames() -> None:
    assert source_frames(torch.arange(4.0)[None])[0].tolist() == list(range(8))


def test_places_are_those_that_the_language_model_looks_at() -> None:
    """Both are made of the same bends: a code's place, rounded, is where its heads look."""
    bends, away = ((0.0, 1.4), (5.0, -1.4), (8.0, 0.9)), ((5.0, 3.0),)
    places = positions_at(60, bends, away)
    record = alignment_tensor([Alignment(0, 300, 300, "audio", bends, away)])
    semantic = torch.arange(60)
    index = 5 * (semantic // 3) + 2 + semantic % 3
    slots = targets(record, index[None])[0].numpy()
    known = np.isfinite(places)
    assert not known[15:24].any() and known[:15].all() and known[24:].all()
    there = np.floor(places[known] + 0.5 + 3e-4)
    assert (slots[known] == 5 * (there // 3) + 2 + there % 3).all()


def test_codes_that_begin_late_lie_further_on() -> None:
    assert positions_at(2, ((0.0, 1.0),), offset=2.0).tolist() == pytest.approx([6.0, 7.0])


def test_unvoiced_labels_silence_the_voice_where_the_edit_may_change() -> None:
    made = ReferencedMelDecoder(
        **SIZES,
        spk_embed_dim=6,
        kernel=5,
        lag=2,
        places=True,
        labels=LABELS,
        unvoiced=("style:shout",),
    )  # type: ignore[arg-type]
    edited = np.array([False, True, True])
    source_map = SourceMap(None, "style:shout", edited)
    frames = made.unvoiced(source_map, 9)
    assert frames is not None and frames.tolist() == [False] * 6 + [True] * 12
    later = made.unvoiced(source_map, 3, first=3)
    assert later is not None and later.tolist() == [True] * 6
    assert made.unvoiced(SourceMap(None, "denoise"), 9) is None
    assert made.unvoiced(None, 9) is None


def test_an_unvoiced_label_must_be_taught() -> None:
    with pytest.raises(ValueError, match="unvoiced: emotion:sad is not among the labels"):
        ReferencedMelDecoder(**SIZES, labels=LABELS, unvoiced=("emotion:sad",))  # type: ignore[arg-type]
