"""What the mel decoder is told in training: places of pairs, labels, and how both are spoilt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stepedit_train.corruption import mix_source_rows, scramble_rows
from stepedit_train.decoder.examples import Example, ExampleMaker, after_gap, examples_of, gap_of
from stepedit_train.decoder.store import MelStore, read_target_maps, write_target_maps

from tests.train.decoder.test_mel import make_store, settings

SPEED = {"edit": "speed", "rate": "faster"}


def write_pairs(folder: Path, *rows: dict[str, Any]) -> None:
    plain = {"details": "{}", "source_start": 0.1, "target_start": 0.1}
    times = {"source_seconds": 2.7, "target_seconds": 2.0}
    full = [
        plain | times | row | {"id": f"e{number}", "edit_json": json.dumps(row["edit_json"])}
        for number, row in enumerate(rows)
    ]
    (folder / "shards").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(full), folder / "shards" / "part-0.parquet")


def test_places_of_pairs(tmp_path: Path) -> None:
    write_pairs(
        tmp_path / "speed",
        {"edit_json": SPEED},
        {"edit_json": {"edit": "denoise"}, "source_seconds": 2.0, "target_start": 0.34},
        {"edit_json": {"edit": "emotion", "to": "sad"}},
        {
            "edit_json": {"edit": "paralinguistic", "text": "so [laugh] it is"},
            "details": json.dumps({"at": 0.7}),
            "source_seconds": 1.0,
            "target_seconds": 1.6,
        },
    )
    write_pairs(tmp_path / "strange", {"edit_json": {"edit": "nobody_brings_it"}})
    assert write_target_maps(tmp_path, tmp_path / "strange") == 1
    assert read_target_maps(tmp_path)["strange", "e0"].places(9) is None
    assert write_target_maps(tmp_path, tmp_path / "speed") == 4
    told = read_target_maps(tmp_path)
    faster, denoised, sad, laugh = (told["speed", f"e{n}"] for n in range(4))
    places = faster.places(30)
    assert places is not None and faster.label == "speed"
    seconds = 0.1 + 0.04 * (np.arange(30) + 0.5)  # of the target
    assert places == pytest.approx((1.35 * seconds - 0.1) / 0.04 - 0.5, abs=1e-4)
    moved = denoised.places(3)
    assert moved is not None and moved == pytest.approx([6.0, 7.0, 8.0], abs=1e-4)
    assert sad.places(9) is None and sad.label == "emotion:sad" and sad.labelled(9).all()
    places = laugh.places(60)
    assert places is not None and laugh.label == "paralinguistic:laugh"
    assert places[:15] == pytest.approx(range(15), abs=1e-4)
    assert np.isnan(places[15:30]).all() and laugh.labelled(60).sum() == 15
    assert places[30:] == pytest.approx(range(15, 45), abs=1e-4)


def maker(folder: Path, pace: float = 1.35, **changes: object) -> ExampleMaker:
    make_store(folder / "store")
    rows = [{"edit_json": SPEED, "source_seconds": 2.0 * pace}] * 8
    write_pairs(folder / "speed", *rows)
    write_target_maps(folder / "store", folder / "speed")
    return ExampleMaker(settings(folder, untold=0.0, **changes), MelStore(folder / "store"))


def test_places_and_labels_of_examples(tmp_path: Path) -> None:
    sizes = {"sizes": settings(tmp_path).sizes.model_copy(update={"labels": ("x", "speed")})}
    made = maker(tmp_path, **sizes)
    items, rng = made.store.items, np.random.default_rng(0)
    source, target = (
        next(i for i, item in enumerate(items) if (item.id, item.role) == ("e3", role))
        for role in ("source", "target")
    )
    forward = made.make(Example(target, source, "speed"), rng, disturbed=False)
    back = made.make(Example(source, target, "speed"), rng, disturbed=False)
    own = made.make(Example(source, source, "self"), rng, disturbed=False)
    other = made.make(Example(source, None, "other"), rng, disturbed=False)
    known = np.isfinite(forward.places)
    assert known[:20].all() and not known[-4:].any()  # of a source that is as long as its target
    assert np.diff(forward.places[known]) == pytest.approx(1.35, abs=1e-4)
    assert np.nanmean(np.diff(back.places)) == pytest.approx(1 / 1.35, abs=1e-4)
    assert own.places.tolist() == list(range(30))
    if other.prompt is not own.prompt:
        assert (forward.labels == 2).all() and not back.labels.any()
    assert np.isnan(other.places).all()


def test_a_gap_takes_places_with_it() -> None:
    rng = np.random.default_rng(1)
    rows, mel = np.arange(120).reshape(60, 2), np.arange(120.0, dtype=np.float32)[:, None]
    kept = gap_of(60, rng)
    places = np.arange(60, dtype=np.float32) + 0.2
    left, heard, moved = after_gap(rows, mel, places, kept)
    assert 12 <= len(kept) <= 48 and len(heard) == 2 * len(left)
    found = np.isfinite(moved)
    assert np.flatnonzero(found).tolist() == kept.tolist()
    assert (left[np.round(moved[found]).astype(int)] == rows[kept]).all()


def test_mixed_source_rows() -> None:
    rng = np.random.default_rng(0)
    target, source = np.zeros((3000, 2), np.int64), np.arange(6000).reshape(3000, 2) + 1
    places = np.arange(3000, dtype=np.float32) + 3.0
    places[-300:] = np.nan
    shares = []
    for _ in range(40):
        rows = mix_source_rows(target, source, places, rng)
        copied = rows.any(axis=1)
        assert (rows[copied] == source[np.flatnonzero(copied) + 3]).all()
        assert not copied[-300:].any()
        shares.append(copied[:-300].mean())
    assert min(shares) < 0.25 and max(shares) > 0.8


def test_a_model_that_misunderstands_says_other_parts() -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(1800).reshape(900, 2)
    shares = []
    for _ in range(40):
        changed = scramble_rows(rows, rng)
        wrong = (changed != rows).any(axis=1)
        shifts = (changed[wrong] - rows[wrong])[:, 0] % 1800
        assert len(set(shifts.tolist())) == 1 and shifts[0] % 6 == 0
        shares.append(wrong.mean())
    assert min(shares) < 0.2 and max(shares) > 0.8
    assert (scramble_rows(rows[:21], rng) == rows[:21]).all()


def test_noise_stays_where_nobody_asked_to_take_it_away(tmp_path: Path) -> None:
    sizes = settings(tmp_path).sizes.model_copy(update={"labels": ("denoise",)})
    made = maker(tmp_path, sizes=sizes, spoilt=("speed",), noisy=1.0, clean=1.0, self_share=1.0)
    items, rng = made.store.items, np.random.default_rng(0)
    examples = examples_of(made.store, made.settings, "train")
    kinds = [example.kind for example in examples]
    assert kinds.count("noisy") == 6 and kinds.count("self") > 0
    for example in examples:
        if example.kind in ("self", "noisy"):
            labels = made.make(example, rng, disturbed=True).labels
            assert labels.any() == (items[example.target].role == "plain")
            assert (example.kind == "noisy") == (items[example.target].role == "source")


def test_scrambled_codes(
    tmp_path: Path,
) -> None:
    sizes = settings(tmp_path).sizes.model_copy(update={"labels": ("denoise",)})
    for clean, kept in ((0.0, True), (1.0, False)):
        changes = {"mislead": 1.0, "disturb": 0.0, "clean": clean, "self_share": 1.0}
        made = maker(tmp_path / f"{kept}", sizes=sizes, **changes)
        rng = np.random.default_rng(0)
        own = [e for e in examples_of(made.store, made.settings, "train") if e.kind == "self"]
        same = [
            (part.rows == made.store.rows(e.target)[: len(part.rows)]).all()
            for e in own
            for part in [made.make(e, rng, disturbed=True)]
        ]
        assert all(same) if kept else not all(same)


def test_shares_repeat_pairs_in_training_alone(tmp_path: Path) -> None:
    make_store(tmp_path / "store")
    store, own = MelStore(tmp_path / "store"), settings(tmp_path, shares={"speed": 3.0})
    for split, count in (("train", 18), ("dev", 2)):
        assert [e.kind for e in examples_of(store, own, split)].count("speed") == count
