"""JSON that is nested too deeply ends in one line wherever it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stepedit_bench.store import Journal as BenchJournal

from stepedit_core.chain.accept import Accept
from stepedit_core.cli.resuming import NAME, Journal
from stepedit_core.errors import StepeditError
from stepedit_core.models.checkpoint.model_files import RouteTable, folder_sampling, read_figures
from stepedit_core.models.text.base import read_tokenizer_config
from stepedit_core.recording.journal import Made, PieceJournal
from stepedit_core.recording.subtitles import read_cues
from stepedit_core.storage.stored_json import json_lines, read_json

DEEP = "[" * 100_000
READERS: dict[str, Callable[[Path], object]] = {
    "limits.json": Accept.read,
    "cues.json": read_cues,
    "any.json": lambda path: read_json(path, "delete it"),
    "rows.jsonl": lambda path: list(json_lines(path)),
    "journal.jsonl": lambda path: BenchJournal(path, "unit", "rows"),
    "sampling.json": lambda path: folder_sampling(path.parent),
    "routes.json": lambda path: RouteTable.load(path.parent),
    "figures.json": lambda path: read_figures(path.parent),
    "tokenizer_config.json": lambda path: read_tokenizer_config(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_a_deep_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(DEEP + "\n")
    with pytest.raises(StepeditError, match=name.replace(".", r"\.")) as caught:
        READERS[name](tmp_path / name)
    assert len(str(caught.value)) < 400


def test_a_deep_line_of_a_journal_counts_as_nothing(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(DEEP + "\n")
    Journal(tmp_path).close([])
    PieceJournal(tmp_path / "out.wav").add("a" * 64, Made(np.zeros(3, np.float32)))
    (lines,) = tmp_path.rglob("*pieces/journal.jsonl")
    lines.write_text(f"{DEEP}\n{lines.read_text()}")
    assert PieceJournal(tmp_path / "out.wav").get("a" * 64) is not None
