from __future__ import annotations

import numpy as np
import pytest
import torch

from stepedit_core.models.tokenizer.features import kaldi_frames
from stepedit_core.models.tokenizer.linguistic.frontend import (
    Cmvn,
    Frontend,
    FrontendConfig,
    plan_lfr,
    round_to_pcm16,
)
from tests.models.audio_cases import speech_like

PLAIN = Cmvn(torch.zeros(560), torch.ones(560))


def streamed(signal: np.ndarray, config: FrontendConfig) -> tuple[np.ndarray, list[int]]:
    """Run the stateful front end of the streaming recogniser, one chunk after the other.

    Written from its rules, row by row, to hold the index arithmetic to account.
    """
    m, n, size = config.lfr_m, config.lfr_n, config.chunk_samples
    total = len(signal) // size + 1
    samples, carry = np.zeros(0, np.float32), None
    out: list[np.ndarray] = []
    counts: list[int] = []
    for index in range(total):
        final = index == total - 1
        piece = signal[index * size : (index + 1) * size]
        if not len(piece):
            break
        samples = np.concatenate([samples, piece])
        count = max((len(samples) - 400) // 160 + 1, 0)
        if count:
            used = torch.from_numpy(samples[: (count - 1) * 160 + 400])
            rows = kaldi_frames(
                used,
                sample_rate=16_000,
                n_mels=config.n_mels,
                frame_length_ms=25.0,
                frame_shift_ms=10.0,
                window="hamming",
            ).numpy()
            samples = samples[count * 160 :]
            if carry is None:
                carry = np.repeat(rows[:1], (m - 1) // 2, axis=0)
            carry = np.concatenate([carry, rows])
            if len(carry) < m:
                continue
        elif not final or carry is None:
            continue
        wanted, done = int(np.ceil((len(carry) - (m - 1) // 2) / n)), 0
        while done < wanted:
            window = carry[done * n : done * n + m]
            if len(window) < m:
                if not final:
                    break
                window = np.concatenate([window, np.repeat(carry[-1:], m - len(window), axis=0)])
            out.append(window.reshape(-1))
            done += 1
        if done:
            counts.append(done)
        carry = carry[min(len(carry) - 1, done * n) :]
    return (np.stack(out) if out else np.zeros((0, m * config.n_mels))), counts


LENGTHS = sorted(
    {
        *range(0, 5_000, 377),
        *(k * 3_840 + d for k in (1, 2, 3, 4) for d in (-1, 0, 1, 159, 160, 240, 479, 480, 880)),
        399,
        400,
        879,
        880,
        881,
    }
)


@pytest.mark.parametrize(("m", "n"), [(7, 6), (5, 3), (1, 1)])
def test_whole_utterances_give_what_the_stream_gives(m: int, n: int) -> None:
    config = FrontendConfig(n_mels=8, lfr_m=m, lfr_n=n)
    frontend = Frontend(config, Cmvn(torch.zeros(8 * m), torch.ones(8 * m)))
    signal = speech_like(1.1, 16_000)
    for length in LENGTHS:
        want, counts = streamed(signal[:length], config)
        got, sizes = frontend(signal[:length])
        assert sizes == counts, length
        np.testing.assert_allclose(got.numpy(), want, atol=1e-3, err_msg=str(length))


@pytest.mark.parametrize(
    ("length", "frames"),
    [(0, 0), (400, 0), (879, 0), (880, 1), (12_160, 12), (15_360, 16), (16_000, 16)],
)
def test_known_lengths(length: int, frames: int) -> None:
    assert sum(chunk.count for chunk in plan_lfr(length, FrontendConfig())) == frames


def test_first_frame_is_repeated_and_rows_overlap_by_one() -> None:
    signal = speech_like(0.5, 16_000)
    frontend = Frontend(FrontendConfig(), PLAIN)
    rows = frontend.fbank(signal)
    frames, _ = frontend(signal)
    stacked = frames.reshape(len(frames), 7, 80)
    assert torch.equal(stacked[0, :4], rows[:1].expand(4, -1))
    assert torch.equal(stacked[1, 0], stacked[0, 6])
    assert torch.equal(stacked[1], rows[3:10])


def test_normalisation_shifts_then_scales() -> None:
    signal = speech_like(0.5, 16_000)
    plain, _ = Frontend(FrontendConfig(), PLAIN)(signal)
    cmvn = Cmvn(torch.full((560,), -3.0), torch.full((560,), 0.5))
    moved, _ = Frontend(FrontendConfig(), cmvn)(signal)
    torch.testing.assert_close(moved, (plain - 3.0) * 0.5)


def test_digital_silence_is_finite() -> None:
    frames, sizes = Frontend(FrontendConfig(), PLAIN)(np.zeros(8_000, np.float32))
    assert sum(sizes) == 8
    assert frames.isfinite().all()


def test_pcm16_rounds_to_sixteen_bits_and_changes_features() -> None:
    signal = speech_like(0.5, 16_000) * np.float32(1e-2)
    rounded = round_to_pcm16(signal, 16_000)
    assert rounded.dtype == np.float32
    assert np.abs(rounded - signal).max() <= 1 / 32_768
    assert np.array_equal(np.round(rounded * 32_768), rounded * 32_768)
    exact, _ = Frontend(FrontendConfig(), PLAIN)(signal)
    coarse, _ = Frontend(FrontendConfig(wav_rounding="pcm16"), PLAIN)(signal)
    assert (exact - coarse).abs().max() > 1e-3


def test_dither_follows_the_generator() -> None:
    frontend = Frontend(FrontendConfig(dither=1.0), PLAIN)
    signal = speech_like(0.5, 16_000)
    first, again, other = (
        frontend(signal, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
