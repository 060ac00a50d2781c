"""Export to and import from the JSONL that the public Step-Audio-EditX training code reads.

Its fields are ``source_audio, source_text, source_vq02vq06, target_text, target_vq02vq06,
rejected_vq02vq06, task_type, edit_type, edit_info``. Ours stand beside them, so that nothing is
lost on the way back; the public code ignores what it does not know.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import soundfile as sf

from stepedit_core import __version__
from stepedit_core.atomic import write_atomically
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.pair_rows import read_rows
from stepedit_pairs.public_names import edit_data, public_names
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import SCHEMA, write_shard

__all__ = ["LAYOUT", "export_jsonl", "import_jsonl", "parse_codes"]

LAYOUT = "step_audio_editx"
"""What an imported run names as its corpus reader."""
ROLES = ("source", "target", "rejected")
FIRST_AUDIO_ID = 65_536
"""Vocabulary id of ``<audio_0>`` in the public tokenizer."""
_BLOCK = 64
_MARK = re.compile(r"<audio_(\d+)>")
_OWN = (
    "id", "margin", "details", "speaker", "language", "corpus", "split", "licence", "items",
    "builder", "builder_version", "plugin", "seed", "stepedit", "source_seconds",
    "target_seconds", "sample_rate", "source_start", "target_start",
)  # fmt: skip


def parse_codes(value: Any) -> DualCodes | None:
    """Return the codes of a field: ``<audio_N>`` marks, or ids of the public vocabulary.

    Raises:
        ValueError: if it holds anything else.
    """
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, str):
        tokens = [int(number) for number in _MARK.findall(value)]
        if _MARK.sub("", value).strip():
            raise ValueError("codes are <audio_N> marks and nothing else")
    else:
        tokens = [int(number) - FIRST_AUDIO_ID for number in value]
    return DualCodes.from_interleaved(tokens)


def _ids(codes: DualCodes | None) -> list[int] | None:
    return None if codes is None else [int(n) + FIRST_AUDIO_ID for n in codes.interleave()]


def export_jsonl(folder: Path, file: Path, *, as_ids: bool = False) -> int:
    """Write the rows of a run as JSON lines, and their audio into a folder beside the file.

    Args:
        folder: the run.
        file: what to write; the audio goes to ``<name>_audio``.
        as_ids: write codes as ids of the public vocabulary instead of ``<audio_N>`` marks.

    Returns:
        How many rows were written.

    Raises:
        StepeditError: if the folder holds no run.
    """
    RunSettings.load(folder)
    sounds = file.resolve().parent / f"{file.stem}_audio"
    partial, count = file.with_name(f".{file.name}.partial"), 0
    file.resolve().parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", encoding="utf-8") as lines:
        for count, row in enumerate(read_rows(folder), start=1):
            public = _public(row, count, sounds, as_ids)
            lines.write(json.dumps(public, ensure_ascii=False) + "\n")
    partial.replace(file)
    return count


def _public(row: Mapping[str, Any], number: int, sounds: Path, as_ids: bool) -> dict[str, Any]:
    """Return a row under the public names, writing its audio."""
    data = json.loads(row["edit_json"])
    task, kind, info = public_names(data)
    found: dict[str, Any] = {}
    for role in ROLES:
        audio, codes = row[f"{role}_audio"], row[f"{role}_codes"]
        if audio is not None:
            path = sounds / f"{number:07d}-{role}.flac"
            write_atomically(path, audio["bytes"])
            found[f"{role}_audio"] = str(path)
        if role != "rejected" or codes is not None:
            found[f"{role}_vq02vq06"] = _ids(parse_codes(codes)) if as_ids else codes or ""
    return {
        **found,
        "source_text": row["source_text"] or "",
        "target_text": row["target_text"] or "",
        "task_type": task,
        "edit_type": kind,
        "edit_info": info,
        "emotion": info or "",
        "edit": data,
        **{name: row.get(name) for name in _OWN},
    }


def import_jsonl(file: Path, folder: Path) -> int:
    """Read JSON lines of the public training data into a run's folder.

    Rows need ``source_text``, ``target_text`` and either audio or codes on both sides; audio
    paths are absolute or relative to the file. A target without audio keeps its codes alone.

    Returns:
        How many rows were read.

    Raises:
        StepeditError: naming the line that is wrong, or if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StepeditError(f"{folder} is not empty; choose another folder")
    block: list[dict[str, Any]] = []
    edits: set[str] = set()
    total = blocks = 0
    for number, row in _lines(file):
        try:
            block.append(_row(row, number, file))
        except (StepeditError, ValueError, KeyError, OSError, sf.LibsndfileError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise StepeditError(f"{file}, line {number}: {reason}") from error
        edits.add(block[-1]["edit"])
        total += 1
        if len(block) == _BLOCK:
            write_shard(folder, blocks, block)
            block, blocks = [], blocks + 1
    if block:
        write_shard(folder, blocks, block)
    settings = RunSettings(
        edit=edits.pop() if len(edits) == 1 else "mixed",
        corpus=str(file.resolve()),
        layout=LAYOUT,
        min_margin=1.0,
        stepedit=__version__,
    )
    settings.save(folder)
    return total


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise StepeditError(f"{file}, line {number}: a row is a JSON object")
                    yield number, row
    except OSError as error:
        raise StepeditError(f"{file}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise StepeditError(f"{file}, line {number}: not JSON ({error})") from error


def _row(public: Mapping[str, Any], number: int, file: Path) -> dict[str, Any]:
    """Return a public row as one of ours; what it does not say is null."""
    edit = edit_from_data(edit_data(public))
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    row.update({name: public[name] for name in _OWN if public.get(name) is not None})
    row["id"] = str(row["id"] or f"line-{number}")
    row["edit"], row["edit_json"] = edit.name, json.dumps(edit.to_data(), ensure_ascii=False)
    row["source_text"] = public["source_text"] or None
    row["target_text"] = public["target_text"] or None
    for role in ROLES:
        codes = parse_codes(public.get(f"{role}_vq02vq06"))
        row[f"{role}_codes"] = codes.token_string() if codes is not None else None
        path = public.get(f"{role}_audio")
        if path:
            row[f"{role}_audio"] = {"bytes": _sound(Path(path), file), "path": f"{role}.flac"}
        if role != "rejected" and row.get(f"{role}_seconds") is None:
            row[f"{role}_seconds"] = _seconds(row[f"{role}_audio"], codes)
    for role in ROLES[:2]:
        if row[f"{role}_audio"] is None and row[f"{role}_codes"] is None:
            raise StepeditError(f"neither {role}_audio nor {role}_vq02vq06")
    row["details"] = row["details"] or "{}"
    return row


def _sound(path: Path, file: Path) -> bytes:
    """Return a recording as FLAC bytes, looking beside the file where it has moved."""
    places = [file.parent / path, file.resolve().parent / path.parent.name / path.name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise StepeditError(f"{path}: no such recording")
    if found.suffix == ".flac":
        return found.read_bytes()
    samples, rate = sf.read(found, dtype="float32")
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _seconds(audio: Mapping[str, Any] | None, codes: DualCodes | None) -> float | None:
    if audio is not None:
        return float(sf.info(io.BytesIO(audio["bytes"])).duration)
    return codes.groups * GROUP_SECONDS if codes is not None else None
