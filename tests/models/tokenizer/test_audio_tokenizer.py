from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stepedit_core.errors import AudioError
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from tests.models.audio_cases import SETS, golden, recordings, speech_like, tokenizer_folder


class CountingTokenizer:
    """Give one code for so many samples, to see what signals arrive."""

    def __init__(self, samples_per_code: int) -> None:
        self.samples_per_code = samples_per_code

    def encode(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros(len(s) // self.samples_per_code, np.int64) for s in signals]


def test_recordings_of_any_rate_give_groups() -> None:
    tokenizer = AudioTokenizer(CountingTokenizer(960), CountingTokenizer(640))
    items = [(speech_like(1.0, rate), rate) for rate in (8_000, 16_000, 44_100)]
    items.append((np.zeros(1_200, np.float32), 24_000))
    items.append((np.stack([speech_like(1.0, 16_000)] * 2), 16_000))
    codes = tokenizer.encode(items)
    assert all(c.groups >= 1 for c in codes)
    assert codes[1] == codes[4]


def test_bad_samples_are_refused() -> None:
    tokenizer = AudioTokenizer(CountingTokenizer(960), CountingTokenizer(640))
    with pytest.raises(AudioError, match="NaN"):
        tokenizer.encode([(np.full(100, np.nan, np.float32), 16_000)])


@pytest.mark.parametrize("name", SETS)
def test_golden_tokens(name: str) -> None:
    want = golden(name, "04_tokens")
    tokenizer = AudioTokenizer.load(tokenizer_folder(name))
    cases = recordings()
    for case, codes in zip(cases, tokenizer.encode(list(cases.values())), strict=True):
        np.testing.assert_array_equal(codes.interleave() + 65_536, want[f"{case}_vq0206"])
        assert codes.token_string() == str(want[f"{case}_str"])


def test_odd_lengths_and_threads_on_a_checkpoint() -> None:
    tokenizer = AudioTokenizer.load(tokenizer_folder("tiny_b"), threads=1)
    clips = [
        (speech_like(0.05, 24_000), 24_000),
        (np.zeros(16_000, np.float32), 16_000),
        (np.tile(speech_like(5.0, 8_000), 9), 8_000),
        (np.full(1, 0.1, np.float32), 48_000),
    ]
    together = tokenizer.encode(clips)
    assert [c.groups for c in together][2] > 360
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda clip: tokenizer.encode([clip])[0], clips))
    assert alone == together
