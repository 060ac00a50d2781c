"""``stepedit bench joins``: steps where words were cut out, beside natural word borders."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, where_of
from stepedit_bench.measuring.voices import embed_speaker
from stepedit_bench.store import read_results
from stepedit_bench.words.phonetic import control_odds, odds_at
from stepedit_bench.words.spoken import Spoken, around, spoken_both_ways
from stepedit_core.alignment import Alignment, Ear
from stepedit_core.dsp.cutting import EARS, Cut, cut_out, join_steps, plan_cut
from stepedit_core.dsp.phone_joins import PhoneOdds, phones_around
from stepedit_core.dsp.words import normalised
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import align, load_recogniser
from stepedit_core.storage.blocks import sound_seconds
from stepedit_core.utterance import Utterance

__all__ = ["CHOICES", "CutOut", "Joins", "Steps", "joins", "measured", "natural_steps", "put_in"]

Pair = tuple[float, float]
_MOST_SECONDS = 3600.0
CHOICES: Mapping[str, tuple[str, ...]] = {
    "words cut out": EARS,
    "place chosen by PocketSphinx": ("pocketsphinx",),
    "place chosen by level and spectrum alone": (),
}
"""Names of the cuts that are measured, and who listens to choose the place."""


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
class CutOut:
    """One word that was cut out.

    Attributes:
        steps: at the join, in dB, (level, above 3 kHz).
        heard: by each recogniser, whether the word is gone and the words beside it are heard no
            worse than in the source.
        phones: whether its phones are gone and its neighbours' are there; None where nobody
            listened for them, or none was heard before.
    """

    steps: Pair
    heard: Mapping[str, bool]
    phones: PhoneOdds | None = None


@dataclass(frozen=True)
class Joins:
    """Steps in dB, (level, above 3 kHz), and what is heard.

    Attributes:
        natural: between the words of recordings.
        cut: words that were cut out, by the name of who chose the place.
        plain: where they were cut at the aligned borders.
        put_in: at both ends of what was put in.
        controls: what the measure by phones says of cuts whose truth is known, by name.
        spoken: the same sentences as a synthesiser says them.
    """

    natural: list[Pair]
    cut: Mapping[str, list[CutOut]]
    plain: list[Pair]
    put_in: Sequence[Pair] = ()
    controls: Mapping[str, Sequence[PhoneOdds]] = field(default_factory=dict)
    spoken: Sequence[Spoken] = ()

    def table(self) -> list[Steps]:
        """Return the figures of each kind; raises StepeditError where nothing was cut."""
        if not any(self.cut.values()):
            raise StepeditError("no word was cut: the recordings have too few words")
        limits = np.quantile(np.array(self.natural), [0.95, 0.99], axis=0)
        found = []
        for what, steps in (
            ("natural word borders", self.natural),
            *((name, [one.steps for one in cuts]) for name, cuts in self.cut.items()),
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
    ears: Mapping[str, Ear] = MappingProxyType({}),
    by_phones: bool = False,
    words: frozenset[str] = frozenset(),
    speak: str | None = None,
    choices: Mapping[str, Sequence[str]] = CHOICES,
) -> Joins:
    """Cut words out of recordings, one at a time, and return the steps at the joins.

    Args:
        recordings: whose words are known.
        cuts: in each, drawn by the seed; first and last words stay.
        seed: of the choice.
        ears: hear six words on either side; by name.
        by_phones: listen for the phones at the joins, too, and at those of controls.
        words: which may be cut out, as `normalised` returns them; empty are all.
        speak: command that says the sentences, as `spoken.said` takes it.
        choices: names of the cuts, and who listens to choose the place of each.
    """
    rng = np.random.default_rng(seed)
    found = Joins([], {name: [] for name in choices}, [])
    controls: dict[str, list[PhoneOdds]] = {}
    spoken: list[Spoken] = []
    for one in recordings:
        speech = Utterance.read(one.path, one.text, one.language)
        try:
            known = align(speech)
        except StepeditError:
            continue
        found.natural.extend(natural_steps(speech, known))
        drawn = [int(n) for n in 1 + rng.permutation(max(0, len(known.words) - 2))]
        fit = [n for n in drawn if not words or normalised(known.words[n].text) in words]
        for word in fit[:cuts]:
            for name, cut in _cuts_of(speech, known, word, ears, by_phones, choices):
                found.cut[name].append(cut)
            if by_phones:
                other = int(rng.integers(len(known.words)))
                for name, odds in control_odds(speech, known, word, other):
                    controls.setdefault(name, []).append(odds)
            if speak is not None:
                said = spoken_both_ways(speak, known, word, one.language, ears)
                spoken += [said] if said is not None else []
            span = known.words[word].span
            if span.seconds > 0:
                simple = Cut(span.start, span.end)
                found.plain.append(join_steps(cut_out(speech, simple), simple.start))
    return replace(found, controls=controls, spoken=spoken)


def _cuts_of(
    speech: Utterance,
    known: Alignment,
    word: int,
    ears: Mapping[str, Ear],
    by_phones: bool,
    choices: Mapping[str, Sequence[str]],
) -> Iterator[tuple[str, CutOut]]:
    """Yield what is measured of the cuts of one word, by the name of who chose them."""
    expected = phones_around(speech, known, word, word + 1) if by_phones else None
    known_cuts: dict[Cut, CutOut] = {}
    for name, choosing in choices.items():
        cut = plan_cut(speech, known, word, word + 1, choosing)
        if cut not in known_cuts:
            made = cut_out(speech, cut)
            heard = {title: _is_gone(ear, speech, known, word, made) for title, ear in ears.items()}
            odds = None if expected is None else odds_at(speech, cut, expected)
            known_cuts[cut] = CutOut(join_steps(made, cut.start), heard, odds)
        yield name, known_cuts[cut]


def _is_gone(ear: Ear, speech: Utterance, known: Alignment, word: int, made: Utterance) -> bool:
    """Say whether a word that was cut out is gone, and its neighbours are heard as before."""
    asked = around(known, word, speech.seconds)
    shorter = speech.seconds - made.seconds
    return asked.is_gone(ear, speech, made.slice((asked.span.start, asked.span.end - shorter)))


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
@click.option("--recogniser", multiple=True, help="Listen for the words by this; may be repeated.")
@click.option("--words", default="", metavar="WORD,WORD", help="Cut out these words alone.")
@click.option("--phones", "by_phones", is_flag=True, help="Listen for phones, with controls.")
@click.option("--compare/--alone", default=True, help="Beside cuts that fewer ears chose.")
@click.option("--speak", metavar="COMMAND", help="Synthesiser that says the sentences, too.")
@click.option("--run", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A run.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def joins(
    most: int,
    longest: float,
    cuts: int,
    recogniser: tuple[str, ...],
    words: str,
    by_phones: bool,
    compare: bool,
    speak: str | None,
    run: Path | None,
    as_json: bool,
    where: tuple[str, ...],
    **given: Any,
) -> None:
    """Cut words out of recordings of MANIFEST (as `bench ears` reads it), and measure the joins.

    Steps of level and above 3 kHz over 30 ms on either side, in dB, are held against those in the
    middle of what lies between the own words of the recordings. With --run, the joins of a run of
    replace, insert or rewrite by llm are measured, too, and how like the source what was put in
    sounds, beside what it replaced. With --speak 'flite -voice slt -t {text} -o {out}' sentences
    are said with and without the word, too: what recognisers hear of the latter is the most that
    they can say of a cut.
    """
    known = [
        one
        for one in known_recordings(where=where_of(where), **given)
        if sound_seconds(one.path, max_seconds=_MOST_SECONDS) <= longest
    ]
    rng = np.random.default_rng(given["seed"])
    chosen = [known[n] for n in sorted(rng.permutation(len(known))[:most])]
    steps, alike = ([], []) if run is None else put_in(run)
    ears = {name: load_recogniser(name).hear for name in recogniser}
    only = frozenset(normalised(word.strip()) for word in words.split(",") if word.strip())
    choices = CHOICES if compare else dict(islice(CHOICES.items(), 1))
    figures = measured(chosen, cuts, given["seed"], ears, by_phones, only, speak, choices)
    figures = replace(figures, put_in=steps)
    found = figures.table()
    if as_json:
        data = {
            "joins": [asdict(one) for one in found],
            "cut": {name: [asdict(one) for one in made] for name, made in figures.cut.items()},
            "controls": {k: [asdict(one) for one in v] for k, v in figures.controls.items()},
            "spoken": [asdict(one) for one in figures.spoken],
        }
        click.echo(json.dumps(data, indent=1))
        return
    _print_steps(found)
    if by_phones or ears:
        _print_heard(figures, list(ears))
    if alike:
        new, old = np.mean(alike, axis=0)
        click.echo(
            f"likeness with the whole source, {len(alike)} stretches: {new:.3f} put in, {old:.3f} "
            "before"
        )


def _print_steps(found: Sequence[Steps]) -> None:
    """Print the steps of each kind of join."""
    names = ("joins", "n", "below p95, %", "below p99, %", "level, dB", "above 3 kHz, dB")
    click.echo(f"| {' | '.join(names)} |")
    click.echo(f"|{' --- |' * len(names)}")
    for one in found:
        click.echo(
            f"| {one.what} | {one.count} | {100 * one.below_p95:.0f} | {100 * one.below_p99:.0f} "
            f"| {one.median_level:.1f} | {one.median_high:.1f} |"
        )


def _print_heard(figures: Joins, ears: Sequence[str]) -> None:
    """Print how many words are gone, with whole neighbours, by phones and by recognisers."""
    names = ("joins", "n", "by phones: right", "no rest", "nothing taken", *ears)
    click.echo(f"| {' | '.join(names)} |")
    click.echo(f"|{' --- |' * len(names)}")
    rows = [
        (name, [one.phones for one in cuts if one.phones], [one.heard for one in cuts])
        for name, cuts in figures.cut.items()
    ]
    rows += [(name, list(odds), []) for name, odds in figures.controls.items()]
    if figures.spoken:
        rows.append(("said without the word", [], [one.without for one in figures.spoken]))
        rows.append(("said with it, and cut out", [], [one.cut for one in figures.spoken]))
    for name, odds, heard in rows:
        counts = [
            sum(getattr(one, what) for one in odds) if odds else ""
            for what in ("is_right", "has_no_rest", "is_whole")
        ]
        said = [sum(one[ear] for one in heard) if heard else "" for ear in ears]
        count = len(heard) if ears and heard else len(odds)
        click.echo(f"| {name} | {' | '.join(map(str, (count, *counts, *said)))} |")
