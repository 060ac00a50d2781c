"""What a label usually does to pitch, level and colour, done by decoder and vocoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from stepedit_core.llm_route.source_map import SourceMap, positions_at
from stepedit_core.models.decoder.prosody import (
    LabelProsody,
    Prosody,
    Spoken,
    read_prosody,
    shift_of,
    tilt_gain,
)
from stepedit_core.models.decoder.reference.model import ReferencedMelDecoder
from stepedit_core.models.decoder.vocoder import HarmonicNoiseVocoder, SeededSourceNoise
from stepedit_core.models.decoder.vocoder.moving import moved_envelope, points_of
from stepedit_core.models.decoder.vocoder.pitch import Pitch
from tests.models.decoder.test_harmonic_noise import (
    HOP,
    constant,
    harmonic_mel,
    periodicity,
    untaught,
)
from tests.models.decoder.test_reference_model import SIZES, item
from tests.models.decoder_parts import randomise

PLACES = torch.linspace(100.0, 7900.0, 40)
LABELS = ("speed", "emotion:happy", "style:whisper")


def spoken(hz: float, spread: float = 0.1, level: float = 0.0, tilt: float = 0.0) -> Spoken:
    """Speech of a pitch whose range is ``1.8 * spread`` octaves."""
    octaves = torch.linspace(-spread, spread, 101) + float(np.log2(hz))
    mel = (level + tilt_gain(PLACES, tilt)) / 8.685889638 - 3.0
    return Spoken(octaves, mel[:, None].repeat(1, 60))


def test_a_shift_is_what_lacks_of_the_usual_one() -> None:
    usual = LabelProsody(semitones=6.0, range=2.0, level=6.0, tilt=1.0)
    shift = shift_of(spoken(100.0), spoken(100.0), usual, PLACES)
    assert shift.octaves == pytest.approx(0.5, abs=1e-3)
    assert shift.range == pytest.approx(2.0, abs=1e-3)
    assert shift.tilt == pytest.approx(1.0, abs=0.02)
    half = shift_of(spoken(100.0), spoken(100.0 * 2**0.25, 0.15), usual, PLACES)
    assert half.octaves == pytest.approx(0.25, abs=1e-3)
    assert half.range == pytest.approx(4 / 3, abs=1e-3)


def test_what_has_moved_enough_stays_and_what_has_moved_too_far_comes_back() -> None:
    usual = LabelProsody(semitones=6.0, level=-6.0)
    enough = shift_of(spoken(100.0), spoken(100.0 * 2**0.55, level=-7.0), usual, PLACES)
    assert enough.octaves == pytest.approx(0.0, abs=1e-3)
    assert enough.level == pytest.approx(0.0, abs=1e-3)
    beyond = shift_of(spoken(100.0), spoken(200.0, level=-12.0), usual, PLACES)
    assert beyond.octaves == pytest.approx(-0.4, abs=1e-3)
    assert beyond.level == pytest.approx(4.8, abs=1e-3)


def test_the_level_counts_what_the_tilt_does_to_it() -> None:
    usual = LabelProsody(tilt=2.0)
    shift = shift_of(spoken(100.0), spoken(100.0), usual, PLACES)
    loud = 10 * np.log10(np.mean(10 ** (tilt_gain(PLACES, shift.tilt).numpy() / 10)))
    assert shift.level == pytest.approx(-loud, abs=0.05)


@pytest.mark.parametrize(
    ("before", "semitones"), [(132.0, 12.0), (80.0, 13.65), (264.0, 0.0), (400.0, 0.0)]
)
def test_a_pitch_to_rise_to(before: float, semitones: float) -> None:
    shift = shift_of(spoken(before), spoken(before), LabelProsody(hz=264.0), PLACES)
    assert 12 * shift.octaves == pytest.approx(semitones, abs=0.01)


def test_speech_without_pitch_keeps_what_it_has() -> None:
    silent = Spoken(torch.zeros(0), spoken(100.0).mel)
    shift = shift_of(silent, silent, LabelProsody(semitones=6.0, level=3.0), PLACES)
    assert (shift.octaves, shift.range) == (0.0, 1.0)
    assert shift.level == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sad": {"semitones": 1.0}}, "sad is not among the labels"),
        ({"speed": {"pitch": 1.0}}, "speed: no field pitch"),
        ({"speed": {"semitones": 60.0}}, "semitones, level and tilt"),
        ({"speed": {"range": 0.0}}, "range must be"),
        ({"speed": {"jitter": -1.0}}, "jitter"),
        ({"speed": {"hz": 5.0}}, "5.0 Hz"),
    ],
)
def test_a_prosody_that_cannot_be(given: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_prosody(given, LABELS)


def test_an_envelope_goes_through_the_harmonics_and_has_no_valleys() -> None:
    hz, bins = torch.full((3,), 200.0), torch.arange(481) * 25.0
    hull = torch.exp(-bins / 3000.0)
    comb = torch.where((bins % 200.0) == 0, 1.0, 0.01)
    made = moved_envelope((hull * comb)[:, None].repeat(1, 3), hz, 25.0, 1.0)
    inside = (bins >= 200.0) & (bins <= 11_000.0)
    assert torch.allclose(made[inside, 0], hull[inside], rtol=0.01)
    formants = moved_envelope(hull[:, None].repeat(1, 3), hz, 25.0, 1.25)
    at = 4000 // 25
    assert formants[at, 0].item() == pytest.approx(float(np.exp(-3200 / 3000)), rel=0.01)


def speaking(
    monkeypatch: pytest.MonkeyPatch, hz: float, frames: int
) -> tuple[HarmonicNoiseVocoder, Tensor]:
    """A vocoder that hears one pitch, and a mel of it."""
    vocoder = untaught()

    def heard(mel: Tensor) -> Pitch:
        one = constant(hz, mel.shape[2], 1.0)
        return Pitch(one.hz.repeat(len(mel), 1), one.voicing.repeat(len(mel), 1))

    monkeypatch.setattr(vocoder, "predict_pitch", heard)
    return vocoder, harmonic_mel(hz, frames)


def test_part_of_an_utterance_is_spoken_higher_and_louder(monkeypatch: pytest.MonkeyPatch) -> None:
    vocoder, mel = speaking(monkeypatch, 150.0, 100)
    frames = torch.arange(100) >= 50
    usual = LabelProsody(semitones=12.0, level=6.0)
    prosody = Prosody(usual, frames, mel[0], torch.arange(100.0))
    plain = vocoder.synthesize(mel, [SeededSourceNoise(1)])[0]
    moved = vocoder.synthesize(mel, [SeededSourceNoise(1)], None, [prosody])[0]
    half = 50 * HOP
    assert torch.equal(moved[: half - 2 * HOP], plain[: half - 2 * HOP])
    later = moved[half + 2 * HOP :]
    assert periodicity(later, 300.0) > 0.9
    gain = 20 * torch.log10(later.std() / plain[half + 2 * HOP :].std())
    assert float(gain) == pytest.approx(6.0, abs=2.0)


def test_others_of_a_batch_stay_equal_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    vocoder, mel = speaking(monkeypatch, 150.0, 60)
    both, noise = mel.repeat(2, 1, 1), lambda: [SeededSourceNoise(1), SeededSourceNoise(2)]
    everywhere = torch.ones(60, dtype=torch.bool)
    prosody = Prosody(LabelProsody(semitones=4.0, jitter=30.0), everywhere, mel[0])
    plain = vocoder.synthesize(both, noise())
    moved = vocoder.synthesize(both, noise(), None, [None, prosody])
    assert torch.equal(moved[0], plain[0])
    assert not torch.allclose(moved[1], plain[1], atol=1e-3)
    assert torch.equal(moved, vocoder.synthesize(both, noise(), None, [None, prosody]))


def test_points_touch_their_frames() -> None:
    assert points_of(torch.tensor([False, True, False])).tolist() == [0, 0, 1, 1, 1, 0, 0]


def decoder(**more: object) -> ReferencedMelDecoder:
    told = {"places": True, "labels": LABELS, "unvoiced": ("style:whisper",), **more}
    made = ReferencedMelDecoder(**SIZES, spk_embed_dim=6, kernel=5, lag=2, **told)  # type: ignore[arg-type]
    randomise(made, 0)
    return made.eval()


HAPPY = {"emotion:happy": {"semitones": 5.0}}


def test_a_decoder_says_what_is_moved_and_where() -> None:
    made, reference = decoder(prosody=HAPPY), torch.zeros(12, 5)
    edited = np.array([False, True])
    places = positions_at(6, ((0.0, 1.0),))
    prosody = made.prosody(SourceMap(places, "emotion:happy", edited), 6, reference)
    assert prosody is not None and prosody.usual == LabelProsody(semitones=5.0)
    assert prosody.frames.tolist() == [False] * 6 + [True] * 6
    assert prosody.places is not None
    assert torch.allclose(prosody.places, torch.arange(12.0), atol=1e-5)
    assert prosody.reference.shape == (5, 12)
    unplaced = made.prosody(SourceMap(None, "emotion:happy"), 6, reference)
    assert unplaced is not None and unplaced.places is None and unplaced.frames.all()
    for other in (None, SourceMap(places, "speed"), SourceMap(places, "style:whisper")):
        assert made.prosody(other, 6, reference) is None
    assert made.moved_labels == {"emotion:happy", "style:whisper"}


def test_a_label_is_moved_by_its_strength() -> None:
    usual = LabelProsody(semitones=6.0, range=2.0, level=-20.0, tilt=1.0, formants=0.9)
    half, double = usual.at(0.5), usual.at(2.0)
    assert (half.semitones, half.range, half.level, half.tilt) == (3.0, 2**0.5, -10.0, 0.5)
    assert double.level == -20.0 and double.range == 4.0 and usual.at(1.0) is usual
    child = LabelProsody(hz=200.0).at(0.5)
    shift = shift_of(spoken(100.0), spoken(100.0), child, PLACES)
    assert shift.octaves == pytest.approx(0.5, abs=1e-3)
    made = decoder(prosody=HAPPY)
    prosody = made.prosody(SourceMap(None, "emotion:happy", strength=1.5), 6, torch.zeros(12, 5))
    assert prosody is not None and prosody.usual == LabelProsody(semitones=7.5, way=1.5)


def test_known_places_of_a_moved_label_are_decoded_as_another_label() -> None:
    made, one = decoder(prosody=HAPPY, placed_as="speed"), item(45, 60)
    places = positions_at(len(one.rows), ((0.0, 1.0),))

    def mel(label: str, positions: object) -> Tensor:
        source_map = SourceMap(positions, label)  # type: ignore[arg-type]
        return made.generate([replace(one, source_map=source_map)])[0]

    assert torch.equal(mel("emotion:happy", places), mel("speed", places))
    assert torch.equal(mel("style:whisper", places), mel("speed", places))
    assert not torch.allclose(mel("emotion:happy", None), mel("speed", None), atol=1e-3)


def test_the_label_of_known_places_must_be_taught() -> None:
    with pytest.raises(ValueError, match="placed_as: pace is not among the labels"):
        decoder(placed_as="pace")
