"""Damaged copies of public test sets are read, or refused in one line."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from stepedit_bench.public import dote_bench, ming_freeform, mmae, real_edit, speech_edit_bench

from stepedit_core.errors import StepeditError
from tests.bench import public_kit
from tests.test_stores_mutations import mutated, revalued

COUNT = int(os.environ.get("STEPEDIT_MUTATIONS", "200")) // 5
SETS: dict[str, tuple[Callable[[Path], int], Callable[[Path], Iterable[object]], str]] = {
    "dote": (public_kit.dote_bench, dote_bench.read_items, "data/*/*/*.json"),
    "ming": (public_kit.ming_freeform, ming_freeform.read_items, "meta/*/*.csv"),
    "real": (public_kit.real_edit, real_edit.read_items, "RealEdit.txt"),
    "speech": (public_kit.speech_edit_bench, speech_edit_bench.read_items, "data/*/*.jsonl"),
    "mmae": (public_kit.mmae, mmae.read_items, "*.json"),
}


@pytest.mark.parametrize("name", SETS)
def test_damage_is_one_line(tmp_path: Path, name: str) -> None:
    make, read, pattern = SETS[name]
    folder = tmp_path / "set"
    make(folder)
    assert list(read(folder))
    files = sorted(folder.glob(pattern))
    wrong = []
    for seed in range(COUNT):
        rng = random.Random(f"{name}/{seed}")
        file = rng.choice(files)
        whole = file.read_bytes()
        change = revalued if file.suffix == ".jsonl" and rng.random() < 0.6 else mutated
        file.write_bytes(change(whole, rng))
        try:
            list(read(folder))
        except StepeditError as error:
            if "\n" in str(error) or len(str(error)) > 500:
                wrong.append(f"{seed}: {error}")
        except Exception as error:
            wrong.append(f"{seed}: {type(error).__name__}: {error}"[:300])
        file.write_bytes(whole)
    assert not wrong, "\n".join(wrong[:10])
