"""MMAE and the ICASSP 2027 Audio Editing Challenge as a suite: messages in, a submission out.

The folder holds ``MMAE-meta.json`` or ``track2_agent.json``: a list (or an object whose ``data``
is one) of ``{"id", "messages": [{"role", "content": [{"type": "text", "text"}, {"type": "audio",
"audio_url"}]}]}``. Texts of the user's messages are instructions that follow each other. Items with
several recordings, and requests that the interpreter does not understand, are failures.

MMAE is judged by its own judge (Qwen3-Omni on rubrics); ``submission.py`` writes what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepedit_bench.public.items import Item, bounded, inside, shortened
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import parse_json

__all__ = ["FILES", "read_items"]

FILES = ("MMAE-meta.json", "track2_agent.json")
JUDGE = "MMAE's own judge; hand in submission.jsonl"


def read_items(folder: Path) -> Iterator[Item]:
    """Yield the items.

    Raises:
        StepeditError: if there is no such file, or it is damaged.
    """
    found = [folder / name for name in FILES if (folder / name).is_file()]
    path = bounded(found[0] if found else folder / FILES[0], "MMAE")
    try:
        data = parse_json(path.read_bytes())
    except ValueError as error:
        raise StepeditError(f"{path}: damaged ({str(error)[:120]}); copy it again") from error
    rows = data.get("data") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise StepeditError(f"{path}: no list of items")
    seen: set[str] = set()
    for number, row in enumerate(rows):
        where = f"{path}: item {number}"
        if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
            raise StepeditError(f"{where}: no messages")
        item = _item(row, number, folder, where)
        if item.id in seen:
            raise StepeditError(f"{where}: the id {item.id!r} is there twice")
        seen.add(item.id)
        yield item


def _item(row: Mapping[str, Any], number: int, root: Path, where: str) -> Item:
    texts, audios = _contents(row["messages"], where)
    problem = None
    if not texts:
        problem = "the messages hold no instruction"
    elif len(audios) != 1:
        problem = f"no installed edit takes {len(audios)} recordings"
    audio = inside(root, audios[0]) if audios else root / "missing.wav"
    return Item(
        id=str(row.get("id") if row.get("id") is not None else number),
        row=str(row.get("complexity") or "mmae"),
        audio=audio,
        instructions=shortened(texts, where),
        problem=problem,
        judged_elsewhere=JUDGE,
    )


def _contents(messages: list[Any], where: str) -> tuple[list[str], list[str]]:
    """Return texts and recordings of the user's messages, in order."""
    texts: list[str] = []
    audios: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            raise StepeditError(f"{where}: a message that is no object")
        if message.get("role") != "user":
            continue
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and part.get("type") == "text":
                texts.append(str(part.get("text") or "").strip())
            elif isinstance(part, dict) and part.get("type") == "audio":
                audios.append(str(part.get("audio_url") or part.get("audio") or ""))
    return [text for text in texts if text], audios
