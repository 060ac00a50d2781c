"""The linguistic stage, from a cache of tones to a tokenizer folder that core reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stepedit_train.data.cache import Cache
from stepedit_train.journal import read_journal
from stepedit_train.tokenizers.linguistic.augment import AugmentSettings, WarpedFrontend, augment
from stepedit_train.tokenizers.linguistic.codebook import (
    CodebookSettings,
    codebook_figures,
    likeliest_labels,
    make_codebook,
)
from stepedit_train.tokenizers.linguistic.model import (
    PhonemeSet,
    ctc_loss,
    frame_labels,
    phone_loss,
)
from stepedit_train.tokenizers.linguistic.stage import LinguisticSettings, train_linguistic

from stepedit_core.errors import CheckpointError, StepeditError
from stepedit_core.models.tokenizer.linguistic import Cmvn, FrontendConfig, LinguisticTokenizer
from tests.train.making import make_cache

SIZES = {
    "output_size": 32,
    "attention_heads": 2,
    "linear_units": 48,
    "num_blocks": 2,
    "dropout": 0.1,
}


def settings(folder: Path, **changes: object) -> LinguisticSettings:
    fields: dict[str, object] = {
        "cache": folder / "cache",
        "out": folder / "run",
        "steps": 40,
        "budget": 5.0,
        "learning_rate": 3e-3,
        "warmup": 5,
        "log_every": 5,
        "validate_every": 20,
        "checkpoint_minutes": 10,
        "tensorboard": False,
        "encoder": SIZES,
    }
    return LinguisticSettings.model_validate(fields | changes)


def test_an_encoder_learns_and_becomes_a_tokenizer(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    lines = list(train_linguistic(settings(tmp_path)))
    assert lines[0].startswith("10 recordings")
    log = read_journal(tmp_path / "run")
    losses = [entry["phone"] for entry in log if entry["part"] == "train"]
    assert losses[-1] < 0.7 * losses[0]
    dev = [entry for entry in log if entry["part"] == "dev"]
    assert dev[-1]["phone_accuracy"] > max(0.4, dev[0]["phone_accuracy"])
    assert 0 < dev[-1]["phoneme_error_rate"] <= 1.5

    wanted = CodebookSettings.model_validate(
        {
            "cache": tmp_path / "cache",
            "run": tmp_path / "run",
            "out": tmp_path / "tokenizer",
            "clusters": 12,
            "encoder": SIZES,
        }
    )
    for weights in ("pt", "safetensors"):
        list(make_codebook(wanted.model_copy(update={"weights": weights})))
        tokenizer = LinguisticTokenizer.load(tmp_path / "tokenizer")
        speech = Cache(tmp_path / "cache").speech(0)
        codes = tokenizer.encode([speech])[0]
        assert len(codes) == len(tokenizer.features(speech)[0]) and codes.max() < 12
        assert len(set(codes.tolist())) >= 3
    with pytest.raises(StepeditError, match="other settings"):
        list(train_linguistic(settings(tmp_path, learning_rate=1e-3)))
    other = wanted.model_copy(update={"encoder": settings(tmp_path).encoder})
    small = other.encoder.model_copy(update={"output_size": 16})
    with pytest.raises(CheckpointError, match="other sizes"):
        list(make_codebook(wanted.model_copy(update={"encoder": small})))


def test_a_run_does_not_go_on_with_other_recordings(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    list(train_linguistic(settings(tmp_path, steps=2)))
    make_cache(tmp_path / "cache", count=18, blocks=3)
    with pytest.raises(CheckpointError, match="other settings or other recordings"):
        list(train_linguistic(settings(tmp_path, steps=2)))


def test_labels_lie_where_the_frames_look() -> None:
    spikes = np.array([[4, 3], [7, 10]], np.int32)
    labels = frame_labels(spikes, 6)
    flat = np.concatenate([labels.reshape(-1)[1:], [0]])  # frame i looks at 3 i - 1 .. 3 i + 1
    assert flat[3] == 5 and flat[10] == 8
    assert flat[6] == 5 and flat[7] == 8 and flat[14] == 8 and flat[15] == 0
    assert (frame_labels(spikes[:0], 2) == -100).all()


def test_phoneme_sets_hold_sounds_alone() -> None:
    symbols = PhonemeSet.of(["mˈOst pˈipᵊl.", None, "ʨja→ lɤ↗,"])
    assert "".join(symbols.symbols) == "".join(sorted("mOstpiᵊlʨjaɤ"))
    ids = symbols.encode("tˈil x")
    assert [symbols.symbols[i - 1] for i in ids] == ["t", "i", "l"]
    assert 0 not in ids and len(symbols) == 13


def test_unknown_labels_cost_nothing() -> None:
    logits = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.full((4, 3), -100)
    assert phone_loss(logits, labels, 0.05).item() == 0
    labels[1, 2] = 3
    expected = -logits[1, 2].log_softmax(-1)[3]
    assert torch.allclose(phone_loss(logits, labels, 0.0), expected)
    assert ctc_loss([logits.flatten(0, 1)], [[]]).item() == 0


def test_ctc_is_that_of_each_recording_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = [torch.randn(n, 6, generator=generator) for n in (12, 9, 20)]
    targets = [[1, 2], [], [3, 3, 5]]
    each = [
        torch.nn.functional.ctc_loss(
            part.log_softmax(-1)[:, None], torch.tensor([target]), (len(part),), (len(target),),
            reduction="sum",
        )
        for part, target in zip(logits, targets, strict=True)
        if target
    ]  # fmt: skip
    assert torch.allclose(ctc_loss(logits, targets), sum(each) / 5, atol=1e-5)


def test_a_warp_moves_formants_and_one_moves_nothing() -> None:
    config = FrontendConfig()
    cmvn = Cmvn(torch.zeros(560), torch.ones(560))
    tone = np.sin(2 * np.pi * 1500 * np.arange(8000) / 16_000).astype(np.float32)
    peaks = {
        factor: int(WarpedFrontend(config, cmvn, factor).fbank(tone).mean(0).argmax())
        for factor in (0.85, 1.0, 1.15)
    }
    assert peaks[0.85] != peaks[1.0] != peaks[1.15]
    assert abs(peaks[0.85] - peaks[1.15]) >= 4
    plain = WarpedFrontend(config, cmvn, 1.0).fbank(tone)
    near = WarpedFrontend(config, cmvn, 1.0 + 1e-9).fbank(tone)
    assert torch.allclose(plain, near, atol=1e-3)


def test_augmentation_is_seeded_and_stays_in_its_ranges() -> None:
    speech = np.sin(np.arange(16_000) / 20).astype(np.float32)
    wanted = AugmentSettings(noise_share=1.0, snr_db=(10.0, 10.0), gain_db=(-6.0, -6.0))
    once, factor = augment(speech, np.random.default_rng(5), wanted)
    again, _ = augment(speech, np.random.default_rng(5), wanted)
    assert np.array_equal(once, again) and 0.85 <= factor <= 1.15
    noise = once / 10**-0.3 - speech
    snr = 10 * np.log10(speech.var() / noise.var())
    assert snr == pytest.approx(10.0, abs=0.2)


def test_figures_of_a_codebook() -> None:
    codes = [np.array([0, 0, 1, 1]), np.array([2, 2])]
    labels = [np.array([[1], [1], [2], [3]]), np.array([[-100], [4]])]
    likeliest = likeliest_labels(codes, labels, 4)
    assert likeliest[:, 0].tolist() == [1, 2, 4, -100]
    figures = codebook_figures(codes, labels, likeliest)
    assert figures["used"] == 3 and figures["perplexity"] == pytest.approx(3.0)
    assert figures["phone_accuracy"] == pytest.approx(4 / 5)
    others = codebook_figures([np.array([0, 3])], [np.array([[1], [2]])], likeliest)
    assert others["phone_accuracy"] == 0.5


@pytest.mark.gpu
def test_it_trains_on_an_accelerator(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    list(train_linguistic(settings(tmp_path, device="cuda")))
    log = read_journal(tmp_path / "run")
    losses = [entry["phone"] for entry in log if entry["part"] == "train"]
    assert losses[-1] < 0.7 * losses[0]
