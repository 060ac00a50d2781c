"""``stepedit bench joins``: steps where words were cut out, beside natural word borders."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, where_of
from stepedit_bench.measuring.voices import embed_speaker
from stepedit_bench.store import read_results
from stepedit_bench.words.phonetic import Odds, odds_of
from stepedit_core.alignment import Alignment, Ear
from stepedit_core.dsp.cutting import Cut, cut_out, join_steps, plan_cut
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.listening import Listener
from stepedit_core.plan import Replacement
from stepedit_core.recording.hearing import align, load_recogniser
from stepedit_core.storage.blocks import sound_seconds
from stepedit_core.utterance import Utterance

__all__ = ["Joins", "Steps", "joins", "measured", "natural_steps", "put_in"]

Pair = tuple[float, float]
_MOST_SECONDS = 3600.0
_BESIDE, _AROUND = 6, 0.1
"""Words on either side of a cut that are listened to, and seconds beside these."""


@dataclass(frozen=True)
class Steps:
    """The steps of one kind of join.

    Attributes:
        what: which joins.
        count: of them.
        below_p95: share of steps below the 95th percentile of natural ones.
        below_p99: share below the 99th.
        median_level: median step of level in dB.
        median_high: median step above 3 kHz in dB.
    """

    what: str
    count: int
    below_p95: float
    below_p99: float
    median_level: float
    median_high: float


@dataclass(frozen=True)
class Joins:
    """Steps in dB, (level, above 3 kHz).

    Attributes:
        natural: between the words of recordings.
        cut: where words were cut out.
        plain: where they were cut at the aligned borders.
        put_in: at both ends of what was put in.
        gone: of each word cut out, whether it is gone and the two words on either side are heard no
            worse than in the source.
        phones: of each word cut out, whether its phones are gone and its neighbours' are there,
            and the same of the controls, by name; nothing of a word whose phones nobody hears.
    """

    natural: Sequence[Pair]
    cut: Sequence[Pair]
    plain: Sequence[Pair]
    put_in: Sequence[Pair] = ()
    gone: Sequence[bool] = ()
    phones: Sequence[Mapping[str, Odds]] = ()

    def table(self) -> list[Steps]:
        """Return the figures of each kind; raises StepeditError where nothing was cut."""
        if not self.cut:
            raise StepeditError("no word was cut: the recordings have too few words")
        limits = np.quantile(np.array(self.natural), [0.95, 0.99], axis=0)
        found = []
        for what, steps in (
            ("natural word borders", self.natural),
            ("words cut out", self.cut),
            ("words cut out at aligned borders", self.plain),
            ("words put in", self.put_in),
        ):
            if not steps:
                continue
            rows = np.array(steps)
            shares = [float((rows <= limit).mean()) for limit in limits]
            level, high = np.median(rows, axis=0).tolist()
            found.append(Steps(what, len(rows), shares[0], shares[1], level, high))
        return found


def natural_steps(utterance: Utterance, alignment: Alignment) -> list[Pair]:
    """Return the steps in the middle of what lies between each two words."""
    gaps = (alignment.gap(n, utterance.seconds) for n in range(1, len(alignment.words)))
    return [join_steps(utterance, (gap.start + gap.end) / 2) for gap in gaps]


def measured(
    recordings: Sequence[Known],
    cuts: int,
    seed: int = 0,
    ear: Ear | None = None,
    by_phones: bool = False,
) -> Joins:
    """Cut words out of recordings, one at a time, and return the steps at the joins.

    Args:
        recordings: whose words are known.
        cuts: in each, drawn by the seed; first and last words stay.
        seed: of the choice.
        ear: hears six words on either side, where given.
        by_phones: listen for the phones at the joins, too, and at those of controls.
    """
    rng = np.random.default_rng(seed)
    natural: list[Pair] = []
    cut: list[Pair] = []
    plain: list[Pair] = []
    gone: list[bool] = []
    phones: list[dict[str, Odds]] = []
    for one in recordings:
        speech = Utterance.read(one.path, one.text, one.language)
        try:
            known = align(speech)
        except StepeditError:
            continue
        natural += natural_steps(speech, known)
        for word in 1 + rng.permutation(max(0, len(known.words) - 2))[:cuts]:
            planned = plan_cut(speech, known, int(word), int(word) + 1)
            made = cut_out(speech, planned)
            cut.append(join_steps(made, planned.start))
            if ear is not None:
                gone.append(_is_gone(ear, speech, known, int(word), made))
            if by_phones:
                other = int(rng.integers(len(known.words)))
                phones.append(odds_of(speech, known, int(word), planned, other))
            span = known.words[int(word)].span
            if span.seconds > 0:
                simple = Cut(span.start, span.end)
                plain.append(join_steps(cut_out(speech, simple), simple.start))
    return Joins(natural, cut, plain, gone=gone, phones=phones)


def _is_gone(ear: Ear, speech: Utterance, known: Alignment, word: int, made: Utterance) -> bool:
    """Say whether a word that was cut out is gone, and its neighbours are heard as before."""
    low, high = max(0, word - _BESIDE), min(len(known.words), word + 1 + _BESIDE)
    texts = [one.text for one in known.words[low:high]]
    place = word - low
    after = " ".join(texts[:place] + texts[place + 1 :])
    change = Replacement(place, place + 1, "", after)
    start = max(0.0, known.words[low].start - _AROUND)
    end = min(speech.seconds, known.words[high - 1].end + _AROUND)
    shorter = speech.seconds - made.seconds
    listener = Listener([ear], " ".join(texts), change, speech.slice((start, end)))
    return listener.hear(made.slice((start, end - shorter))).is_right


def put_in(run: Path) -> tuple[list[Pair], list[Pair]]:
    """Return the steps at both ends of the stretches that a run put in, and how like they sound.

    Likenesses are cosines of speaker vectors: of the new stretch with the whole source, and of what
    it replaced with the source; stretches with too little speech have none.

    Args:
        run: folder of a run of ``replace``, ``insert`` or ``rewrite`` by llm.

    Raises:
        StepeditError: if the run put nothing in.
    """
    steps: list[Pair] = []
    alike: list[Pair] = []
    rows = read_results(run)
    sources = {row["case"]: row for row in rows if row["condition"] == "source"}
    for row in rows:
        changes = (row.get("details") or {}).get("replacements") or []
        spans = [span for change in changes for span in change.get("output_spans", ())]
        if row["condition"] != "edit" or not spans:
            continue
        made = Utterance.read(run / row["audio"])
        source = Utterance.read(run / sources[row["case"]]["audio"])
        steps += [join_steps(made, edge) for span in spans for edge in span]
        if len(spans) == 1:
            start, end = spans[0]
            old = source.slice((start, end + source.seconds - made.seconds))
            with contextlib.suppress(StepeditError):
                voice = embed_speaker(source)
                new = float(voice @ embed_speaker(made.slice((start, end))))
                alike.append((new, float(voice @ embed_speaker(old))))
    if not steps:
        raise StepeditError(f"{run}: nothing was put in by this run")
    return steps, alike


@click.command("joins", short_help="Measure steps where words were cut out.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="speaker", show_default=True, help="Column that is spread over.")
@click.option("--n", "count", type=click.IntRange(1), default=1, show_default=True, help="Each.")
@click.option("--most", type=click.IntRange(1), default=60, show_default=True, help="In all.")
@click.option("--longest", default=60.0, show_default=True, help="Longest recording in seconds.")
@click.option("--cuts", type=click.IntRange(1), default=4, show_default=True, help="A recording.")
@click.option("--recogniser", help="Listen for the words, too, by this one.")
@click.option("--phones", "by_phones", is_flag=True, help="Listen for phones, with controls.")
@click.option("--run", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A run.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def joins(
    most: int,
    longest: float,
    cuts: int,
    recogniser: str | None,
    by_phones: bool,
    run: Path | None,
    as_json: bool,
    where: tuple[str, ...],
    **given: Any,
) -> None:
    """Cut words out of recordings of MANIFEST (as `bench ears` reads it), and measure the joins.

    Steps of level and above 3 kHz over 30 ms on either side, in dB, are held against those in the
    middle of what lies between the own words of the recordings. With --run, the joins of a run of
    replace, insert or rewrite by llm are measured, too, and how like the source what was put in
    sounds, beside what it replaced.
    """
    known = [
        one
        for one in known_recordings(where=where_of(where), **given)
        if sound_seconds(one.path, max_seconds=_MOST_SECONDS) <= longest
    ]
    rng = np.random.default_rng(given["seed"])
    chosen = [known[n] for n in sorted(rng.permutation(len(known))[:most])]
    steps, alike = ([], []) if run is None else put_in(run)
    ear = None if recogniser is None else load_recogniser(recogniser).hear
    figures = replace(measured(chosen, cuts, given["seed"], ear, by_phones), put_in=steps)
    found = figures.table()
    if as_json:
        rows = [asdict(one) for one in found]
        click.echo(
            json.dumps(
                {
                    "joins": rows,
                    "gone": list(figures.gone),
                    "phones": [{k: asdict(v) for k, v in one.items()} for one in figures.phones],
                },
                indent=1,
            )
        )
        return
    names = ("joins", "n", "below p95, %", "below p99, %", "level, dB", "above 3 kHz, dB")
    click.echo(f"| {' | '.join(names)} |")
    click.echo(f"|{' --- |' * len(names)}")
    for one in found:
        click.echo(
            f"| {one.what} | {one.count} | {100 * one.below_p95:.0f} | {100 * one.below_p99:.0f} "
            f"| {one.median_level:.1f} | {one.median_high:.1f} |"
        )
    if figures.gone:
        click.echo(f"gone, neighbours heard: {sum(figures.gone)} of {len(figures.gone)} words")
    if figures.phones:
        _print_phones(figures.phones)
    if alike:
        new, old = np.mean(alike, axis=0)
        click.echo(
            f"likeness with the whole source, {len(alike)} stretches: {new:.3f} put in, {old:.3f} "
            "before"
        )


def _print_phones(phones: Sequence[Mapping[str, Odds]]) -> None:
    """Print how many words are gone, with whole neighbours, by what is heard of their phones."""
    click.echo("| joins, by phones | n | right, % | no rest, % | nothing taken, % |")
    click.echo("| --- | --- | --- | --- | --- |")
    for name in dict.fromkeys(name for one in phones for name in one):
        odds = [one[name] for one in phones if name in one]
        right, gone, whole = (
            100 * float(np.mean(values))
            for values in (
                [one.is_right for one in odds],
                [one.has_no_rest for one in odds],
                [one.is_whole for one in odds],
            )
        )
        click.echo(f"| {name} | {len(odds)} | {right:.0f} | {gone:.0f} | {whole:.0f} |")
