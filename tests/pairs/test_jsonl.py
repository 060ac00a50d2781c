from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stepedit_pairs.jsonl import export_jsonl, import_jsonl, parse_codes
from stepedit_pairs.public_names import edit_data, public_names

from stepedit_core.codes import DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.storage.pair_rows import read_rows
from tests.pairs.making import make_corpus, registry, run_toy

__all__ = ["registry"]

CODES = DualCodes([1, 1023, 5, 6], [0, 4095, 7, 8, 9, 10])


@pytest.mark.parametrize("as_ids", [False, True])
def test_there_and_back_keeps_every_row(registry: Registry, tmp_path: Path, as_ids: bool) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 4)
    run_toy(tmp_path / "run", manifest, engine="fake", min_margin=1.0)
    file = tmp_path / "x" / "train.jsonl"
    assert export_jsonl(tmp_path / "run", file, as_ids=as_ids) == 8
    public = [json.loads(line) for line in file.read_text().splitlines()]
    needed = {"source_audio", "source_text", "source_vq02vq06", "target_text", "target_vq02vq06",
              "task_type", "edit_type", "edit_info"}  # fmt: skip
    assert all(needed <= set(row) for row in public) and Path(public[0]["source_audio"]).is_file()
    first = public[0]["source_vq02vq06"]
    assert first[0] < 65536 + 1024 if as_ids else first.startswith("<audio_")
    assert import_jsonl(file, tmp_path / "back") == 8
    before, after = list(read_rows(tmp_path / "run")), list(read_rows(tmp_path / "back"))
    assert before == after


def test_moved_audio_is_found_beside_the_file(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 1)
    run_toy(tmp_path / "run", manifest, min_margin=1.0)
    export_jsonl(tmp_path / "run", tmp_path / "x" / "t.jsonl")
    (tmp_path / "x").rename(tmp_path / "y")
    assert import_jsonl(tmp_path / "y" / "t.jsonl", tmp_path / "back") == 2


def test_code_formats() -> None:
    marks = CODES.token_string()
    assert marks.startswith("<audio_1><audio_1023><audio_1024><audio_5119>")
    ids = [65536 + int(token) for token in CODES.interleave()]
    assert parse_codes(marks) == parse_codes(ids) == CODES
    assert parse_codes("") is None and parse_codes([]) is None
    with pytest.raises(ValueError, match="nothing else"):
        parse_codes("<audio_1> or so")


def test_public_names_of_the_built_in_edits() -> None:
    named = {
        ("edit", "emotion", "happy"): {"edit": "emotion", "to": "happy"},
        ("edit", "style", "remove"): {"edit": "style", "to": "remove"},
        ("edit", "speed", "more faster"): {"edit": "speed", "rate": "more_faster"},
        ("edit", "denoise", ""): {"edit": "denoise"},
        ("edit", "vad", ""): {"edit": "trim_silence"},
    }
    for public, own in named.items():
        assert public_names(own) == public
        task, kind, info = public
        assert edit_data({"task_type": task, "edit_type": kind, "edit_info": info}) == own
    assert public_names({"edit": "clone", "text": "Hi"}) == ("clone", None, None)
    assert edit_data({"task_type": "clone", "target_text": "Hi"}) == {"edit": "clone", "text": "Hi"}
    with pytest.raises(StepeditError, match="edit_type 'dub' is not known"):
        edit_data({"edit_type": "dub"})


def test_a_file_of_the_public_code_with_codes_alone(tmp_path: Path) -> None:
    set_registry(None)
    row = {
        "source_audio": "", "source_text": "Hello.", "target_text": "Hello.",
        "source_vq02vq06": CODES.token_string(), "target_vq02vq06": CODES.token_string(),
        "rejected_vq02vq06": CODES.token_string(), "edit_type": "emotion", "edit_info": "sad",
    }  # fmt: skip
    file = tmp_path / "public.jsonl"
    file.write_text(json.dumps(row) + "\n")
    assert import_jsonl(file, tmp_path / "run") == 1
    (found,) = read_rows(tmp_path / "run")
    assert json.loads(found["edit_json"]) == {"edit": "emotion", "to": "sad"}
    assert found["rejected_codes"] == CODES.token_string() and found["margin"] is None
    np.testing.assert_allclose(found["target_seconds"], 0.24)


def test_bad_lines_are_named(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    good = {"source_text": "a", "target_text": "a", "edit": {"edit": "quieter"}}
    cases = {
        "no field 'source_text'": {"target_text": "a", "edit": {"edit": "quieter"}},
        "neither source_audio nor source_vq02vq06": good,
        "no such recording": {**good, "source_audio": "gone.flac"},
        "should be a linguistic code": {**good, "source_vq02vq06": "<audio_2000>"},
        "unknown edit": {**good, "edit": {"edit": "louder"}},
    }
    for reason, row in cases.items():
        file.write_text("\n" + json.dumps(row) + "\n")
        with pytest.raises(StepeditError, match=rf"bad\.jsonl, line 2: .*{reason}"):
            import_jsonl(file, tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(StepeditError, match="not empty"):
        import_jsonl(file, tmp_path / "full")
