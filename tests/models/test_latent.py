"""An edit of what an engine made begins with what it was made from, where a chain carries that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepedit_core import Chain, Edit, Engine, Plan, Prompt, Utterance
from stepedit_core.engine import DecodeRequest, Latent
from stepedit_core.recordings import packaged_speech
from tests.models.tiny_checkpoint import write_single


class Softer(Edit):
    """Ask for softer speech, as long as it was: random weights would never end their turn."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit(f"Softer: {utterance.transcript}\n")

    def plan(self, utterance: Utterance) -> Plan:
        return super().plan(utterance).but(length_is_exact=True)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = write_single(tmp_path_factory.mktemp("engine"))
    return Engine.load(folder)


def load(loaded: Engine, *, aligned: bool = True) -> Engine:
    """Return an engine of the same weights with nothing in its caches."""
    loaded.parts.decoder.flow.aligned_reference = aligned
    return Engine(loaded.parts, loaded.config)


def encoded_seconds(engine: Engine) -> float:
    return engine.times["encode"].audio_seconds if "encode" in engine.times else 0.0


@pytest.fixture
def speech() -> Utterance:
    return packaged_speech("surpassed")


def made(engine: Engine, speech: Utterance) -> tuple[Utterance, Latent]:
    """Return a recording that the engine made, and what from."""
    (codes,) = engine.encode([speech])
    ((audio, latent),) = engine.decode_keeping([DecodeRequest(codes, speech)])
    return audio.replace(transcript=speech.transcript), latent


def test_own_output_is_not_encoded_again(loaded: Engine, speech: Utterance) -> None:
    engine = load(loaded)
    audio, latent = made(engine, speech)
    assert engine.accepts(latent) and latent.digest == audio.digest
    before = encoded_seconds(engine)
    (outcome,) = engine.edit(audio, Softer(), latents=[latent])
    assert encoded_seconds(engine) == before
    assert outcome.latent is not None and outcome.latent.digest == outcome.utterance.digest
    ((voice, start),) = engine._references.voices(
        [DecodeRequest(latent.codes, audio, 0, None, latent)]
    )
    np.testing.assert_array_equal(voice.mel, latent.state)
    assert start == latent.codes.start and len(voice.mel) == 6 * latent.codes.groups


def test_another_sound_is_encoded(loaded: Engine, speech: Utterance) -> None:
    engine = load(loaded)
    audio, latent = made(engine, speech)
    before = encoded_seconds(engine)
    other = audio.replace(samples=0.5 * audio.samples)
    engine.edit(other, Softer(), latents=[latent])
    assert encoded_seconds(engine) == pytest.approx(before + other.seconds)


@pytest.mark.parametrize("change", ["unaligned", "foreign"])
def test_what_an_engine_cannot_use_is_encoded(
    loaded: Engine, speech: Utterance, change: str
) -> None:
    engine = load(loaded, aligned=change != "unaligned")
    audio, latent = made(engine, speech)
    if change == "foreign":
        latent = replace(latent, made_by="other weights")
    assert not engine.accepts(latent)
    before = encoded_seconds(engine)
    engine.edit(audio, Softer(), latents=[latent])
    assert encoded_seconds(engine) == pytest.approx(before + audio.seconds)


@pytest.mark.parametrize(("carry", "encoded"), [("latent", 1), ("codes", 1), ("audio", 2)])
def test_a_chain_hands_it_on(loaded: Engine, speech: Utterance, carry: str, encoded: int) -> None:
    engine = load(loaded)
    result = Chain([Softer()] * 2)(speech, engine, carry=carry)  # type: ignore[arg-type]
    assert engine.times["encode"].calls == encoded
    assert (result.steps[0].latent is None) is (carry == "audio")


def test_carrying_audio_does_not_hang_on_what_was_carried_before(
    loaded: Engine, speech: Utterance
) -> None:
    fresh, used = load(loaded), load(loaded)
    audio, latent = made(used, speech)
    used.edit(audio, Softer(), latents=[latent])
    for engine in (fresh, used):
        engine.encode([audio])
    ours, theirs = (engine.edit(audio, Softer(), seed=2)[0] for engine in (fresh, used))
    assert ours.utterance == theirs.utterance
