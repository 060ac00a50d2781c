"""The semantic stage, from a cache of tones to the ONNX graph that core reads."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from stepedit_train.journal import read_journal
from stepedit_train.tokenizers.semantic.model import (
    FiniteScalarQuantiser,
    Predicted,
    SemanticEncoder,
    SemanticSizes,
)
from stepedit_train.tokenizers.semantic.stage import (
    SemanticSettings,
    Tally,
    griffin_lim,
    train_semantic,
)
from stepedit_train.tokenizers.semantic.targets import targets_of

from stepedit_core.models.tokenizer.features import whisper_log_mel
from stepedit_core.models.tokenizer.semantic import OnnxSemanticTokenizer
from tests.train.making import make_cache

SIZES = {"bins": 32, "width": 24, "blocks": 1, "decoder_blocks": 1}


def settings(folder: Path, **changes: object) -> SemanticSettings:
    fields: dict[str, object] = {
        "cache": folder / "cache",
        "out": folder / "run",
        "steps": 30,
        "budget": 5.0,
        "learning_rate": 5e-3,
        "warmup": 3,
        "log_every": 5,
        "validate_every": 30,
        "tensorboard": False,
        "crop_codes": 20,
        "sizes": SIZES,
    }
    return SemanticSettings.model_validate(fields | changes)


def test_the_encoder_learns(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    lines = list(train_semantic(settings(tmp_path)))
    assert lines[0].startswith("10 recordings")
    log = read_journal(tmp_path / "run")
    train = [entry for entry in log if entry["part"] == "train"]
    assert train[-1]["mel"] < 0.75 * train[0]["mel"]
    assert train[-1]["phones"] < train[0]["phones"]
    dev = log[-1]
    assert dev["part"] == "dev" and dev["voicing_accuracy"] > 0.7
    assert 1 < dev["perplexity"] <= dev["codes_used"] <= 50
    written = sorted(path.name for path in (tmp_path / "run" / "samples").glob("*/*.wav"))
    assert written == ["from-codes.wav", "own-mel.wav"]


def test_the_graph_gives_the_codes_of_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from stepedit_train.tokenizers.semantic.export import SemanticExportSettings, export_semantic

    make_cache(tmp_path / "cache")
    list(train_semantic(settings(tmp_path, steps=2)))
    wanted = SemanticExportSettings(
        run=tmp_path / "run",
        out=tmp_path / "tokenizer",
        cache=tmp_path / "cache",
        sizes=SemanticSizes(**SIZES),
    )
    lines = list(export_semantic(wanted))
    assert "100.0% of" in lines[0]
    # The exporter notes where every node comes from: nothing of this machine may travel with it.
    graph = (tmp_path / "tokenizer" / "speech_tokenizer_v1.onnx").read_bytes()
    assert b"stepedit_train" not in graph and b"site-packages" not in graph
    tokenizer = OnnxSemanticTokenizer.load(tmp_path / "tokenizer", threads=1)
    rng = np.random.default_rng(0)
    signals = [rng.standard_normal(n).astype(np.float32) * 0.1 for n in (8000, 8000, 16_000)]
    codes = tokenizer.encode(signals)
    assert [len(one) for one in codes] == [13, 13, 25]
    assert np.array_equal(codes[1], tokenizer.encode(signals[1:2])[0])


def test_every_code_can_be_reached_and_gradients_pass() -> None:
    quantiser = FiniteScalarQuantiser((8, 5))
    grid = torch.cartesian_prod(torch.linspace(-4, 4, 200), torch.linspace(-4, 4, 200))
    codes = quantiser.codes(grid)
    assert sorted(codes.unique().tolist()) == list(range(40))
    values = quantiser(grid)
    assert [len(values[:, place].unique()) for place in (0, 1)] == [8, 5]
    # The code says which levels were taken: equal codes, equal vectors.
    for code in (0, 17, 39):
        assert len(values[codes == code].unique(dim=0)) == 1
    x = torch.zeros(1, 2, requires_grad=True)
    quantiser(x).sum().backward()
    assert x.grad is not None and (x.grad > 0).all()


def test_frames_past_the_length_count_as_silence() -> None:
    torch.manual_seed(0)
    encoder = SemanticEncoder(SemanticSizes(**SIZES)).eval()
    mel = torch.randn(1, 32, 80)
    silent = mel.clone()
    silent[..., 60:] = 0
    with torch.inference_mode():
        short = encoder(mel, torch.tensor([60]))
        assert torch.equal(short, encoder(silent, torch.tensor([80])))
        assert not torch.equal(short, encoder(mel, torch.tensor([80])))


def test_targets_are_of_their_code() -> None:
    prosody = np.zeros((2, 20), np.float16)
    prosody[0, 4:12] = [100, 100, 100, 100, 200, 200, 0, 0]
    prosody[1] = -30
    prosody[1, 8:12] = -10
    made = targets_of(np.array([[2, 3]], np.int32), prosody, 5)
    assert made.voiced.tolist()[1:3] == [[1, 1, 1, 1], [1, 1, 0, 0]]
    low, high = math.log2(100 / 160), math.log2(200 / 160)
    assert made.pitch.tolist() == pytest.approx([0, low, high, 0, 0])
    assert made.level[1].tolist() == [-1.0] * 4 and made.level[2].tolist() == [0.0] * 4
    assert made.phones[1].tolist() == [3, 3]
    longer = made.cut(4, 3)
    assert longer.level[1].tolist() == [-3.0] * 4 and longer.phones[2].tolist() == [0, 0]
    unknown = targets_of(np.zeros((0, 2), np.int32), prosody, 5)
    assert (unknown.cut(3, 4).phones == -100).all()


def test_figures_count() -> None:
    made = Predicted(
        torch.zeros(1, 2, 4),
        torch.eye(3)[torch.tensor([[[0, 1], [2, 2]]])],
        torch.tensor([[0.1, 5.0]]),
        torch.tensor([[[1.0, 1, -1, -1], [-1, -1, -1, -1]]]),
        torch.zeros(1, 2, 4),
    )
    voiced = torch.tensor([[[1.0, 1, 1, 1], [0, 0, 0, 0]]])
    tally = Tally()
    phones = torch.tensor([[[0, 2], [2, -100]]])
    tally.add(made, phones, torch.zeros(1, 2), voiced, torch.tensor([[7, 9]]))
    figures = tally.figures()
    assert figures["phone_accuracy"] == pytest.approx(2 / 3)
    assert figures["voicing_accuracy"] == pytest.approx(6 / 8)
    assert figures["pitch_cents_median"] == pytest.approx(120, abs=0.01)
    assert figures["codes_used"] == 2 and figures["perplexity"] == pytest.approx(2)


def test_sound_from_a_mel_has_its_pitch() -> None:
    samples = (0.3 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 16_000)).astype(np.float32)
    mel = whisper_log_mel(torch.from_numpy(samples), 80).numpy()
    sound = griffin_lim(mel)
    assert len(sound) == 8000 and np.abs(sound).max() == pytest.approx(0.6)
    peak = np.abs(np.fft.rfft(sound)).argmax() * 2  # Hz
    assert abs(peak - 1000) < 30
    assert np.array_equal(sound, griffin_lim(mel))
