"""Parts of answers: their sound is near to that of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stepedit_core.codes import DualCodes
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.decoder import DecodeInput, Decoder, Reference
from stepedit_core.models.decoder.excerpts import speak_excerpts
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.decoder.vocoder.harmonic_noise import HarmonicNoiseVocoder
from tests.models.decoder_parts import randomise, tiny_flow, tiny_hift

GROUP = 2_880


def local(labels: tuple[str, ...] = ("laugh",)) -> Decoder:
    """Return a decoder whose flow sees 15 rows to either side, and a vocoder of 16 frames."""
    flow = ReferencedMelDecoder(
        24, 2, 1, 2, 3, spk_embed_dim=6, kernel=5, places=True, labels=labels, unvoiced=labels
    )
    vocoder = HarmonicNoiseVocoder(
        width=16, mel_blocks=1, blocks=1, bands=16, pitch_width=8, pitch_blocks=1
    )
    randomise(flow, 0)
    randomise(vocoder, 1)
    return Decoder(flow.eval(), vocoder.eval(), prompt_dtype="fp32")


def item(groups: int, size: int, seed: int = 3) -> DecodeInput:
    rng = np.random.default_rng(seed)

    def codes(count: int) -> DualCodes:
        return DualCodes(rng.integers(0, 1024, 2 * count), rng.integers(0, 4096, 3 * count))

    mel = rng.normal(-5, 2, (6 * 12, 80)).astype(np.float32)
    voice = rng.standard_normal(size).astype(np.float32)
    reference = Reference(codes(12).interleave(), mel, voice)
    return DecodeInput(codes(groups).interleave(), reference, seed)


def _placed(one: DecodeInput, groups: int, label: str) -> DecodeInput:
    """Return an answer of which the groups from 8 to before 11 are new."""
    positions = (np.arange(3 * groups) % 36).astype(np.float32)
    positions[24:33] = np.nan
    edited = np.zeros(groups, dtype=bool)
    edited[8:11] = True
    return replace(one, source_map=SourceMap(positions, label, edited))


@pytest.mark.parametrize("label", ["", "laugh"])
def test_with_all_around_it_a_part_is_that_of_the_whole(label: str) -> None:
    decoder = local()
    items = [_placed(item(16, 6, seed), 16, label) for seed in (3, 4)]
    whole = [wave for wave, _ in decoder.speak(items)]
    parts = speak_excerpts(decoder, items, [(8, 11), (8, 11)], 16, 16)
    for wave, part in zip(whole, parts, strict=True):
        assert part.shape == (3 * GROUP,)
        assert np.array_equal(part, wave[8 * GROUP : 11 * GROUP])


def test_what_lies_far_away_changes_no_mel() -> None:
    """Convolutions see 15 rows; a decoder without a path sees nothing else of the answer."""
    decoder = local()
    one = _placed(item(24, 6), 24, "laugh")
    (whole,) = decoder.mels([one])
    near = replace(one, tokens=one.tokens[5 * 3 : 5 * 16], source_map=one.source_map)
    assert near.source_map is not None
    (part,) = decoder.mels([replace(near, source_map=near.source_map.part(3, 16))])
    inside = slice(6 * 5, 6 * 8)
    assert torch.allclose(part[:, inside], whole[:, 6 * 8 : 6 * 11], atol=1e-4)


def test_noise_and_level_are_those_of_the_place() -> None:
    decoder = local()
    one = _placed(item(24, 6), 24, "laugh")  # without voice there is no phase to begin with
    (whole,) = (wave for wave, _ in decoder.speak([one]))
    (part,) = speak_excerpts(decoder, [one], [(8, 11)], 6, 3)
    inside = slice(GROUP // 2, -GROUP // 2)
    assert np.allclose(part[inside], whole[8 * GROUP : 11 * GROUP][inside], atol=1e-4)
    assert part.std() > 1e-3


@pytest.mark.parametrize("place", [(0, 2), (10, 12)])
def test_parts_at_the_ends(place: tuple[int, int]) -> None:
    decoder = local()
    (part,) = speak_excerpts(decoder, [item(12, 6)], [place])
    assert part.shape == (2 * GROUP,) and np.isfinite(part).all()


def test_a_flow_that_counts_noise_makes_the_whole_mel() -> None:
    decoder, one = Decoder(tiny_flow(), tiny_hift()), item(9, 12)
    (whole,) = (wave for wave, _ in decoder.speak([one]))
    (part,) = speak_excerpts(decoder, [one], [(3, 5)], 1, 9)
    assert np.allclose(part, whole[3 * GROUP : 5 * GROUP], atol=1e-6)
