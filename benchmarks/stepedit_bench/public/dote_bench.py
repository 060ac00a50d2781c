"""doteBench v1.0 (studio-dots-ai) as a suite: edits as inline XML, in one take or one by one.

Its folder holds ``data/<category>/<shard>/manifest.json`` with cases of ``id``, ``language``,
``source_audio.path`` and ``instruction_xml``. Source and target texts follow from the XML alone;
``annotations`` are for the judge, and are not read. A tag becomes an edit by name:

=====================================  ======================================================
tag                                    edit
=====================================  ======================================================
``<ins>``, ``<del>``, ``<sub targ>``   ``insert``, ``delete``, ``replace``, by words and occurrence
``<emo type level>``                   ``emotion``, in the region; our edit has no level
``<pitch semitones>``                  ``pitch``
``<rate factor>``                      ``speed``
``<pause act="ins"/>``, ``"red"``      ``pause`` of 1 s, of 0.05 s, before the next word
=====================================  ======================================================

``one-take`` runs all edits of a case as one chain from the last place to the first, so that the
places of those that follow hold; ``sequential`` runs them in the order of the text, each finding
its words in what the one before gave.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepedit_bench.measuring.extras import need
from stepedit_bench.public.items import MAX_TEXT, Item, bounded, inside, phrase_at
from stepedit_bench.public.targets import Acoustic, By, Target, Words, labelled
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import read_json

__all__ = ["Operation", "read_items", "read_xml"]

WAYS = ("one-take", "sequential")
PAUSES: Mapping[str, float] = {"ins": 1.0, "red": 0.05}
"""How long a pause is to last, in seconds; the set asks for a direction alone."""
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "ins": (),
    "del": (),
    "sub": ("targ",),
    "emo": ("type", "desc", "level"),
    "pitch": ("semitones",),
    "rate": ("factor",),
    "pause": ("act", "level"),
}
_SPACE_BEFORE = re.compile(r"\s+(?=[,.;:!?…，。；：！？、])")


@dataclass(frozen=True)
class Operation:
    """One tag.

    Attributes:
        kind: name of the tag.
        fields: its attributes.
        text: what it encloses.
        before: (first, stop) of its words in the source text.
        after: the same in the target text.
    """

    kind: str
    fields: Mapping[str, str]
    text: str
    before: tuple[int, int]
    after: tuple[int, int]


def read_xml(xml: str) -> tuple[str, str, tuple[Operation, ...]]:
    """Return the source text, the target text, and the operations in their order.

    Entities of one's own, document types, and anything but the seven tags are refused.

    Raises:
        StepeditError: if it is no such XML; one line.
    """
    if len(xml) > MAX_TEXT:
        raise StepeditError(f"instruction of {len(xml)} characters; {MAX_TEXT} are the most")
    parser = need("defusedxml.ElementTree", "defusedxml", "doteBench's instructions")
    try:
        root = parser.fromstring(f"<edit>{xml}</edit>", forbid_dtd=True)
    except Exception as error:  # ParseError, or a refusal of defusedxml
        raise StepeditError(f"instruction {xml[:80]!r} is no XML: {error}") from error
    source, target = root.text or "", root.text or ""
    marks: list[tuple[Any, tuple[int, int], tuple[int, int]]] = []
    for node in root:
        kind, text = str(node.tag), node.text or ""
        allowed = _FIELDS.get(kind)
        if allowed is None or len(node) or set(node.attrib) - set(allowed):
            raise StepeditError(f"instruction {xml[:80]!r}: <{kind}> is no tag of doteBench")
        old = "" if kind in ("ins", "pause") else text
        new = {"del": "", "sub": node.get("targ", ""), "pause": ""}.get(kind, text)
        if kind == "ins" and target[-1:].isalnum() and new[:1].isalnum() and new[0] < "\u2e80":
            target += " "
        before = (len(source), len(source) + len(old))
        after = (len(target), len(target) + len(new))
        source, target = source + old, target + new
        marks.append((node, before, after))
        tail = node.tail or ""
        glued = kind == "ins" and new[-1:].isalnum() and tail[:1].isalnum() and tail[0] < "\u2e80"
        source, target = source + tail, target + (" " if glued else "") + tail
    operations = tuple(
        Operation(
            str(node.tag),
            {str(name): str(value) for name, value in node.attrib.items()},
            node.text or "",
            _words_in(source, before),
            _words_in(target, after),
        )
        for node, before, after in marks
    )
    return _tidy(source), _tidy(target), operations


def _words_in(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return (first, stop) of the words that begin in a stretch of characters."""
    starts = [word.start for word in split_words(text)]
    first = sum(start < span[0] for start in starts)
    return first, max(first, sum(start < span[1] for start in starts))


def _tidy(text: str) -> str:
    """Return a text whose blanks are in order; its words stay."""
    return _SPACE_BEFORE.sub("", " ".join(text.split()))


# Operations become edits ---------------------------------------------------------------------


def _confined(inner: Mapping[str, Any], text: str, words: tuple[int, int]) -> dict[str, Any]:
    """Return an edit in a region of the text, or alone where the region is all of it."""
    if words == (0, len(split_words(text))):
        return dict(inner)
    phrase, which = phrase_at(text, words)
    return {"edit": "masked", "inner": dict(inner), "words": phrase, "occurrence": which}


def _number(operation: Operation, name: str) -> float:
    try:
        value = float(operation.fields[name])
    except (KeyError, ValueError) as error:
        raise StepeditError(f"<{operation.kind}> lacks a number {name}") from error
    if not math.isfinite(value) or (name == "factor" and value <= 0):
        raise StepeditError(f"<{operation.kind}>: {name}={value:g} is out of range")
    return value


