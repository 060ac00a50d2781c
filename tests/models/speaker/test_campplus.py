from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stepedit_core.errors import AudioError, CheckpointError
from stepedit_core.models.speaker.campplus import OnnxSpeakerEncoder
from stepedit_core.models.tokenizer.audio_tokenizer import ReferenceEncoder
from stepedit_core.models.tokenizer.features import MelConfig, speaker_fbank
from stepedit_core.models.tokenizer.preprocess import limit_peak
from tests.models.audio_cases import (
    SETS,
    decoder_folder,
    golden,
    recordings,
    speech_like,
    write_semantic_graph,
    write_speaker_graph,
)


@pytest.mark.parametrize("bins", [80, 40])
def test_embedding_reads_the_mean_removed_fbank(tmp_path: Path, bins: int) -> None:
    write_speaker_graph(tmp_path / "campplus.onnx", bins)
    speaker = OnnxSpeakerEncoder.load(tmp_path, threads=1)
    signal = speech_like(0.5, 24_000)
    embedding = speaker.embed(signal, 24_000)
    assert embedding.shape == (1, bins)
    want = speaker_fbank(torch.from_numpy(signal), 24_000, bins).amax(0)
    torch.testing.assert_close(embedding[0], want)


def test_reference_features_limit_the_peak(tmp_path: Path) -> None:
    write_speaker_graph(tmp_path / "campplus.onnx")
    reference = ReferenceEncoder(OnnxSpeakerEncoder.load(tmp_path), MelConfig())
    soft = limit_peak(3 * speech_like(0.5, 24_000))
    features = reference.encode(soft, 24_000)
    loud = reference.encode(2 * soft, 24_000)
    assert features.mel.shape == (1, 25, 80)
    torch.testing.assert_close(loud.mel, features.mel, atol=1e-3, rtol=0)
    rounded = features.rounded()
    assert rounded.mel.dtype == torch.float32
    assert torch.equal(rounded.mel, features.mel.to(torch.bfloat16).to(torch.float32))
    assert not torch.equal(rounded.mel, features.mel)


def test_the_last_reference_is_kept(tmp_path: Path) -> None:
    write_speaker_graph(tmp_path / "campplus.onnx")
    reference = ReferenceEncoder(OnnxSpeakerEncoder.load(tmp_path))
    speech = speech_like(0.5, 24_000)
    first = reference.encode(speech, 24_000)
    assert reference.encode(speech.copy(), 24_000) is first
    for other in ((speech[:-1], 24_000, 0.0), (speech, 16_000, 0.0), (speech, 24_000, 0.1)):
        assert reference.encode(*other) is not first
        again = reference.encode(speech, 24_000)
        assert again is not first and torch.equal(again.embedding, first.embedding)
        first = again
    reference.forget()
    assert reference.encode(speech, 24_000) is not first


def test_short_references_are_refused(tmp_path: Path) -> None:
    write_speaker_graph(tmp_path / "campplus.onnx")
    reference = ReferenceEncoder(OnnxSpeakerEncoder.load(tmp_path))
    assert reference.encode(speech_like(0.05, 24_000), 24_000).mel.shape[1] == 2
    with pytest.raises(AudioError, match="too short"):
        reference.encode(speech_like(0.01, 24_000), 24_000)


def test_foreign_graphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"campplus\.onnx is missing"):
        OnnxSpeakerEncoder.load(tmp_path)
    write_semantic_graph(tmp_path / "campplus.onnx")
    with pytest.raises(CheckpointError, match="another graph"):
        OnnxSpeakerEncoder.load(tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_golden_embedding(name: str) -> None:
    want = golden(name, "05_frontend")
    reference = ReferenceEncoder(OnnxSpeakerEncoder.load(decoder_folder(name)))
    for case in ("s3", "zs"):
        features = reference.encode(*recordings()[case])
        np.testing.assert_allclose(features.embedding, want[f"{case}_embedding"], atol=1e-4)
