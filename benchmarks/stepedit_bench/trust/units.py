"""Units of the trust benchmark: held-out recordings and the edits asked of each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from stepedit_bench.heldout.requests import Pools
from stepedit_bench.heldout.speech import LENGTHS, held_out
from stepedit_core.chain.notation import parse_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Measures
from stepedit_core.utterance import Utterance

__all__ = ["Part", "TrustUnit", "held_pools", "recordings", "units"]

Part = Literal["level", "edit", "chain", "iterations"]
SOUNDS = ("Surprise-oh", "laugh", "uhm", "breath")
"""Sounds of the mixed chains, in turn."""


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


def held_pools(
    folder: Path,
    out: Path,
    count: int,
    seed: int,
    measures: Measures,
    lengths: Sequence[str] = ("medium",),
) -> Pools:
    """Return held-out utterances by kind and length, those of ``stepedit bench figures``.

    Where the words of a manifest are a recogniser's, word error is agreement with the original.

    Args:
        folder: with manifests, as for ``stepedit bench figures``.
        out: where the utterances are written.
        count: of each kind and length.
        seed: orders speakers and their recordings.
        measures: whose recogniser is asked for missing words.
        lengths: names of strata.

    Raises:
        StepeditError: if nobody was held out, or a length is unknown.
    """
    unknown = [name for name in lengths if name not in LENGTHS]
    if unknown:
        raise StepeditError(f"no length {unknown[0]!r}: {', '.join(LENGTHS)}")
    strata = [LENGTHS[name] for name in lengths]
    return held_out(folder, out, count, seed, measures, strata)


def recordings(pools: Pools) -> list[tuple[str, Utterance]]:
    """Return names and utterances, real and synthetic in turn."""
    in_turn = [one for row in zip_longest(*pools.values()) for one in row if one is not None]
    return [(one.id, one.speech) for one in in_turn]


def units(
    speech: Sequence[tuple[str, Utterance]], edits: Sequence[str], chain: Sequence[str], count: int
) -> Iterator[TrustUnit]:
    """Yield what is asked, interleaved, so that a run that is cut short holds some of all.

    Args:
        speech: names and recordings.
        edits: those that are asked of one recording each, in turn, as on the command line.
        chain: the steps of the mixed chain; ``{tagged}`` stands for the words with a sound.
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
            sound = SOUNDS[turn % len(SOUNDS)]
            steps = tuple(parse_edit(_with_words(step, heard, sound)) for step in chain)
            yield TrustUnit("chain", other, heard, steps)


def _with_words(step: str, speech: Utterance, sound: str) -> str:
    """Put a recording's words, with a sound amid them, in the place of ``{tagged}``."""
    words = (speech.transcript or "").split()
    half = len(words) // 2
    tagged = " ".join([*words[:half], f"[{sound}]", *words[half:]])
    return step.replace("{tagged}", json.dumps(tagged, ensure_ascii=False))
