"""An edit of what an engine decoded begins with what it was decoded from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stepedit_core import Engine, Utterance
from stepedit_core.config import engine_config
from stepedit_core.recordings import packaged_speech
from tests.models.tiny_checkpoint import write_single


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_single(tmp_path_factory.mktemp("engine"))


def load(folder: Path, *, aligned: bool = True, reuse: bool = True) -> Engine:
    loaded = Engine.load(str(folder))
    loaded.parts.decoder.flow.aligned_reference = aligned
    return Engine(loaded.parts, engine_config(name_or_path=str(folder), reuse_decoded=reuse))


def encoded_seconds(engine: Engine) -> float:
    return engine.times["encode"].audio_seconds if "encode" in engine.times else 0.0


@pytest.fixture
def speech() -> Utterance:
    return packaged_speech("office")


def test_own_output_is_not_encoded_again(folder: Path, speech: Utterance) -> None:
    engine = load(folder)
    (codes,) = engine.encode([speech])
    (made,) = engine.reconstruct(speech)
    before = encoded_seconds(engine)
    (again,) = engine.encode([made])
    assert again == codes and encoded_seconds(engine) == before
    # The recording was laid on its source's clock, and the codes with it.
    assert again.start == pytest.approx(codes.start, abs=1e-4)
    assert again.origin is not None and again.origin.source == made.digest
    assert made.decoded is not None
    (voice,) = engine._sources.voices([made])
    np.testing.assert_array_equal(voice.mel, made.decoded.mel)
    assert len(voice.mel) == 6 * codes.groups


def test_other_words_keep_it_and_other_samples_do_not(folder: Path, speech: Utterance) -> None:
    engine = load(folder)
    (made,) = engine.reconstruct(speech)
    assert made.replace(transcript="other words").decoded is made.decoded
    assert made.resample(16_000).decoded is None
    assert made.slice((0.0, 0.5)).decoded is None
    softer = made.replace(samples=0.5 * made.samples)
    before = encoded_seconds(engine)
    (codes,) = engine.encode([softer])
    assert encoded_seconds(engine) == pytest.approx(before + softer.seconds)
    assert codes.origin is not None and codes.origin.source == softer.digest


def test_a_file_is_known_by_its_sound_alone(
    folder: Path, speech: Utterance, tmp_path: Path
) -> None:
    engine = load(folder)
    (made,) = engine.reconstruct(speech)
    read = Utterance.read(made.write(tmp_path / "made.wav", subtype="FLOAT"))
    assert read.digest == made.digest and read.decoded is None
    engine.encode([made])
    before = encoded_seconds(engine)
    engine.encode([read, made])
    # What is known of the one does not change the other, in whatever order they come.
    assert encoded_seconds(engine) == pytest.approx(before + read.seconds)


@pytest.mark.parametrize(("aligned", "reuse"), [(False, True), (True, False)])
def test_where_it_is_not_wanted_the_sound_is_encoded(
    folder: Path, speech: Utterance, aligned: bool, reuse: bool
) -> None:
    engine = load(folder, aligned=aligned, reuse=reuse)
    (made,) = engine.reconstruct(speech)
    before = encoded_seconds(engine)
    engine.encode([made])
    assert encoded_seconds(engine) == pytest.approx(before + made.seconds)


def test_other_weights_do_not_read_it(folder: Path, speech: Utterance) -> None:
    engine = load(folder)
    (made,) = engine.reconstruct(speech)
    assert made.decoded is not None
    foreign = made.replace(decoded=type(made.decoded)(made.decoded.codes, made.decoded.mel, "x"))
    before = encoded_seconds(engine)
    engine.encode([foreign])
    assert encoded_seconds(engine) == pytest.approx(before + made.seconds)
