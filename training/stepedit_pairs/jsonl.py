"""Export to and import from the JSONL that the public Step-Audio-EditX training code reads.

Its fields are ``source_audio, source_text, source_vq02vq06, target_text, target_vq02vq06,
rejected_vq02vq06, task_type, edit_type, edit_info``. Ours stand beside them, so that nothing is
lost on the way back; the public code ignores what it does not know.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from stepedit_core import __version__
from stepedit_core.atomic import lasting_names, replace_file
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.pairs import MAX_MARGIN, MIN_MARGIN
from stepedit_core.storage.locking import sole_writer
from stepedit_core.storage.pair_rows import read_rows
from stepedit_core.storage.stored_json import json_lines, parse_json
from stepedit_core.utterance import Utterance
from stepedit_pairs.public_names import edit_data, public_names
from stepedit_pairs.settings import RunSettings
from stepedit_pairs.shards import SCHEMA, flac_bytes, write_shard

__all__ = ["LAYOUT", "export_jsonl", "import_jsonl", "parse_codes"]

LAYOUT = "step_audio_editx"
"""What an imported run names as its corpus reader."""
ROLES = ("source", "target", "rejected")
FIRST_AUDIO_ID = 65_536
"""Vocabulary id of ``<audio_0>`` in the public tokenizer."""
_BLOCK = 64
_WRONG_ROW = (StepeditError, ValueError, TypeError, KeyError, OSError, pa.ArrowException)
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

    Both appear when they are complete; what an earlier export left there is replaced.

    Args:
        folder: the run.
        file: what to write; the audio goes to ``<name>_audio``.
        as_ids: write codes as ids of the public vocabulary instead of ``<audio_N>`` marks.

    Returns:
        How many rows were written.

    Raises:
        StepeditError: if the folder holds no run or no row, a shard is damaged, or another
            process writes the same file.
    """
    RunSettings.load(folder)
    file = file.resolve()
    sounds = file.parent / f"{file.stem}_audio"
    with sole_writer(file), _beside(sounds) as fresh:
        count = 0

        def write(partial: Path) -> None:
            nonlocal count
            with partial.open("w", encoding="utf-8") as lines:
                for count, row in enumerate(read_rows(folder), start=1):
                    public = _public(row, count, fresh, sounds, as_ids)
                    lines.write(json.dumps(public, ensure_ascii=False) + "\n")
            if count == 0:
                raise StepeditError(f"{folder}: holds no pair to export")
            _exchange(fresh, sounds)

        replace_file(file, write)
    return count


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Make a folder with a name of its own beside another one; what is left of it goes."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise StepeditError(f"{folder}: cannot write there ({error.strerror})") from error
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _exchange(fresh: Path, folder: Path) -> None:
    """Give a finished folder its name; the folder that had it before goes."""
    fresh.chmod(0o755)
    if folder.exists():
        with _beside(folder) as old:
            folder.rename(old / "before")
            fresh.rename(folder)
    else:
        fresh.rename(folder)


