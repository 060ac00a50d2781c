"""``stepedit bench plain``: words put in by a run beside the plain way of putting them in.

The plain way has some words around the change spoken by `clone` in the recording's voice, cuts the
new words out of that at their aligned borders, and puts them in place of the old ones.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from stepedit_bench.measuring.voices import embed_speaker
from stepedit_bench.own_cases import FILE, read_own
from stepedit_bench.store import read_results
from stepedit_bench.words.heard import change_of
from stepedit_core.alignment import Alignment
from stepedit_core.chain.chain import Chain
from stepedit_core.dsp.cutting import join_steps
from stepedit_core.dsp.splicing import Patch, splice
from stepedit_core.dsp.words import split_words
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.plan import Replacement
from stepedit_core.recording.hearing import align
from stepedit_core.registry.registry import get_edit
from stepedit_core.scoring import Case
from stepedit_core.utterance import Span, Utterance

__all__ = ["Stretch", "beside", "cloned_in", "plain", "stretch_of"]

_BESIDE = 3
"""Words on either side that are spoken with the new ones."""


@dataclass(frozen=True)
class Stretch:
    """What was put into one recording.

    Attributes:
        levels: steps of level at both ends in dB.
        highs: steps above 3 kHz at both ends in dB.
        likeness: cosine of its speaker vector with that of the whole source; None where it has too
            little speech.
    """

    levels: tuple[float, float]
    highs: tuple[float, float]
    likeness: float | None


def stretch_of(source: Utterance, made: Utterance, span: Span) -> Stretch:
    """Return the steps at both ends of a stretch that was put in, and how like the source it is."""
    (a, b), (c, d) = (join_steps(made, edge) for edge in span)
    likeness = None
    with contextlib.suppress(StepeditError):
        likeness = float(embed_speaker(source) @ embed_speaker(made.slice(span)))
    return Stretch((a, c), (b, d), likeness)


def cloned_in(
    source: Utterance, known: Alignment, change: Replacement, engine: SpeechEngine, seed: int
) -> tuple[Utterance, Span]:
    """Put new words into a recording the plain way; return it, and where they are.

    Args:
        source: the recording.
        known: its words.
        change: which of them are replaced by what.
        engine: clones the voice.
        seed: of the clone.

    Raises:
        StepeditError: if nothing is replaced, or the clone's words cannot be timed.
    """
    if change.stop <= change.first:
        raise StepeditError("the plain way replaces words; here none go")
    low = max(0, change.first - _BESIDE)
    high = min(len(known.words), change.stop + _BESIDE)
    texts = [word.text for word in known.words]
    after = [*texts[low : change.first], change.by, *texts[change.stop : high]]
    part = source.slice(known.span(low, high)).replace(transcript=" ".join(texts[low:high]))
    clone = get_edit("clone").model_validate({"text": " ".join(after)})
    spoken = Chain([clone])(part, engine, seed=seed).utterance.resample(source.sample_rate)
    first = change.first - low
    new = align(spoken.replace(transcript=" ".join(after), alignment=None)).span(
        first, first + len(split_words(change.by))
    )
    gain = np.sqrt(np.mean(part.samples**2) / max(1e-10, float(np.mean(spoken.samples**2))))
    samples = (spoken.slice(new).samples * np.float32(gain)).astype(np.float32)
    old = known.span(change.first, change.stop)
    made, (placed,) = splice(source, [Patch(old, samples)])
    return made, Span(*placed)


def beside(
    run: Path, cases: Mapping[str, Case], engine: SpeechEngine, most: int, seed: int = 0
) -> Iterator[tuple[str, Stretch, Stretch]]:
    """Yield cases of a run: their names, what the run put in, and the plain way's.

    Args:
        run: folder of a run of ``replace`` by llm.
        cases: of the run, by name.
        engine: clones the voice.
        most: cases, the first of the run.
        seed: of the clones.
    """
    rows = read_results(run)
    sources = {row["case"]: row for row in rows if row["condition"] == "source"}
    for row in rows:
        changes = (row.get("details") or {}).get("replacements") or []
        spans = [span for change in changes for span in change.get("output_spans", ())]
        if most <= 0 or row["condition"] != "edit" or len(spans) != 1:
            continue
        case = cases[row["case"]]
        audio = run / sources[row["case"]]["audio"]
        source = Utterance.read(audio, case.transcript, case.language)
        change = change_of(case.transcript or "", case.edit.transcript_after(source) or "")
        try:
            made, span = cloned_in(source, align(source), change, engine, seed)
        except StepeditError as error:
            click.echo(f"{row['case']}: {error}", err=True)
            continue
        most -= 1
        own = stretch_of(source, Utterance.read(run / row["audio"]), Span(*spans[0]))
        yield row["case"], own, stretch_of(source, made, span)


@click.command("plain", short_help="Hold words put in by a run against a clone that is cut in.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--suite-path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--engine", default="embedded", show_default=True, help="Name or folder.")
@click.option("--most", type=click.IntRange(1), default=14, show_default=True, help="Cases.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plain(run: Path, suite_path: Path, engine: str, most: int, seed: int, as_json: bool) -> None:
    """Compare the joins and the voice of what RUN put in with those of the plain way.

    RUN is of `bench run replace` by llm with --suite cases. The plain way speaks the new words with
    three words on either side by `clone`, cuts them out where they are aligned, and puts them in at
    the level of the recording.
    """
    from stepedit_bench.commands import load_choice

    found = read_own(get_edit("replace"), suite_path)
    loaded = load_choice(engine, "auto")
    if not found or loaded is None:
        raise StepeditError(f"{suite_path / FILE}: no case of replace, or no engine that speaks")
    cases = {case.id: case for case in found}
    both = list(beside(run, cases, loaded, most, seed))
    if not both:
        raise StepeditError(f"{run}: nothing was replaced by this run")
    if as_json:
        rows = [{"case": name, "run": asdict(a), "plain": asdict(b)} for name, a, b in both]
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo("| way | joins | level, dB | above 3 kHz, dB | 90 %: level, high | likeness, n |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    alike = [(a, b) for _, a, b in both if a.likeness is not None and b.likeness is not None]
    _print("by the run", [a for _, a, _ in both], [a for a, _ in alike])
    _print("a clone cut in", [b for _, _, b in both], [b for _, b in alike])


def _print(what: str, found: Sequence[Stretch], alike: Sequence[Stretch]) -> None:
    """Print a row in Markdown."""
    levels, highs = (
        np.array([step for one in found for step in getattr(one, kind)])
        for kind in ("levels", "highs")
    )
    likeness = np.mean([one.likeness for one in alike if one.likeness is not None] or [np.nan])
    tails = " / ".join(f"{np.quantile(steps, 0.9):.1f}" for steps in (levels, highs))
    click.echo(
        f"| {what} | {len(levels)} | {np.median(levels):.1f} | {np.median(highs):.1f} | {tails} "
        f"| {likeness:.3f}, {len(alike)} |"
    )
