"""Noise, pre-tokenised files, batches of several passes, and figures of free runs."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stepedit_train.lm import callbacks
from stepedit_train.lm.callbacks import SaveByClock, generation_figures, spread
from stepedit_train.lm.mixture import PackedBatches, Source, collate
from stepedit_train.lm.noise import NoiseSettings, with_noise
from stepedit_train.lm.rows import (
    IGNORED,
    Example,
    fit_to_source_timing,
    put_in_part,
    read_examples,
)
from stepedit_train.lm.store import load_examples, read_cached, save_examples
from stepedit_train.seeds import rng_of

from stepedit_core.engine import FreeGroups
from stepedit_core.errors import StepeditError
from stepedit_core.models.lm.answers import Generated
from stepedit_core.models.lm.step1 import Alignment
from stepedit_core.models.lm.token_layout import TokenLayout
from stepedit_core.models.text.bytes import ByteTokenizer
from stepedit_core.registry.registry import Registry
from tests.toy_edits import Hiss
from tests.train.making import codes, make_pairs, read_mixture

BASE = 324


@pytest.fixture(autouse=True)
def _toys(toys: Registry) -> Iterator[None]:
    yield


def example(groups: int = 200, name: str = "x", edit: str = "e", speaker: str = "s") -> Example:
    tokens = (BASE + codes(1, groups).interleave()).tolist()
    ids = [1, 70, *tokens, 71, *tokens, 3]
    prompt = 3 + len(tokens)
    place = Alignment(2, 2 + len(tokens), prompt, "audio", ((0.0, 1.0), (3.0, 0.5)))
    return Example(name, edit, speaker, ids, prompt, place)


@pytest.mark.parametrize("kind", ["replaced", "masked", "jittered", "history"])
def test_noise_shares(kind: str) -> None:
    clean = example()
    noise = NoiseSettings.model_validate({kind: 0.25})
    noisy = with_noise(clean, noise, ByteTokenizer(), rng_of(0))
    assert noisy.shown is not None and noisy.labels == clean.labels and noisy.ids == clean.ids
    before, after = np.array(clean.ids), np.array(noisy.shown)
    changed = before != after
    source, answer = slice(2, 1002), slice(1003, 2003)
    assert not changed[[0, 1, 1002, 2003]].any()
    where, other = (answer, source) if kind == "history" else (source, answer)
    assert not changed[other].any()
    codes_before, codes_after = before[where] - BASE, after[where] - BASE
    if kind == "masked":
        whole = changed[where].reshape(-1, 5)
        assert (whole.all(1) | ~whole.any(1)).all()
        assert set(after[where][changed[where]]) == {0}
    else:
        assert ((codes_before < 1024) == (codes_after < 1024)).all()
        assert codes_after.min() >= 0 and codes_after.max() < 5120
    if kind == "jittered":
        moved = codes_before != codes_after
        assert not moved[codes_before < 1024].any()
        assert set(np.abs(codes_before - codes_after)[moved]) == {1, 8, 64, 512}
        digits = [
            np.stack([(c[moved] - 1024) // 8**d % 8 for d in range(4)])
            for c in (codes_before, codes_after)
        ]
        assert (np.abs(digits[0] - digits[1]).sum(0) == 1).all()
        assert 0.1 < moved[codes_before >= 1024].mean() < 0.25
    else:
        assert 0.15 < changed[where].mean() < 0.35
    assert with_noise(clean, noise, ByteTokenizer(), rng_of(0)).shown == noisy.shown


def test_text_dropout() -> None:
    tokens = (BASE + codes(1, 3).interleave()).tolist()
    ids = [1, 4, 70, 3, 4, 71, 72, *tokens, 73, 3, 4, 74, *tokens, 3]
    row = dataclasses.replace(example(), ids=ids, prompt=len(ids) - len(tokens) - 1)
    noise = NoiseSettings(text_dropout=0.3)
    made = [with_noise(row, noise, ByteTokenizer(), rng_of(n)) for n in range(200)]
    wordless = [1, 4, 70, 3, 4, 0, 0, *tokens, 0, 3, 4, 74, *tokens, 3]
    shown = [one.shown for one in made]
    assert all(one in (ids, wordless) for one in shown)
    assert 0.2 < shown.count(wordless) / 200 < 0.4
    assert all(one.labels == row.labels for one in made)


def test_a_file_of_examples_gives_them_back(tmp_path: Path) -> None:
    text = Alignment(1, 9, 1003, "text", ((0.0, 0.5),))
    rows = [
        example(name="ä", edit="speed"),
        dataclasses.replace(example(), alignment=text),
        dataclasses.replace(example(3), alignment=None),
        dataclasses.replace(
            example(4),
            alignment=Alignment(2, 22, 24, "audio", ((-0.5, 1.0), (2.0, -0.5)), ((0.5, 2.0),)),
            judged=(30, 40),
        ),
    ]
    save_examples(tmp_path / "rows.npz", rows, Counter({"too long": 2}))
    assert load_examples(tmp_path / "rows.npz") == (rows, Counter({"too long": 2}))
    (tmp_path / "bad.npz").write_bytes(b"PK half")
    for name in ("bad.npz", "none.npz"):
        with pytest.raises(StepeditError, match=name):
            load_examples(tmp_path / name)


def test_cached_rows_are_those_of_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pairs(tmp_path / "pairs", [Hiss(), Hiss(amount="much"), Hiss()])
    asked: dict[str, Any] = {"max_tokens": 4000, "cache": tmp_path / "cache"}
    fresh = read_examples(folder, ByteTokenizer(), "r1", max_tokens=4000)
    assert read_cached(folder, ByteTokenizer(), "r1", **asked) == fresh
    with monkeypatch.context() as patch:
        patch.setattr("stepedit_train.lm.store.read_examples", None)
        assert read_cached(folder, ByteTokenizer(), "r1", **asked) == fresh
    none, why = read_cached(folder, ByteTokenizer(), "r1", max_tokens=50, cache=asked["cache"])
    assert not none and why["longer than 50 tokens"] == 2
    phrased = ByteTokenizer(phrases=["Add much hiss.\n"])
    shorter = read_cached(folder, phrased, "r1", **asked)[0]
    assert len(shorter[0].ids) < len(fresh[0][0].ids)
    assert len(read_cached(folder, ByteTokenizer(), "r2", **asked)[0][0].ids) != len(
        fresh[0][0].ids
    )
    make_pairs(folder, [Hiss()] * 5)
    assert len(read_cached(folder, ByteTokenizer(), "r1", **asked)[0]) == 4


def test_files_of_examples_mix_with_folders(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "pairs", [Hiss(), Hiss(), Hiss()])
    save_examples(tmp_path / "replay.npz", [example(2, name=str(n)) for n in range(4)], Counter())
    sources = [Source(path=folder), Source(path=tmp_path / "replay.npz", share=0.5)]
    mixed = read_mixture(sources, ByteTokenizer(), "r1", dev_share=0.0)
    assert Counter(one.edit for one in mixed.train) == {"hiss": 2, "e": 2}


def test_packed_batches() -> None:
    rows = [example(n % 7 + 1, name=str(n)) for n in range(60)]
    noise = (NoiseSettings(replaced=0.5), ByteTokenizer())
    one = PackedBatches(rows, 300, seed=0)
    long = PackedBatches(rows, 300, seed=0, count=3 * len(one), noise=noise)
    assert len(long) == 3 * len(one) and len(one) == one.per_pass
    seen = [row.name for at in range(len(one)) for row in long[at]]
    assert sorted(seen) == sorted(row.name for row in rows)
    assert [r.name for r in long[0]] != [r.name for r in long[len(one)]]
    batches = [[row.shown for row in long[at]] for at in (5, 6, 5)]
    assert batches[0] == batches[2] != batches[1]
    shown = collate([long[5]], aligned=True)
    clean = collate([[dataclasses.replace(row, shown=None) for row in long[5]]])
    assert torch.equal(shown["labels"], clean["labels"])
    assert not torch.equal(shown["input_ids"], clean["input_ids"])
    assert shown["alignment"].shape == (len(long[5]), 8) and "alignment" not in clean


def test_free_runs_compare_answers_with_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [example(10, edit=edit) for edit in ("a", "a", "b")]
    target = rows[0].ids[rows[0].prompt : -1]
    wrong = [i if place % 5 < 2 else 330 for place, i in enumerate(target)]
    answers = [target, wrong, target[:25]]

    def answer(model: object, prompts: list[list[int]], **asked: Any) -> list[Generated]:
        assert prompts[0] == rows[0].ids[: rows[0].prompt]
        assert asked["alignments"] == [row.alignment for row in rows]
        return [Generated(ids, "stop") for ids in answers]

    monkeypatch.setattr(callbacks, "generate", answer)
    figures = generation_figures(None, rows, TokenLayout(BASE))
    assert figures["a_linguistic"] == 1 and figures["a_semantic"] == 0.5
    assert figures["a_length"] == figures["a_early"] == 0
    assert figures["b_length"] == 0.5 and figures["b_early"] == 1
    assert figures["b_semantic"] == 0.5


def test_looks_are_spread_over_edits_and_short_rows() -> None:
    rows = [example(4, str(n), "many", f"s{n}") for n in range(5)]
    rows += [example(4, "r", "rare"), example(30, "l", "long")]
    assert [one.edit for one in spread(rows, 4, 20)] == ["rare", "many", "many", "many"]
    assert spread([], 4, 20) == []


def test_the_clock_asks_for_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now))
    watcher = SaveByClock(2)

    def asks() -> bool:
        control = SimpleNamespace(should_save=False)
        watcher.on_step_end(None, None, control)
        return control.should_save

    assert not asks()
    now += 121
    assert asks() and asks()
    watcher.on_save(None, None, None)
    assert not asks()


def clocked(pace: float = 1.0, **changes: float | None) -> tuple[list[int], Alignment]:
    """A target of four groups whose source has ten; both last 1.2 s."""
    answer = (BASE + codes(2, 4).interleave()).tolist()
    row: dict[str, Any] = {
        "source_start": -0.05, "target_start": 0.3, "source_seconds": 1.2, "target_seconds": 1.2,
    }  # fmt: skip
    place = Alignment(5, 55, 60, "audio", ((0.0, pace),))
    return fit_to_source_timing(row | changes, answer, place)


def test_cut_silence_is_put_back_and_the_rest_is_moved() -> None:
    answer, place = clocked()
    assert len(answer) == 50
    tail = answer[30:35]
    assert answer[:15] == tail * 3 and answer[35:] == tail * 3
    assert answer[15:35] == (BASE + codes(2, 4).interleave()).tolist()
    # 0.35 s are 2.92 groups: three were put back, so the target now runs 0.08 of one behind.
    assert place.bends == ((pytest.approx(3 - 0.35 / 0.12), 1.0),)
    faster, place = clocked(2.0, target_start=0.1, target_seconds=0.6)
    assert faster[5:25] == answer[15:35] and len(faster) == 25
    assert place.bends == ((pytest.approx(1 - (0.1 + 0.05 / 2) / 0.12), 2.0),)
    early, place = clocked(target_start=-0.41)
    assert early[:20] == answer[15:35] and place.bends == ((pytest.approx(3.0), 1.0),)


def test_targets_with_another_clock_stay_as_they_are() -> None:
    plain = (BASE + codes(2, 4).interleave()).tolist()
    unknown: list[dict[str, float | None]] = [
        {"target_seconds": 1.0}, {"source_start": None}, {"target_start": None},
    ]  # fmt: skip
    for changes in unknown:
        answer, place = clocked(**changes)
        assert answer == plain and place.bends == ((0.0, 1.0),)


def test_the_loss_is_taken_where_it_is_judged() -> None:
    row = example(4)
    assert row.labels == [IGNORED] * row.prompt + row.ids[row.prompt :]
    part = dataclasses.replace(row, judged=(row.prompt + 5, row.prompt + 15))
    labels = part.labels
    assert len(labels) == len(part.ids)
    kept = [place for place, label in enumerate(labels) if label != IGNORED]
    assert kept == list(range(row.prompt + 5, row.prompt + 15))
    assert all(labels[place] == row.ids[place] for place in kept)


def test_confined_rows_copy_all_but_what_was_put_in() -> None:
    source, target = codes(1, 10), codes(2, 14)
    source, target = (dataclasses.replace(one, start=0.1) for one in (source, target))
    row = {
        "details": json.dumps({"at": 0.1 + 0.12 * 4.5}),
        "target_start": 0.1,
        "source_seconds": 1.4,
        "target_seconds": 1.85,
    }
    part = put_in_part(row, source, target)
    assert part == FreeGroups(4, 5, 5, new=True)
    at_the_end = put_in_part({**row, "details": json.dumps({"at": 1.39})}, source, target)
    assert at_the_end == FreeGroups(9, 10, 5, new=True)
    for change, reason in (
        ({"details": None}, "do not say where"),
        ({"target_start": 0.5}, "begin together"),
        ({"target_seconds": 1.4}, "does not hold"),
    ):
        assert reason in str(put_in_part({**row, **change}, source, target))