def _public(
    row: Mapping[str, Any], number: int, fresh: Path, sounds: Path, as_ids: bool
) -> dict[str, Any]:
    """Return a row under the public names, writing its audio into a folder that is to be."""
    data = parse_json(row["edit_json"])
    task, kind, info = public_names(data)
    found: dict[str, Any] = {}
    for role in ROLES:
        audio, codes = row[f"{role}_audio"], row[f"{role}_codes"]
        if audio is not None:
            name = f"{number:07d}-{role}.flac"
            (fresh / name).write_bytes(audio["bytes"])
            found[f"{role}_audio"] = str(sounds / name)
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
        StepeditError: naming the line that is wrong, or if the folder is not empty; nothing is
            written then.
    """
    if lasting_names(folder):
        raise StepeditError(f"{folder} is not empty; choose another folder")
    folder = folder.absolute()
    with sole_writer(folder.with_name(f"{folder.name}.import")), _beside(folder) as fresh:
        edits, total = _import_rows(file, fresh)
        settings = RunSettings(
            edit=edits.pop() if len(edits) == 1 else "mixed",
            corpus=str(file.resolve()),
            layout=LAYOUT,
            min_margin=1.0,
            stepedit=__version__,
        )
        settings.save(fresh)
        if folder.exists():
            shutil.rmtree(folder)  # holds temporary files at most
        _exchange(fresh, folder)
    return total


def _import_rows(file: Path, folder: Path) -> tuple[set[str], int]:
    """Write the rows of a file as shards; return the names of their edits and their number."""
    block: list[dict[str, Any]] = []
    edits: set[str] = set()
    total = blocks = 0
    for number, public in json_lines(file):
        try:
            row = _row(public, number, file)
            pa.Table.from_pylist([row], schema=SCHEMA)  # it refuses values of another type
        except _WRONG_ROW as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise StepeditError(f"{file}, line {number}: {reason}") from error
        block.append(row)
        edits.add(row["edit"])
        total += 1
        if len(block) == _BLOCK:
            write_shard(folder, blocks, block)
            block, blocks = [], blocks + 1
    if not total:
        raise StepeditError(f"{file}: holds no pair to import")
    if block:
        write_shard(folder, blocks, block)
    return edits, total


def _row(public: Mapping[str, Any], number: int, file: Path) -> dict[str, Any]:
    """Return a public row as one of ours; what it does not say is null."""
    edit = edit_from_data(edit_data(public))
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    row.update({name: public[name] for name in _OWN if public.get(name) is not None})
    row["id"] = str(row["id"] or f"line-{number}")
    row["edit"], row["edit_json"] = edit.name, json.dumps(edit.to_data(), ensure_ascii=False)
    row["source_text"] = public["source_text"] or None
    row["target_text"] = public["target_text"] or None
    if row["items"] is not None and not isinstance(row["items"], list):
        raise StepeditError("items are a list of ids")
    margin = row["margin"]
    if margin is not None and not MIN_MARGIN <= float(margin) <= MAX_MARGIN:
        raise StepeditError(f"margin {margin!r} is outside {MIN_MARGIN:g}..{MAX_MARGIN:g}")
    for role in ROLES:
        codes = parse_codes(public.get(f"{role}_vq02vq06"))
        row[f"{role}_codes"] = codes.token_string() if codes is not None else None
        path, seconds, rate = public.get(f"{role}_audio"), None, None
        if path:
            content, seconds, rate = _sound(Path(path), file)
            row[f"{role}_audio"] = {"bytes": content, "path": f"{role}.flac"}
        elif codes is not None:
            seconds = row.get(f"{role}_seconds") or codes.groups * GROUP_SECONDS
        if role != "rejected":
            row[f"{role}_seconds"] = seconds
        if role == "source" and rate is not None:
            row["sample_rate"] = rate
    for role in ROLES[:2]:
        if row[f"{role}_audio"] is None and row[f"{role}_codes"] is None:
            raise StepeditError(f"neither {role}_audio nor {role}_vq02vq06")
    row["details"] = row["details"] or "{}"
    if not isinstance(parse_json(row["details"]), dict):
        raise StepeditError("details are a JSON object as a text")
    return row


def _sound(path: Path, file: Path) -> tuple[bytes, float, int]:
    """Return a recording as FLAC bytes, its length in seconds and its rate in Hz.

    It is looked for beside the file where it has moved, and decoded whole, whatever its name
    says: a file that is no recording would be found out in training alone.

    Raises:
        AudioError: if there is none, or it cannot be decoded.
    """
    places = [file.parent / path, file.resolve().parent / path.parent.name / path.name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise AudioError(f"{path}: no such recording")
    speech = Utterance.read(found)
    problem = speech.problem()
    if problem:
        raise AudioError(f"{found}: {problem}")
    content = found.read_bytes()
    is_kept = content.startswith(b"fLaC") and speech.channels == 1
    content = content if is_kept else flac_bytes(speech)
    return content, speech.seconds, speech.sample_rate
