"""``stepedit bench joins``: steps where words were cut out, beside natural word borders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.measuring.ears import Known, known_recordings, where_of
from stepedit_core.alignment import Alignment
from stepedit_core.dsp.cutting import Cut, cut_out, join_steps, plan_cut
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import align
from stepedit_core.utterance import Utterance

__all__ = ["Joins", "Steps", "joins", "measured", "natural_steps"]

Pair = tuple[float, float]


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
    """Steps in dB, (level, above 3 kHz): at natural borders, at joins, where borders are cut."""

    natural: Sequence[Pair]
    cut: Sequence[Pair]
    plain: Sequence[Pair]

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
        ):
            rows = np.array(steps)
            shares = [float((rows <= limit).mean()) for limit in limits]
            level, high = np.median(rows, axis=0).tolist()
            found.append(Steps(what, len(rows), shares[0], shares[1], level, high))
        return found


def natural_steps(utterance: Utterance, alignment: Alignment) -> list[Pair]:
    """Return the steps in the middle of what lies between each two words."""
    gaps = (alignment.gap(n, utterance.seconds) for n in range(1, len(alignment.words)))
    return [join_steps(utterance, (gap.start + gap.end) / 2) for gap in gaps]


def measured(recordings: Sequence[Known], cuts: int, seed: int = 0) -> Joins:
    """Cut words out of recordings, one at a time, and return the steps at the joins.

    Args:
        recordings: whose words are known.
        cuts: in each, drawn by the seed; first and last words stay.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    natural: list[Pair] = []
    cut: list[Pair] = []
    plain: list[Pair] = []
    for one in recordings:
        speech = Utterance.read(one.path, one.text, one.language)
        try:
            known = align(speech)
        except StepeditError:
            continue
        natural += natural_steps(speech, known)
        for word in 1 + rng.permutation(max(0, len(known.words) - 2))[:cuts]:
            planned = plan_cut(speech, known, int(word), int(word) + 1)
            cut.append(join_steps(cut_out(speech, planned), planned.start))
            span = known.words[int(word)].span
            if span.seconds > 0:
                simple = Cut(span.start, span.end)
                plain.append(join_steps(cut_out(speech, simple), simple.start))
    return Joins(natural, cut, plain)


@click.command("joins", short_help="Measure steps where words were cut out.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--by", default="speaker", show_default=True, help="Column that is spread over.")
@click.option("--n", "count", type=click.IntRange(1), default=1, show_default=True, help="Each.")
@click.option("--most", type=click.IntRange(1), default=60, show_default=True, help="In all.")
@click.option("--cuts", type=click.IntRange(1), default=4, show_default=True, help="A recording.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def joins(most: int, cuts: int, as_json: bool, where: tuple[str, ...], **given: Any) -> None:
    """Cut words out of recordings of MANIFEST (as `bench ears` reads it), and measure the joins.

    Steps of level and above 3 kHz over 30 ms on either side, in dB, are held against those in the
    middle of what lies between the recordings' own words.
    """
    known = known_recordings(where=where_of(where), **given)
    rng = np.random.default_rng(given["seed"])
    chosen = [known[n] for n in sorted(rng.permutation(len(known))[:most])]
    found = measured(chosen, cuts, given["seed"]).table()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    names = ("joins", "n", "below p95, %", "below p99, %", "level, dB", "above 3 kHz, dB")
    click.echo(f"| {' | '.join(names)} |")
    click.echo(f"|{' --- |' * len(names)}")
    for one in found:
        click.echo(
            f"| {one.what} | {one.count} | {100 * one.below_p95:.0f} | {100 * one.below_p99:.0f} "
            f"| {one.median_level:.1f} | {one.median_high:.1f} |"
        )
