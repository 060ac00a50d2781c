"""What a decoder keeps of the last utterance: another strength costs less and changes no bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.prosody import LabelProsody, Prosody
from stepedit_core.models.decoder.recent import Recent
from stepedit_core.models.decoder.vocoder import SeededSourceNoise
from tests.models.decoder.test_harmonic_noise import harmonic_mel, tiny
from tests.models.decoder.test_prosody import HAPPY, decoder
from tests.models.decoder.test_reference_model import item


@pytest.mark.parametrize(
    ("second", "again"),
    [
        ([torch.tensor([1.0, torch.nan]), None], True),
        ([torch.tensor([1.0, 2.0]), None], False),
        ([torch.tensor([1, 0]), None], False),
        ([torch.tensor([1.0, torch.nan]), torch.zeros(1)], False),
        ([torch.tensor([1.0]), None], False),
    ],
)
def test_the_last_result_is_taken_where_all_inputs_are_the_same(
    second: list[Tensor | None], again: bool
) -> None:
    kept, made = Recent[int](), iter(range(9))
    assert kept.of([torch.tensor([1.0, torch.nan]), None], lambda: next(made)) == 0
    assert kept.of(second, lambda: next(made)) == (0 if again else 1)
    kept.clear()
    assert kept.of(second, lambda: next(made)) == (1 if again else 2)


def test_a_mel_is_made_once_for_all_strengths_of_a_label() -> None:
    made, one = decoder(prosody=HAPPY), item(45, 60)
    passes: list[int] = []
    made.register_forward_hook(lambda *_: passes.append(1))

    def mel(strength: float, label: str = "emotion:happy") -> Tensor:
        source_map = SourceMap(None, label, strength=strength)
        return made.generate([replace(one, source_map=source_map)])[0]

    plain = [mel(1.0), mel(1.5), mel(1.0, "speed"), mel(1.5)]
    assert len(passes) == 4
    made.recent = Recent()
    kept = [mel(1.0), mel(1.5), mel(1.0, "speed"), mel(1.5)]
    assert len(passes) == 4 + 3
    assert all(map(torch.equal, plain, kept))


def test_filters_are_made_once_for_all_that_is_moved() -> None:
    vocoder, mel = tiny(), harmonic_mel(150.0, 60)
    frames = torch.ones(60, dtype=torch.bool)

    def wave(semitones: float, seed: int) -> Tensor:
        prosody = Prosody(LabelProsody(semitones=semitones, level=3.0), frames, mel[0])
        return vocoder.synthesize(mel, [SeededSourceNoise(seed)], None, [prosody])

    asked = [(2.0, 0), (4.0, 1), (2.0, 0)]
    plain = [wave(*one) for one in asked]
    passes: list[int] = []
    vocoder.head.register_forward_hook(lambda *_: passes.append(1))
    vocoder.recent, vocoder.recent_pitch = Recent(), Recent()
    kept = [wave(*one) for one in asked]
    assert all(map(torch.equal, plain, kept)) and len(passes) == 1
