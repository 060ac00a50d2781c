"""Pieces of cached recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from stepedit_train.data import pieces
from stepedit_train.data.cache import Array, CachedItem, block_path, write_block
from stepedit_train.data.pieces import PiecesSettings, cut_places, make_pieces

from stepedit_core.dsp import alignment
from stepedit_core.dsp.words import Word, split_words
from stepedit_core.errors import MissingDependencyError
from stepedit_core.utterance import Utterance

WORDS = "one two, three four five. six seven eight"
LONG = [(0.2 + number, 0.8 + number) for number in range(8)]
"""Times of eight words, 0.4 s apart."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    tensors: dict[str, Array] = {}
    items = []
    for row, (name, split, seconds) in enumerate(
        [("short", "train", 2.0), ("long", "dev", 8.2), ("tiny", "train", 0.5), ("t", "test", 2.0)]
    ):
        noise = rng.normal(0, 1000, round(24_000 * seconds)).astype(np.int16)
        tensors |= {f"{row}.audio": noise, f"{row}.speech": noise[:100]}
        items.append(
            CachedItem(
                f"c/{name}", "c", f"s{row}", "en", split, WORDS, None, "CC0", 16_000, 0.0, seconds,
                seconds,
            )
        )  # fmt: skip
    write_block(block_path(tmp_path / "cache", 0, "audio"), tensors, items)
    return tmp_path / "cache"


def settings(cache: Path, **changes: object) -> PiecesSettings:
    fields = {"caches": [cache], "out": cache.parent / "out", "max_seconds": 4.0} | changes
    return PiecesSettings.model_validate(fields)


def rows(cache: Path) -> list[dict[str, object]]:
    text = (cache.parent / "out" / "manifest.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def align(speech: object, words: list[Word]) -> list[tuple[float, float]]:
    assert len(words) == len(LONG)
    return LONG


def test_short_recordings_are_whole_and_long_ones_cut(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "align_words", align)
    (said,) = make_pieces(settings(cache))
    assert "dev 0.00 h, train 0.00 h" in said
    whole, *parts = rows(cache)
    assert whole["text"] == WORDS and whole["seconds"] == 2.0 and whole["split"] == "train"
    assert len(parts) >= 2 and {part["split"] for part in parts} == {"dev"}
    assert {part["speaker"] for part in parts} == {"s1"}
    for part in parts:
        words = str(part["text"]).split()
        first = WORDS.split().index(words[0])
        start, seconds = float(str(part["start"])), float(str(part["seconds"]))
        assert 1.5 <= seconds <= 4.0
        # Every piece holds its words and nothing of the next ones.
        assert start <= LONG[first][0] and (first == 0 or start >= LONG[first - 1][1])
        last = first + len(words) - 1
        assert LONG[last][1] <= start + seconds
        assert last == 7 or start + seconds <= LONG[last + 1][0]
        samples, rate = sf.read(cache.parent / "out" / str(part["path"]))
        assert rate == 24_000 and len(samples) == pytest.approx(seconds * rate, abs=2)


def test_without_an_alignment_pieces_have_no_words(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "align_words", lambda *given: None)
    spans = [type("Span", (), {"start": a, "end": b})() for a, b in LONG]
    monkeypatch.setattr(pieces, "speech_spans", lambda *given, **options: spans)
    list(make_pieces(settings(cache)))
    assert len(rows(cache)) > 2 and all("text" not in row for row in rows(cache)[1:])


def test_pieces_go_on_where_they_stopped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "align_words", align)
    list(make_pieces(settings(cache)))
    before = (cache.parent / "out" / "manifest.jsonl").read_bytes()
    monkeypatch.setattr(pieces, "align_words", None)  # not needed any more
    list(make_pieces(settings(cache)))
    assert (cache.parent / "out" / "manifest.jsonl").read_bytes() == before


def test_cuts_lie_in_pauses_alone(cache: Path) -> None:
    limits = settings(cache, pause_seconds=0.3)
    spans = [(0.0, 1.0), (1.1, 2.0), (2.5, 4.5), (4.6, 5.0), (9.0, 20.0), (21.0, 22.9)]
    found = cut_places(spans, limits, np.random.default_rng(0))
    # The first pause is too short, and the fifth span too long.
    assert found == [(0, 2), (2, 4), (5, 6)]
    assert cut_places([], limits, np.random.default_rng(0)) == []


def test_words_that_cannot_be_aligned_are_none() -> None:
    pytest.importorskip("pocketsphinx")
    quiet = Utterance(np.zeros(8000, np.float32), 16_000)
    assert pieces.align_words(quiet, split_words("a xqzzt")) is None


def test_without_the_aligner_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    alignment._decoder.cache_clear()
    quiet = Utterance(np.zeros(8000, np.float32), 16_000)
    with pytest.raises(MissingDependencyError, match=r"stepedit\[align\]"):
        pieces.align_words(quiet, split_words("one"))


def test_other_languages_are_left_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "align_words", align)
    (said,) = make_pieces(settings(cache, languages=["zh"]))
    assert said.startswith("0 pieces") and rows(cache) == []