def _label(operation: Operation) -> dict[str, Any]:
    """Return the emotion edit of a tag."""
    kind = operation.fields.get("type")
    if not kind:
        raise StepeditError("no installed edit follows a description of an emotion")
    return labelled("emotion", kind)


def _edit(operation: Operation, text: str, words: tuple[int, int]) -> dict[str, Any]:
    """Return the edit of a tag as data, its words being those of a given text."""
    kind, (first, stop) = operation.kind, words
    count = len(split_words(text))
    if kind in ("del", "sub"):
        phrase, which = phrase_at(text, words)
        find = {"find": phrase, "occurrence": which}
        if kind == "del":
            return {"edit": "delete", **find}
        return {"edit": "replace", **find, "by": operation.fields.get("targ", "")}
    if kind == "ins":
        if first == 0 or first == count:
            return {"edit": "insert", "text": operation.text, "at": "end" if first else "start"}
        phrase, which = phrase_at(text, (first - 1, first))
        where = {"after": phrase, "occurrence": which}
        return {"edit": "insert", "text": operation.text, **where}
    if kind == "pause":
        seconds = PAUSES.get(operation.fields.get("act", ""))
        if seconds is None:
            raise StepeditError(f"<pause>: act={operation.fields.get('act')!r} is unknown")
        if first == 0 or first == count:
            return {"edit": "pause", "seconds": seconds, "at": "end" if first else "start"}
        phrase, which = phrase_at(text, (first - 1, first))
        where = {"after": phrase, "occurrence": which}
        return {"edit": "pause", "seconds": seconds, **where}
    if kind == "emo":
        inner = _label(operation)
    elif kind == "pitch":
        inner = {"edit": "pitch", "semitones": _number(operation, "semitones")}
    else:
        inner = {"edit": "speed", "factor": _number(operation, "factor")}
    return _confined(inner, text, (first, stop))


def _target(operation: Operation) -> Target | None:
    """Return the target of a tag that is not about words."""
    kind = operation.kind
    if kind == "emo":
        request = labelled("emotion", operation.fields.get("type", ""))
        return By(request, operation.before, operation.after)
    if kind == "pitch":
        amount = _number(operation, "semitones")
    elif kind == "rate":
        amount = _number(operation, "factor")
    elif kind == "pause":
        amount = 1.0 if operation.fields.get("act") == "ins" else -1.0
    else:
        return None
    return Acoustic(kind, amount, operation.before, operation.after)  # type: ignore[arg-type]


def compiled(source: str, operations: Sequence[Operation], way: str) -> list[dict[str, Any]]:
    """Return the edits of a case in the order in which they run.

    Raises:
        StepeditError: if a tag is none that an edit could express.
    """
    if way == "one-take":
        return [_edit(one, source, one.before) for one in reversed(operations)]
    edits, text, moved = [], source, 0
    for one in operations:
        first, stop = (place + moved for place in one.before)
        edits.append(_edit(one, text, (first, stop)))
        words = split_words(text)
        begin = words[first].start if first < len(words) else len(text)
        end = words[stop - 1].end if stop > first else begin
        new = {"ins": f" {one.text} ", "del": "", "sub": one.fields.get("targ", "")}.get(one.kind)
        if new is not None:
            text = _tidy(text[:begin] + new + text[end:])
            moved += len(split_words(text)) - len(words)
    return edits


# Cases -------------------------------------------------------------------------------------


def read_items(folder: Path) -> Iterator[Item]:
    """Yield every case twice: in one take, and one edit after the other.

    Raises:
        StepeditError: if there is no manifest, or one is damaged.
    """
    manifests = sorted((folder / "data").glob("*/*/manifest.json"))
    if not manifests:
        raise StepeditError(
            f"{folder}: no data/<category>/<shard>/manifest.json; --suite-path names a copy of "
            "doteBench"
        )
    for path in manifests:
        data = read_json(bounded(path, "doteBench"), "copy it again")
        cases = data.get("cases")
        if not isinstance(cases, list):
            raise StepeditError(f"{path}: no list of cases")
        row = f"{data.get('category')}-{data.get('shard')}"
        for number, case in enumerate(cases):
            for way in WAYS:
                yield _item(case, number, f"{row}/{way}", way, folder, path)


def _item(case: Any, number: int, row: str, way: str, root: Path, path: Path) -> Item:
    """Return one case in one way; an instruction that is no XML is a failure of its own."""
    where = f"{path}: case {number}"
    if not isinstance(case, dict) or not isinstance(case.get("source_audio"), dict):
        raise StepeditError(f"{where}: no source_audio")
    name, xml = str(case.get("id") or number), str(case.get("instruction_xml") or "")
    audio = inside(root, str(case["source_audio"].get("path") or ""))
    language = str(case.get("language") or "en")
    plain = Item(
        name,
        row,
        audio,
        language,
        carry="audio" if way == "sequential" else "latent",
        more={"instruction": xml[:MAX_TEXT], "way": way},
    )
    try:
        source, target, operations = read_xml(xml)
    except StepeditError as error:
        return replace(plain, problem=str(error))
    if not operations or not split_words(source):
        return replace(plain, problem="the instruction asks for nothing")
    texts = [one for one in operations if one.kind in ("ins", "del", "sub")]
    targets: list[Target] = []
    if texts:
        targets.append(Words(target, tuple(one.after for one in texts), language))
    try:
        targets += [one for one in map(_target, operations) if one is not None]
        requests = compiled(source, operations, way)
    except StepeditError as error:
        return replace(
            plain, said=source, wanted=target, targets=tuple(targets), problem=str(error)
        )
    return replace(
        plain,
        requests=tuple(requests),
        transcript=source,
        said=source,
        wanted=target,
        targets=tuple(targets),
    )
