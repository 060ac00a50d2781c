"""Ming-Freeform-Audio-Edit (inclusionAI) as a suite: free instructions on words and sound.

Its folder holds ``meta/<task>/meta_<language>_<set>.csv``, parted by ``|``: file_name, path,
instruction, original_text, edited_text; with or without a line of names. Words go by content
("delete 'hello'") or by index ("delete the characters or words from index 4 to index 10", counted
from 1, both ends included). Whatever names no index is read by the installed interpreter; what it
does not understand is a failure. Beside the rules for words, tasks on sound are judged by the
scorers of the plugins whose edits the instruction was read as.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stepedit_bench.public.items import Item, bounded, inside, phrase_at, shortened
from stepedit_bench.public.targets import By, Target, Words
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import StepeditError
from stepedit_core.interpretation import interpret

__all__ = ["changed_regions", "read_items"]

_COLUMNS = ("file_name", "path", "instruction", "original_text", "edited_text")
_WORDS = ("del", "ins", "sub")
_LANGUAGE = re.compile(r"meta_(en|zh)(?:_|\.)")
_PREFIX = re.compile(
    r"^please recogni[sz]e the language of this speech and transcribe it\.\s*(?:and\s+)?",
    re.IGNORECASE,
)
_UNIT = r"(?:the\s+)?(?:characters?\s+or\s+words?|words?|characters?)\s+"
_RANGE = re.compile(rf"{_UNIT}(?:from|at)\s+index\s+(\d+)(?:\s+to\s+(?:index\s+)?(\d+))?", re.I)
_QUOTED = re.compile(r"[\"'“‘](.+?)[\"'”’](?=[\s.,]|$)")


def read_items(folder: Path) -> Iterator[Item]:
    """Yield the rows of every table.

    Raises:
        StepeditError: if there is none, or a row has not five fields.
    """
    tables = sorted((folder / "meta").glob("*/meta_*.csv"))
    if not tables:
        raise StepeditError(
            f"{folder}: no meta/<task>/meta_<language>_<set>.csv; --suite-path names a copy of "
            "Ming-Freeform-Audio-Edit"
        )
    for path in tables:
        language = _LANGUAGE.search(path.name)
        for line, row in _rows(bounded(path, "Ming-Freeform-Audio-Edit")):
            if tuple(row) != _COLUMNS:
                yield _item(row, line, folder, path, language[1] if language else "en")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield lines and their five fields."""
    with path.open(encoding="utf-8-sig") as file:
        try:
            for line, text in enumerate(file, 1):
                if not text.strip("\n"):
                    continue
                row = text.strip("\n").split("|")  # nothing is quoted
                if len(row) != len(_COLUMNS):
                    raise StepeditError(f"{path}: line {line} has {len(row)} fields, not 5")
                yield line, [cell.strip() for cell in row]
        except UnicodeDecodeError as error:
            raise StepeditError(f"{path}: damaged ({error}); copy it again") from error


def _item(row: Sequence[str], line: int, root: Path, path: Path, language: str) -> Item:
    where = f"{path}: line {line}"
    name, relative, asked, before, after = shortened(row, where)
    instruction = _PREFIX.sub("", asked)
    task = path.parent.name
    of_words = task in _WORDS
    wanted = after or before
    requests: tuple[dict[str, Any], ...] = ()
    problem = None
    try:
        by_index = _by_index(instruction, before) if of_words else None
        requests = () if by_index is None else (by_index,)
    except StepeditError as error:
        problem = str(error)
    targets: tuple[Target, ...] = ()
    if of_words:
        targets = (Words(wanted, changed_regions(before, wanted), language),)
    elif problem is None:
        targets = _sound_targets(instruction, before)
        targets = (*targets, Words(wanted, (), language)) if targets else ()
    return Item(
        id=f"{path.stem}-{line:04d}-{name}",
        row=f"{task}/{path.stem.removeprefix('meta_')}",
        audio=inside(root, relative),
        language=language,
        instructions=(instruction,),
        requests=requests,
        transcript=before,
        said=before,
        wanted=wanted,
        targets=targets,
        problem=problem,
    )


def _sound_targets(instruction: str, text: str) -> tuple[Target, ...]:
    """Return the targets, by plugins' scorers, of an instruction on sound."""
    try:
        chain = interpret(instruction, text).chain
    except StepeditError:
        return ()
    return tuple(By(edit.to_data()) for edit in chain.unrolled())


def _by_index(instruction: str, text: str) -> dict[str, Any] | None:
    """Return the edit of an instruction that counts words, or None for all others.

    Raises:
        StepeditError: if the index lies outside the text, or the verb is unknown.
    """
    match = _RANGE.search(instruction)
    if match is None:
        return None
    words = split_words(text)
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= len(words):
        raise StepeditError(f"index {first} to {last} of a text of {len(words)} words")
    phrase, which = phrase_at(text, (first - 1, last))
    verb, rest = instruction.strip().split(maxsplit=1)[0].lower(), instruction
    quoted = _QUOTED.search(rest)
    if verb in ("delete", "remove"):
        return {"edit": "delete", "find": phrase, "occurrence": which}
    if quoted is None:
        raise StepeditError(f"{instruction[:80]!r} names no words")
    if verb in ("substitute", "replace", "change"):
        return {"edit": "replace", "find": phrase, "by": quoted[1], "occurrence": which}
    if verb in ("insert", "add"):
        side = "before" if re.search(r"\bbefore\b", rest, re.I) else "after"
        return {"edit": "insert", "text": quoted[1], side: phrase, "occurrence": which}
    raise StepeditError(f"{verb!r} is no verb of an edit by index")


def changed_regions(before: str, after: str) -> tuple[tuple[int, int], ...]:
    """Return (first, stop) of the words of a new text that differ from the old one."""
    import difflib

    ours, theirs = ([normalised(w.text) for w in split_words(t)] for t in (before, after))
    codes = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    return tuple((k, m) for kind, _, _, k, m in codes if kind != "equal")
