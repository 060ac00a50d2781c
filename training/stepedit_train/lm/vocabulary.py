"""The vocabulary of a small model: the constant words of all prompts, and how words are spelled."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import ValidationError

from stepedit_core.edit import Edit
from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.models.lm.chat import PromptEncoding, clone_speaker_name
from stepedit_core.models.text.pronunciations import COMMENT, PHONES, WORD
from stepedit_core.prompt import Slot
from stepedit_core.registry.registry import Registry
from stepedit_core.utterance import Utterance

__all__ = [
    "DICTIONARY",
    "POCKETSPHINX",
    "TURN_HEADS",
    "constant_pieces",
    "example_edits",
    "prompt_phrases",
    "read_dictionary",
]

TURN_HEADS: dict[PromptEncoding, tuple[str, ...]] = {
    "r1": ("system\n", "human\n", "assistant\n"),
    "r2": (" system\n", " human\n", " assistant\n"),
}
"""What the chat format puts before each turn."""

# Stand for the words of a user: what lies between them in a prompt is constant.
_SPOKEN, _GIVEN = "Zqxj", "Zqxk"
_SHORTEST = 4
_SHARED = 8
_TAG = re.compile(r"\[[^\[\]\n]+\]")

DICTIONARY = "pronunciations.txt.gz"
POCKETSPHINX = "pocketsphinx"
_SHIPPED = "pocketsphinx/model/en-us/cmudict-en-us.dict"


def _choices(annotation: Any) -> list[Any]:
    """Return the values of a Literal, also inside a union."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return [value for part in get_args(annotation) for value in _choices(part)]
    return []


def example_edits(kind: type[Edit], tags: Iterable[str] = ()) -> Iterator[Edit]:
    """Yield the edits of a class that its annotations let one guess.

    Every value of every Literal field, with the other required fields filled by a word (in
    fields of text also by each tag and a word); what the class refuses is left out.

    Args:
        kind: the class.
        tags: marks in brackets that texts may hold.
    """
    required = {name: f for name, f in kind.model_fields.items() if f.is_required()}
    fills = [_GIVEN, *(f"{tag} {_GIVEN}" for tag in tags)]
    for fill in fills:
        base = {name: fill for name, f in required.items() if f.annotation is str}
        tried = [base] if len(base) == len(required) else []
        for name, info in kind.model_fields.items():
            tried += [{**base, name: value} for value in _choices(info.annotation)]
        for fields in tried:
            try:
                yield kind(**fields)
            except ValidationError:
                continue


def constant_pieces(edit: Edit, encoding: PromptEncoding) -> list[str]:
    """Return the parts of an edit's prompt that do not depend on what anyone says.

    Tags in brackets in the user turn are parts of their own.
    """
    speech = Utterance(np.zeros(16_000, np.float32), 16_000, _SPOKEN)
    prompt = edit.prompt(speech)
    name = clone_speaker_name(_SPOKEN, speech.samples, encoding)
    if encoding == "r1":  # there the name is a hash of the recording
        name = _SPOKEN
    system, user = (
        "".join(
            _SPOKEN if part is Slot.AUDIO else name if part is Slot.SPEAKER else str(part)
            for part in turn
        )
        for turn in (prompt.system, prompt.user)
    )
    words = f"{_SPOKEN}|{_GIVEN}"
    pieces = [*re.split(words, system), *re.split(f"{words}|{_TAG.pattern}", user)]
    return [piece for piece in pieces if len(piece) >= _SHORTEST] + _TAG.findall(user)


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _shared(pieces: Iterable[str]) -> list[str]:
    """Return the common prefixes and suffixes of pieces that begin alike."""
    alike: dict[str, list[str]] = {}
    for piece in set(pieces):
        alike.setdefault(piece[:_SHARED], []).append(piece)
    found = []
    for group in alike.values():
        head = _common_start(group)
        tail = _common_start([piece[::-1] for piece in group])[::-1]
        found += [part for part in (head, tail) if len(part) >= _SHARED]
    return found


def _tags(registry: Registry, kind: type[Edit]) -> list[str]:
    """Return the tags in brackets that the texts of an edit's benchmark cases hold."""
    try:
        cases = registry.cases(kind)
    except StepeditError:
        return []
    return sorted({tag for case in cases for tag in _TAG.findall(str(case.edit.to_data()))})


def prompt_phrases(
    registry: Registry, encoding: PromptEncoding, extra: Sequence[str] = ()
) -> list[str]:
    """Return the phrases of all registered edits' prompts, sorted, without repetition.

    Whole runs of constant words with their label are phrases, and so is what such runs of one
    edit share, so that a new label costs its own bytes alone.

    Args:
        registry: knows the edits.
        encoding: prompt encoding of the model.
        extra: further phrases, such as tags that no benchmark case holds.
    """
    phrases = {*TURN_HEADS[encoding], *extra}
    for info in registry.edits().values():
        tags = _tags(registry, info.edit_class)
        pieces: list[str] = []
        for edit in example_edits(info.edit_class, [*tags, *filter(_TAG.fullmatch, extra)]):
            if not (edit.route_problem("llm") or edit.keeps_codes):
                pieces += constant_pieces(edit, encoding)
        phrases.update(pieces, _shared(p for p in pieces if not _TAG.fullmatch(p)))
    return sorted(phrases)


def read_dictionary(given: str | Path) -> bytes:
    """Return a dictionary in the CMU format as the model folder keeps it, gzip-compressed.

    Of several pronunciations the first is taken. Words that the tokenizer would not look up, such
    as those with digits, are left out; licence and comments become comments.

    Args:
        given: the file, or ``"pocketsphinx"`` for the one that this package ships (CMU
            Pronouncing Dictionary, BSD licence).

    Raises:
        MissingDependencyError: if pocketsphinx is not installed.
        StepeditError: if there is no such file, or it holds no word with phones of ARPAbet.
    """
    path, notice = _shipped() if given == POCKETSPHINX else (Path(given), "")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StepeditError(f"{path}: no readable dictionary ({error.strerror})") from error
    notice += "".join(f"{line}\n" for line in lines if line.startswith((COMMENT, ";;;")))
    words: dict[str, str] = {}
    for line in lines:
        word, _, rest = line.replace("’", "'").partition(" ")
        spelled = [phone.rstrip("012") for phone in rest.partition("#")[0].split()]
        if WORD.fullmatch(word) and spelled and set(spelled) <= set(PHONES):
            words.setdefault(word.lower(), " ".join(spelled))
    if not words:
        raise StepeditError(f"{path} is no pronouncing dictionary in the CMU format")
    remarks = "".join(f"{COMMENT} {line.lstrip('#; ')}\n" for line in notice.splitlines())
    text = "".join(f"{word} {spelled}\n" for word, spelled in sorted(words.items()))
    return gzip.compress((remarks + text).encode(), compresslevel=9, mtime=0)


def _shipped() -> tuple[Path, str]:
    """Return pocketsphinx's dictionary and its licence, which has to go with it."""
    try:
        package = distribution(POCKETSPHINX)
    except PackageNotFoundError as error:
        raise MissingDependencyError(
            "the pronouncing dictionary comes with pocketsphinx: pip install 'stepedit[align]'"
        ) from error
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    licences = [file for file in files if file.name == "LICENSE"]
    notice = licences[0].read_text(encoding="utf-8") if licences else ""
    return Path(str(package.locate_file(_SHIPPED))), notice.partition("WebRTC")[0]
