"""``stepedit bench align``: how far from the truth aligners place words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, where_of
from stepedit_bench.words.joining import Joined, begins_clearly, join
from stepedit_core.alignment import Alignment
from stepedit_core.chain.chain import Chain
from stepedit_core.chain.notation import parse_edit
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError, counted
from stepedit_core.recording.hearing import align as align_words
from stepedit_core.recording.hearing import load_aligner
from stepedit_core.scoring import Interval
from stepedit_core.storage.blocks import sound_seconds
from stepedit_core.utterance import MAX_SECONDS, Utterance

__all__ = ["Placed", "against", "align", "at_joins", "carried", "placed"]

RESAMPLES = 2_000
_LOOKED_AT = 10  # recordings for each that is short enough


@dataclass(frozen=True)
class Placed:
    """How far from where they belong word starts lie.

    Attributes:
        part: of the recordings.
        what: whose times, and what they are held against.
        median: of the absolute differences, in ms, with a 95 % bootstrap interval over words.
        p90: 90th percentile of the absolute differences, in ms.
        bias: median of the differences, in ms; above 0 is late.
        failed: recordings whose words could not be placed.
    """

    part: str
    what: str
    median: Interval
    p90: float
    bias: float
    failed: int = 0


def placed(
    part: str, what: str, seconds: Sequence[float], failed: int = 0, seed: int = 0
) -> Placed:
    """Return the figures of differences in seconds.

    Raises:
        StepeditError: if there is none.
    """
    if not seconds:
        raise StepeditError(
            f"{part}, {what}: no word was placed; {counted(failed, 'recording')} failed"
        )
    found = 1000 * np.asarray(seconds, dtype=np.float64)
    away = np.abs(found)
    draws = np.random.default_rng(seed).integers(0, len(away), size=(RESAMPLES, len(away)))
    low, high = np.quantile(np.median(away[draws], axis=1), [0.025, 0.975])
    middle = Interval(float(np.median(away)), float(low), float(high), len(away))
    return Placed(
        part, what, middle, float(np.quantile(away, 0.9)), float(np.median(found)), failed
    )


def at_joins(recordings: Sequence[Joined], aligner: str) -> tuple[list[float], int]:
    """Return how late the first word of each clip is placed, and how many recordings failed."""
    late: list[float] = []
    failed = 0
    for one in recordings:
        try:
            found = align_words(one.utterance, aligner)
        except StepeditError:
            failed += 1
            continue
        late += [
            found.words[word].start - start
            for word, start in zip(one.first, one.starts, strict=True)
        ]
    return late, failed


def against(recordings: Iterable[Utterance], aligner: str, other: str) -> tuple[list[float], int]:
    """Return how much later than another aligner one places each word, and how many failed."""
    late: list[float] = []
    failed = 0
    for one in recordings:
        try:
            late += _later(align_words(one, aligner), align_words(one, other))
        except StepeditError:
            failed += 1
    return late, failed


def carried(
    recordings: Iterable[Utterance],
    edit: Callable[[Utterance], str],
    engine: SpeechEngine | None,
    seed: int = 0,
) -> tuple[list[float], int]:
    """Return how much later carried words lie than newly aligned ones, and how many failed.

    Args:
        recordings: with their words.
        edit: returns the edit in one line for a recording.
        engine: for edits by llm.
        seed: of the edits.
    """
    late: list[float] = []
    failed = 0
    for one in recordings:
        try:
            timed = one.replace(alignment=align_words(one))
            made = Chain([parse_edit(edit(one))])(timed, engine, seed=seed).utterance
            if made.alignment is None:
                failed += 1
                continue
            late += _later(made.alignment, align_words(made.replace(alignment=None)))
        except StepeditError:
            failed += 1
    return late, failed


def _later(first: Alignment, second: Alignment) -> list[float]:
    return [a.start - b.start for a, b in zip(first.words, second.words, strict=True)]


def _middle_word(utterance: Utterance) -> str:
    """Return the longest word of the middle half that is said once."""
    words = [word.text for word in align_words(utterance).words]
    inner = words[len(words) // 4 : max(len(words) // 4 + 1, 3 * len(words) // 4)]
    once = [word for word in inner if words.count(word) == 1] or inner
    return max(once, key=len)


def _edits(edits: Sequence[str]) -> list[tuple[str, Callable[[Utterance], str]]]:
    """Return names and makers of edits; ``{word}`` stands for a word of the recording."""

    def maker(text: str) -> Callable[[Utterance], str]:
        return lambda one: text.replace("{word}", _middle_word(one))

    return [(text, maker(text)) for text in edits]


def _names(given: Sequence[str], language: str) -> list[str]:
    """Return the aligners that are installed for a language, of those given or of all."""
    names = []
    for name in given or ("pocketsphinx", "ctc", "whisper", "pauses"):
        try:
            fits = load_aligner(name).knows(language)
        except StepeditError:
            continue
        if fits:
            names.append(name)
    return names


@click.command("align", short_help="Measure where aligners place words against known places.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="language", show_default=True, help="Column that parts come from.")
@click.option("--n", "count", type=click.IntRange(2), default=40, show_default=True)
@click.option("--clips", type=click.IntRange(1), default=3, show_default=True, help="In a join.")
@click.option("--longest", default=9.0, show_default=True, help="Longest clip in seconds.")
@click.option("--aligner", "names", multiple=True, help="Which; all that are installed.")
@click.option("--edit", "edits", multiple=True, help="Carry times through it; {word} is a word.")
@click.option("--engine", default="dsp", show_default=True, help="Name, folder, or dsp.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def align(
    names: tuple[str, ...],
    edits: tuple[str, ...],
    engine: str,
    clips: int,
    longest: float,
    as_json: bool,
    where: tuple[str, ...],
    **given: Any,
) -> None:
    """Measure word times on the recordings of MANIFEST, as `bench ears` reads it.

    Clips are cut where their speech begins and ends, and joined with pauses of 0.05 to 0.5 s: the
    first word of each is known to begin at the join. Clips that may begin with noise or breath are
    left out. Aligners are held against these places and,
    word by word, against PocketSphinx. With --edit, times that an edit carries along are held
    against those of a new alignment, and aligners are measured only where --aligner names them.
    """
    from stepedit_bench.commands import load_choice

    count = given.pop("count")
    known = known_recordings(where=where_of(where), count=_LOOKED_AT * count, **given)
    loaded = load_choice(engine, "auto")
    found: list[Placed] = []
    if not as_json:
        _print_head()
    for part in dict.fromkeys(one.part for one in known):
        short = (one for one in known if one.part == part and _suits(one, longest))
        own = list(islice(short, count))
        if not own:
            raise StepeditError(f"{part}: no recording of at most {longest:g} s begins clearly")
        for row in _of_part(part, own, names, _edits(edits), (loaded, clips, given["seed"])):
            found.append(row)
            if not as_json:
                _print_row(row)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))


def _suits(one: Known, longest: float) -> bool:
    """Say whether a recording is short enough, and speech begins in it without doubt."""
    short = sound_seconds(one.path, max_seconds=MAX_SECONDS) <= longest
    return short and begins_clearly(Utterance.read(one.path))


def _of_part(
    part: str,
    own: Sequence[Known],
    names: Sequence[str],
    edits: Sequence[tuple[str, Callable[[Utterance], str]]],
    settings: tuple[SpeechEngine | None, int, int],
) -> Iterator[Placed]:
    """Yield the figures of one part."""
    engine, clips, seed = settings
    rng = np.random.default_rng(seed)
    groups = [own[n : n + clips] for n in range(0, len(own), clips)]
    joined = [join(group, rng) for group in groups]
    singles = [Utterance.read(one.path, one.text, one.language) for one in own]
    aligners = _names(names, own[0].language) if names or not edits else []
    for name in aligners:
        late, failed = at_joins(joined, name)
        yield placed(part, f"{name} against joins", late, failed, seed)
        if name != "pocketsphinx" and "pocketsphinx" in aligners:
            late, failed = against(singles, name, "pocketsphinx")
            yield placed(part, f"{name} against pocketsphinx", late, failed, seed)
    for text, edit in edits:
        late, failed = carried(singles, edit, engine, seed)
        yield placed(part, f"{text}: carried against anew", late, failed, seed)


def _print_head() -> None:
    """Print the head of a table in Markdown."""
    names = ("recordings", "word starts", "words", "median, ms [95 %]", "90 %, ms", "late, ms")
    click.echo(f"| {' | '.join((*names, 'failed'))} |")
    click.echo(f"|{' --- |' * (len(names) + 1)}")


def _print_row(one: Placed) -> None:
    """Print a row of it."""
    middle = one.median
    click.echo(
        f"| {one.part} | {one.what} | {middle.n} | {middle.mean:.0f} [{middle.low:.0f}, "
        f"{middle.high:.0f}] | {one.p90:.0f} | {one.bias:+.0f} | {one.failed} |"
    )
