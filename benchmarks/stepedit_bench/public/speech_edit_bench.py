"""SpeechEditBench v1.1 as a suite: instructions in words, anchors for the judge.

Its folder holds ``data/<task>/samples.jsonl`` with ``sample_id``, ``task``, ``audio_path``,
``instruction``, ``transcript``, ``language`` and ``anchor`` (``components[].anchor`` in
compositional_editing). In the standard setting a system may use instruction and recording alone, so
its words are what a recogniser hears; transcript and anchors are read for judging only.

An anchor that no scorer here can judge leaves its component unscored and says so; an instruction
that the interpreter does not understand is a failure, and so is every sample that needs the
reference recording of another speaker: no edit of ours takes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepedit_bench.public.items import Item, bounded, inside, shortened
from stepedit_bench.public.ming_freeform import changed_regions
from stepedit_bench.public.targets import By, Part, Target, Words, labelled
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import json_lines
from stepedit_core.utterance import Utterance

__all__ = ["read_items"]

_NO_REFERENCE = "no installed edit takes the voice of a reference recording"


class Unjudged(Target):
    """A component that nobody here can judge; a recording that was not made failed in it."""

    def __init__(self, kind: str) -> None:
        """Keep what it is about."""
        self.kind = kind

    def judge(self, source: Utterance, output: Utterance, measures: Any) -> Part:
        """Return no verdict."""
        return Part(self.kind, None, why=f"{self.kind}: no scorer here judges this anchor")

    def lost(self) -> Part:
        """Return a failure."""
        return Part(self.kind, False)


def read_items(folder: Path) -> Iterator[Item]:
    """Yield the samples of every task.

    Raises:
        StepeditError: if there is none, or a sample lacks a field.
    """
    files = sorted((folder / "data").glob("*/samples.jsonl"))
    if not files:
        raise StepeditError(
            f"{folder}: no data/<task>/samples.jsonl; --suite-path names a copy of SpeechEditBench"
        )
    for path in files:
        for line, row in json_lines(bounded(path, "SpeechEditBench")):
            missing = [
                name
                for name in ("sample_id", "task", "audio_path", "instruction")
                if not isinstance(row.get(name), str) or not row[name].strip()
            ]
            if missing:
                raise StepeditError(f"{path}: line {line} lacks {', '.join(missing)}")
            yield _item(row, folder, f"{path}: line {line}")


def _item(row: Mapping[str, Any], root: Path, where: str) -> Item:
    (instruction,) = shortened([row["instruction"].strip()], where)
    (transcript,) = shortened([str(row.get("transcript") or "").strip()], where)
    said = transcript or None
    anchors = _anchors(row, where)
    wanted = said
    for task, anchor in anchors:
        if task.startswith("content"):
            (target,) = shortened([str(anchor.get("transcript_target") or "").strip()], where)
            wanted = target or wanted
    language = str(row.get("language") or "") or None
    targets = tuple(_target(task, anchor, said, wanted, language) for task, anchor in anchors)
    speaker = any(task.startswith("speaker") for task, _ in anchors)
    return Item(
        id=row["sample_id"],
        row=str(row["task"]),
        audio=inside(root, row["audio_path"]),
        language=language,
        instructions=(instruction,),
        said=said,
        wanted=wanted,
        targets=targets,
        problem=_NO_REFERENCE if speaker else None,
        more={"combo_type": row.get("combo_type")} if row.get("combo_type") else {},
    )


def _anchors(row: Mapping[str, Any], where: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (task, anchor) of every component."""
    components = row.get("components")
    if components is None:
        components = [{"edit_type": row["task"], "anchor": row.get("anchor")}]
    found: list[tuple[str, Mapping[str, Any]]] = []
    for one in components if isinstance(components, list) else [None]:
        if not isinstance(one, dict) or not isinstance(one.get("anchor"), dict):
            raise StepeditError(f"{where}: a component without an anchor")
        anchor = one["anchor"]
        task = str(one.get("edit_type") or one.get("component_type") or row["task"])
        found.append((task, anchor))
    return found


def _target(
    task: str,
    anchor: Mapping[str, Any],
    said: str | None,
    wanted: str | None,
    language: str | None,
) -> Target:
    """Return the target of a component."""
    kind = task.removesuffix("_editing")
    if kind == "content" and said and wanted:
        return Words(wanted, changed_regions(said, wanted), language)
    if kind in ("emotion", "style") and anchor.get(f"target_{kind}"):
        return By(labelled(kind, str(anchor[f"target_{kind}"])))
    subtask = str(anchor.get("subtask") or "")
    if kind == "acoustic" and "denois" in subtask:
        return By({"edit": "denoise"})
    return Unjudged(kind)
