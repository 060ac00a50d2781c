from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stepedit_core.errors import AudioError, CheckpointError
from stepedit_core.models.speaker.campplus import OnnxSpeakerEncoder, load_speaker
from stepedit_core.models.speaker.ge2e import (
    RESEMBLYZER_FILE,
    ResemblyzerEncoder,
    partial_starts,
    prepare_voice,
)
from tests.models.audio_cases import speech_like, write_speaker_graph


def write_encoder(folder: Path, dtype: torch.dtype = torch.float32) -> ResemblyzerEncoder:
    """Write a seeded encoder of small sizes."""
    torch.manual_seed(0)
    encoder = ResemblyzerEncoder(bins=10, hidden=8, layers=2, size=6)
    state = {name: tensor.to(dtype) for name, tensor in encoder.state_dict().items()}
    save_file(state, folder / RESEMBLYZER_FILE)
    return encoder.eval()


def test_half_precision_files_give_float32(tmp_path: Path) -> None:
    made = write_encoder(tmp_path, torch.float16)
    encoder = load_speaker(tmp_path)
    assert isinstance(encoder, ResemblyzerEncoder)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    signal = speech_like(2.0, 24_000)
    voice = encoder.embed(signal, 24_000)
    assert voice.shape == (1, 6) and voice.dtype == torch.float32
    assert float(voice.norm()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(voice, made.embed(signal, 24_000), atol=1e-2, rtol=0)


def test_level_does_not_matter(tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path)
    signal = speech_like(1.0, 16_000)
    for gain in (0.01, 0.5, 3.0):
        louder = np.float32(gain) * signal
        torch.testing.assert_close(encoder.embed(louder, 16_000), encoder.embed(signal, 16_000))
    level = 10 * np.log10(np.mean(prepare_voice(signal, 16_000) ** 2))
    assert level == pytest.approx(-30, abs=1e-3)
    silent = encoder.embed(np.zeros(16_000, np.float32), 16_000)
    assert bool(silent.isfinite().all())


def test_windows_cover_the_signal() -> None:
    assert partial_starts(1) == [0]
    assert partial_starts(25_600) == [0]
    # The window at 0.77 s is covered by 1.2 of 1.6 s or not.
    assert partial_starts(31_519) == [0]
    assert partial_starts(31_520) == [0, 77]


def test_too_short_damaged_foreign_and_doubled_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"campplus\.onnx is missing"):
        load_speaker(tmp_path)
    encoder = write_encoder(tmp_path)
    with pytest.raises(AudioError, match="too short"):
        encoder.embed(np.zeros(100, np.float32), 16_000)
    write_speaker_graph(tmp_path / "campplus.onnx")
    with pytest.raises(CheckpointError, match="two speaker encoders"):
        load_speaker(tmp_path)
    (tmp_path / RESEMBLYZER_FILE).unlink()
    assert isinstance(load_speaker(tmp_path), OnnxSpeakerEncoder)
    save_file({"linear.weight": torch.zeros(2, 2)}, tmp_path / RESEMBLYZER_FILE)
    with pytest.raises(CheckpointError, match=r"resemblyzer\.safetensors"):
        ResemblyzerEncoder.load(tmp_path)


@pytest.mark.parametrize("seconds", [0.3, 1.6, 1.97, 4.0])
def test_embeddings_are_those_of_the_package(tmp_path: Path, seconds: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("resemblyzer")
        theirs = package.VoiceEncoder("cpu", verbose=False)
    state = theirs.state_dict()
    save_file(dict(state), tmp_path / RESEMBLYZER_FILE)
    ours = ResemblyzerEncoder.load(tmp_path)
    signal = prepare_voice(speech_like(seconds, 24_000), 24_000)
    want = theirs.embed_utterance(signal)
    np.testing.assert_allclose(ours.embed_prepared(signal)[0].numpy(), want, atol=1e-5)
