"""The public benchmark of Step-Audio-EditX as a suite (``--suite step-audio-edit``).

Source: stepfun-ai/Step-Audio-Edit-Benchmark, read from the user's own copy. Its folder holds
``data/emotion.jsonl`` (2000 rows), ``data/style.jsonl`` (2800), ``data/paralingustic.jsonl``
(4000, its own spelling) and ``prompt_audios/``. Ids there are not unique (56 for 2800 style
rows) and neither are texts, so that cases are keyed by row number.

Iteration 0 is a zero-shot clone: the case's text in the prompt's voice. A paralinguistic text
carries its tag; iteration 0 says the text without it, so that whatever is heard later is the
edit's work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Case
from stepedit_core.stored_json import json_lines

__all__ = ["FILES", "SUITE", "read_suite"]

SUITE = "step-audio-edit"
FILES: Mapping[str, tuple[str, ...]] = {
    "emotion": ("emotion.jsonl",),
    "style": ("style.jsonl",),
    "paralinguistic": ("paralingustic.jsonl", "paralinguistic.jsonl"),
}
"""Edit name to the files that may hold its rows."""
JUDGE_LABELS: Mapping[str, tuple[str, ...]] = {
    "emotion": ("happy", "angry", "sad", "fear", "surprised", "neutral"),
}
"""Classes that the public judge chooses from, where they differ from the edit's own."""
_NEEDED = ("speaker", "gen_text", "prompt_audio", "prompt_text", "lang", "task_sub")
_TAG = re.compile(r"\s*\[[^\]]+\]")


def read_suite(edit: type[Edit], folder: str | Path) -> list[Case] | None:
    """Return the cases of an edit class, or None where the benchmark has no such edit.

    Raises:
        StepeditError: if the folder or its file is absent, or a row lacks a field.
    """
    names = FILES.get(edit.name)
    if names is None:
        return None
    root = Path(folder)
    paths = [root / "data" / name for name in names]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise StepeditError(
            f"{root}: no data/{names[0]}; --suite-path names a copy of "
            "stepfun-ai/Step-Audio-Edit-Benchmark"
        )
    return [_case(edit, row, number, root, found[0]) for number, row in _rows(found[0])]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield row numbers, from 0, and rows."""
    for number, (line, row) in enumerate(json_lines(path)):
        missing = [name for name in _NEEDED if not row.get(name)]
        if missing:
            raise StepeditError(f"{path}: line {line} lacks {', '.join(missing)}")
        yield number, row


def _case(edit: type[Edit], row: Mapping[str, Any], number: int, root: Path, path: Path) -> Case:
    """Return one row as a case."""
    text = str(row["gen_text"])
    said = _TAG.sub("", text) if edit.name == "paralinguistic" else text
    try:
        request = edit(**_parameters(edit, row, text))
    except ValueError as error:
        raise StepeditError(f"{path}: line {number + 1}: {edit.name}: {error}") from error
    meta: dict[str, Any] = {
        "row": number,
        "speaker": row["speaker"],
        "class": row["task_sub"],
        "zero_shot_text": said,
    }
    if edit.name in JUDGE_LABELS:
        meta["judge_labels"] = list(JUDGE_LABELS[edit.name])
    return Case(
        id=f"{edit.name}-{number:04d}",
        edit=request,
        audio=str(root / str(row["prompt_audio"])),
        transcript=str(row["prompt_text"]),
        language=str(row["lang"]),
        meta=meta,
    )


def _parameters(edit: type[Edit], row: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the edit's parameters for a row."""
    if edit.name == "paralinguistic":
        # The rows spell tags as models of 2025 do; an edit may know several spellings.
        spelling = {"tags": "2025"} if "tags" in edit.model_fields else {}
        return {"text": text, **spelling}
    return {"to": row["task_sub"]}
