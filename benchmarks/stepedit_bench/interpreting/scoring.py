"""Compare the chains read from instructions with those that are expected."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.chain.notation import parse_edit
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError, explain_validation
from stepedit_core.interpretation import (
    Interpretation,
    InterpretationError,
    Reading,
    Setting,
    interpret,
)

__all__ = ["Instruction", "Outcome", "Row", "read_instructions", "run"]

SECONDS = 20.0
"""Duration that instructions without words are about."""
Outcome = Literal["exact", "partial", "wrong", "refused", "asked"]


class Wanted(BaseModel):
    """One edit that is asked for, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edit: str
    where: dict[str, Any] | None = None


Expected = list[Wanted] | Literal["choice"] | None


class Instruction(BaseModel):
    """One or several sentences and what they ask for.

    Attributes:
        say: a sentence, or several that correct each other.
        text: the transcript, or None.
        kind: ``single``, ``compound``, ``scoped``, ``session``, ``refused`` or ``ambiguous``.
        expect: the edits in order, None where it has to be refused, ``choice`` where several
            readings have to be offered.
        also: other answers that are as right, where people would differ.
        language: ``en`` or ``zh``.
        blind: written from the list of edits, before there was a grammar.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: str | list[str]
    text: str | None = None
    kind: str
    expect: Expected
    also: list[Expected] = []
    language: str
    blind: bool


@dataclass(frozen=True)
class Row:
    """Result of reading one instruction.

    Attributes:
        instruction: what was said.
        outcome: ``exact``; ``partial`` (some of the edits and no other one); ``wrong`` (a chain
            would be run that was not asked for); ``refused``; ``asked`` (alternatives were given).
        right: exact, or refused or asked where that was right.
        found: what was read, or why not.
        seconds: computing time, which is what it takes on a core of its own.
    """

    instruction: Instruction
    outcome: Outcome
    right: bool
    found: str
    seconds: float


def read_instructions(file: Path | None = None) -> list[Instruction]:
    """Return the instructions of a JSONL file, by default of the packaged one.

    Raises:
        StepeditError: naming the line that is wrong.
    """
    source = files(__package__).joinpath("instructions.jsonl") if file is None else file
    try:
        lines = source.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise StepeditError(f"{file}: cannot be read ({reason})") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(Instruction.model_validate_json(line))
        except ValidationError as error:
            raise StepeditError(f"{source}: line {number}: {explain_validation(error)}") from error
    return found


def _setting(instruction: Instruction) -> Setting:
    """Return an utterance's facts: the words evenly timed, as nobody speaks here."""
    text = instruction.text
    if text is None:
        return Setting(seconds=SECONDS)
    words, at = [], 0.2
    for word in split_words(text):
        words.append(TimedWord(word.text, round(at, 3), round(at + word.seconds, 3)))
        at += word.seconds + 0.05
    return Setting(text, at + 0.2, Alignment(text, tuple(words), "nominal"))


def _key(edit: Edit, where: dict[str, Any] | None) -> tuple[str, str]:
    """Return a key that equal edits share; case and punctuation of texts do not count."""
    data = {
        key: " ".join(normalised(word) for word in value.replace(".", " ").split())
        if isinstance(value, str)
        else round(value, 3)
        if isinstance(value, float)
        else value
        for key, value in edit.to_data().items()
    }
    place = dict(where or {})
    if "words" in place:
        place["words"] = normalised(place["words"])
    if "spans" in place:
        place["spans"] = [[round(float(edge), 2) for edge in span] for span in place["spans"]]
    return json.dumps(data, sort_keys=True), json.dumps(place, sort_keys=True)


def _of(reading: Reading) -> tuple[str, str]:
    return _key(reading.edit, reading.region.to_data() if reading.region else None)


def _judged(expect: Expected, found: Interpretation) -> tuple[Outcome, bool]:
    """Compare what was read with one answer that is right."""
    if found.alternatives:
        return "asked", expect == "choice"
    read = list(map(_of, found.readings))
    if not isinstance(expect, list):
        return "wrong", False
    wanted = [_key(parse_edit(one.edit), one.where) for one in expect]
    if read == wanted:
        return "exact", True
    left = list(wanted)
    for one in read:
        if one not in left:
            return "wrong", False
        left.remove(one)
    return "partial", False


def _best(instruction: Instruction, found: Interpretation) -> tuple[Outcome, bool]:
    """Compare what was read with every answer that is right, and return the best."""
    judged = [_judged(expect, found) for expect in (instruction.expect, *instruction.also)]
    order = ("exact", "asked", "partial", "wrong")
    return min(judged, key=lambda one: (not one[1], order.index(one[0])))


def run(instructions: Iterable[Instruction], interpreter: str = "grammar") -> list[Row]:
    """Read every instruction; phrases are loaded before the first one is timed."""
    rows: list[Row] = []
    with contextlib.suppress(InterpretationError):
        interpret("warm up", None, interpreter=interpreter)
    for instruction in instructions:
        setting = _setting(instruction)
        sentences: Sequence[str] = (
            [instruction.say] if isinstance(instruction.say, str) else instruction.say
        )
        begin = time.process_time()
        try:
            found = interpret(sentences, setting, interpreter=interpreter)
            outcome, right = _best(instruction, found)
            shown = "; ".join(found.explanation) or f"{len(found.alternatives)} alternatives"
        except InterpretationError as error:
            outcome, right, shown = (
                "refused",
                None in (instruction.expect, *instruction.also),
                str(error),
            )
        seconds = (time.process_time() - begin) / len(sentences)
        rows.append(Row(instruction, outcome, right, shown, seconds))
    return rows
