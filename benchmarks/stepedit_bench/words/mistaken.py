"""``stepedit bench mistaken``: whether a transcript of another recording is refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, where_of
from stepedit_core.dsp.noises import mix, synthesise
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import AlignmentError, StepeditError
from stepedit_core.recording.hearing import place_words
from stepedit_core.utterance import Utterance

__all__ = ["CONDITIONS", "Refusals", "mistaken", "other_texts", "refusals"]

CONDITIONS = ("as they are", "pink noise, 5 dB", "8 kHz")
_LEAST_WORDS = 3
_COMPARED = 60
"""Texts among which the one of the most similar length is sought."""


@dataclass(frozen=True)
class Refusals:
    """How many transcripts were refused.

    Attributes:
        part: of the recordings.
        condition: what was done to them, one of ``CONDITIONS``.
        recordings: how many there are.
        right: recordings whose own transcript was refused.
        others: transcripts of other recordings that were offered.
        refused: of those.
        accepted: others that were not refused, as name of the recording and text.
        wrongly: names of the recordings whose own transcript was refused.
    """

    part: str
    condition: str
    recordings: int
    right: int
    others: int
    refused: int
    accepted: tuple[tuple[str, str], ...] = ()
    wrongly: tuple[str, ...] = ()


def other_texts(one: Known, known: Sequence[Known], rng: np.random.Generator) -> tuple[str, ...]:
    """Return two transcripts of other recordings in the language: any, and one of like length.

    Sentences that share half of the words are left out: they are near misses of one another, and
    a transcript with a word wrong is to be taken.
    """
    language = one.language.split("-")[0]
    texts = sorted({other.text for other in known if other.language.split("-")[0] == language})
    drawn = [texts[int(place)] for place in rng.permutation(len(texts))[: 2 * _COMPARED]]
    drawn = [text for text in drawn if not _share_half(text, one.text)][:_COMPARED]
    if not drawn:
        return ()
    near = min(drawn, key=lambda text: abs(len(text) - len(one.text)))
    return tuple(dict.fromkeys((drawn[0], near)))


def _share_half(first: str, second: str) -> bool:
    """Return whether one of two texts has half of its words in the order of the other."""
    ours, theirs = ([word.text.lower() for word in split_words(text)] for text in (first, second))
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    shared = sum(match.size for match in matcher.get_matching_blocks())
    return 2 * shared >= min(len(ours), len(theirs))


def changed(utterance: Utterance, condition: str, rng: np.random.Generator) -> Utterance:
    """Return an utterance under one of the conditions."""
    if condition == CONDITIONS[1]:
        rate = utterance.sample_rate
        noise = synthesise("pink", len(utterance.samples), rate, rng)
        return mix(utterance, noise, 5.0)[0]
    return utterance.resample(8_000) if condition == CONDITIONS[2] else utterance


def _is_refused(utterance: Utterance, text: str) -> bool:
    try:
        place_words(utterance.replace(transcript=text))
    except AlignmentError:
        return True
    return False


def refusals(
    part: str, recordings: Sequence[Known], known: Sequence[Known], condition: str, seed: int = 0
) -> Refusals:
    """Offer each recording its own transcript and those of others, and count what is refused."""
    rng = np.random.default_rng(seed)
    wrongly, accepted = [], []
    others = 0
    for one in recordings:
        texts = other_texts(one, known, rng)
        heard = changed(Utterance.read(one.path, one.text, one.language), condition, rng)
        if _is_refused(heard, one.text):
            wrongly.append(one.path.name)
        others += len(texts)
        accepted += [(one.path.name, text) for text in texts if not _is_refused(heard, text)]
    return Refusals(
        part, condition, len(recordings), len(wrongly), others, others - len(accepted),
        tuple(accepted), tuple(wrongly),
    )  # fmt: skip


def _measured(
    known: Sequence[Known], conditions: Iterable[str], seed: int, longest: float
) -> Iterator[Refusals]:
    usable = [
        one
        for one in known
        if len(one.text.replace(" ", "")) > 3 * _LEAST_WORDS
        and Utterance.read(one.path).seconds <= longest
    ]
    for part in dict.fromkeys(one.part for one in usable):
        own = [one for one in usable if one.part == part]
        for condition in conditions:
            yield refusals(part, own, usable, condition, seed)


@click.command("mistaken", short_help="Measure whether another recording's words are refused.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="language", show_default=True, help="Column that parts come from.")
@click.option("--n", "count", type=click.IntRange(2), default=20, show_default=True)
@click.option("--longest", default=12.0, show_default=True, help="Longest recording in seconds.")
@click.option("--condition", "conditions", multiple=True, type=click.Choice(CONDITIONS))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with what was mistaken.")
def mistaken(
    where: tuple[str, ...], conditions: tuple[str, ...], longest: float, as_json: bool, **given: Any
) -> None:
    """Offer the recordings of MANIFEST their own transcripts and those of others.

    MANIFEST is one that `bench ears` reads. Edits that act at the place of words refuse a
    transcript that is another recording's: a right one should never be refused. Each recording
    gets two wrong ones of its language: any, and the most similar in length of sixty.
    """
    seed = given["seed"]
    known = known_recordings(where=where_of(where), **given)
    found: list[Mapping[str, Any]] = []
    if not as_json:
        click.echo("| recordings | condition | n | own refused | others refused |")
        click.echo("| --- | --- | --- | --- | --- |")
    for row in _measured(known, conditions or CONDITIONS, seed, longest):
        found.append(asdict(row))
        if not as_json:
            click.echo(
                f"| {row.part} | {row.condition} | {row.recordings} | {row.right} | "
                f"{row.refused} of {row.others} |"
            )
    if not found:
        raise StepeditError(f"{given['manifest']}: no recording of at most {longest:g} s")
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
