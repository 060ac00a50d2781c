"""Units of the trust benchmark: held-out recordings and the edits asked of each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stepedit_core.chain.notation import parse_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.storage.tables import table_rows
from stepedit_core.utterance import Utterance

__all__ = ["PARTS", "Part", "TrustUnit", "recordings", "units"]

Part = Literal["level", "edit", "chain", "iterations"]
PARTS: tuple[Part, ...] = ("level", "edit", "iterations", "chain")
_LEAST, _MOST = 4.0, 10.0
"""Seconds of the stratum ``medium`` of the benchmark."""


@dataclass(frozen=True)
class TrustUnit:
    """One recording and what is asked of it.

    Attributes:
        part: of the benchmark.
        name: unique within it.
        speech: the recording, with its words.
        edits: in order; none for the level.
    """

    part: Part
    name: str
    speech: Utterance
    edits: tuple[Edit, ...] = ()


def recordings(
    folder: Path, sets: str, seed: int, longest: float = _MOST
) -> list[tuple[str, Utterance]]:
    """Return held-out English recordings of 4 to 10 s with words, in drawn order.

    Where the words of a manifest are a recogniser's, word error is agreement with the original.

    Args:
        folder: with a ``manifest.csv``, as for ``stepedit bench figures``.
        sets: how the name of a recording's set begins.
        seed: of the order.
        longest: seconds, where the machine is slow.

    Raises:
        StepeditError: if there is none.
    """
    columns = ("path", "set", "language", "text", "suggested_split", "seconds")
    found = [
        row
        for _, row in table_rows(folder / "manifest.csv", columns)
        if (row["suggested_split"], row["language"]) == ("test", "en")
        and (row["text"].strip() and row["set"].startswith(sets))
        and _LEAST <= float(row["seconds"]) <= min(longest, _MOST)
    ]
    if not found:
        raise StepeditError(f"{folder}: no held-out recording of 4 to 10 s in sets {sets!r}")
    drawn = np.random.default_rng(seed).permutation(len(found))
    return [
        (
            Path(found[at]["path"]).stem,
            Utterance.read(folder / found[at]["path"], found[at]["text"], "en"),
        )
        for at in drawn
    ]


def units(
    speech: Sequence[tuple[str, Utterance]], edits: Sequence[str], chain: Sequence[str], count: int
) -> Iterator[TrustUnit]:
    """Yield what is asked, interleaved, so that a run that is cut short holds some of all.

    Args:
        speech: names and recordings.
        edits: those that are asked of one recording each, in turn, as on the command line.
        chain: the steps of the mixed chain; ``{tagged}`` stands for the words with a breath.
        count: of single edits.
    """
    for name, own in speech:
        yield TrustUnit("level", name, own)
    for number in range(count):
        name, own = speech[number % len(speech)]
        # Each recording meets each edit before any pair comes again.
        asked = edits[(number + number // math.lcm(len(speech), len(edits))) % len(edits)]
        yield TrustUnit("edit", f"{name}/{asked}", own, (parse_edit(asked),))
        turn, rest = divmod(number, 4)
        other, heard = speech[turn % len(speech)]
        if rest == 1:
            yield TrustUnit("iterations", f"{other}/{edits[0]}", heard, (parse_edit(edits[0]),))
        if rest == 3:
            steps = tuple(parse_edit(_with_words(step, heard)) for step in chain)
            yield TrustUnit("chain", other, heard, steps)


def _with_words(step: str, speech: Utterance) -> str:
    """Put a recording's words, with a breath amid them, in the place of ``{tagged}``."""
    words = (speech.transcript or "").split()
    half = len(words) // 2
    tagged = " ".join([*words[:half], "[Breathing]", *words[half:]])
    return step.replace("{tagged}", json.dumps(tagged, ensure_ascii=False))
