"""``stepedit bench heard``: whether recognisers hear the new words of a run, and those beside.

A run's scorer listens with one recogniser, which may be one of those that chose among versions.
Here several listen to what was put in and to some seconds on either side, and samples are compared.
What each heard is in ``heard.jsonl`` of the run as soon as it is known, so that a call that was cut
off goes on with the same command, and a further recogniser hears alone what the others have heard.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepedit_bench.own_cases import FILE, read_own
from stepedit_bench.store import Journal, read_results
from stepedit_core.alignment import Recogniser
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.listening import Listener
from stepedit_core.plan import Replacement
from stepedit_core.recording.hearing import choose_recogniser, load_recogniser
from stepedit_core.registry.registry import Registry, get_edit
from stepedit_core.scoring import Case
from stepedit_core.utterance import Span, Utterance

__all__ = ["HEARD", "Listened", "change_of", "heard", "is_kept", "listened"]

HEARD = "heard.jsonl"
"""File of a run with what recognisers heard of its new words."""
_LANGUAGE = "en"
_BESIDE = 4.0
"""Seconds on either side of what was put in that are listened to."""
_FADE = 0.02
"""Seconds around it that a cross-fade may change."""


@dataclass(frozen=True)
class Listened:
    """What was heard of one edit.

    Attributes:
        case: its name.
        new: by recogniser, whether it hears the new words.
        right: by recogniser, whether it also hears the two words on either side as in the source.
        whole: whether the words of the whole recording are no worse than the source's, as the run's
            recogniser hears them.
        perfect: whether it hears no error in the whole recording.
        kept: whether all samples outside are the source's.
    """

    case: str
    new: dict[str, bool]
    right: dict[str, bool]
    whole: bool
    perfect: bool
    kept: bool


def change_of(text: str, asked: str) -> Replacement:
    """Return the one change that leads from a transcript to another.

    Raises:
        StepeditError: if the transcripts are the same.
    """
    ours, theirs = ([normalised(word.text) for word in split_words(said)] for said in (text, asked))
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    found = [one for one in matcher.get_opcodes() if one[0] != "equal"]
    if not found:
        raise StepeditError("the words before and after are the same")
    first, stop = found[0][1], found[-1][2]
    return Replacement(first, stop, " ".join(theirs[found[0][3] : found[-1][4]]), asked)


def is_kept(source: Utterance, made: Utterance, span: Span) -> bool:
    """Say whether all samples but those of a span are the source's, bit for bit.

    Args:
        source: the recording before.
        made: after something was put in.
        span: what was put in, in seconds of ``made``; a cross-fade beside it may differ.
    """
    rate = made.sample_rate
    before = max(0, round((span.start - _FADE) * rate))
    after = max(0, len(made.samples) - round((span.end + _FADE) * rate))
    same = np.array_equal(source.samples[:before], made.samples[:before])
    tail = slice(len(source.samples) - after, None), slice(len(made.samples) - after, None)
    return same and np.array_equal(source.samples[tail[0]], made.samples[tail[1]])


@dataclass(frozen=True)
class _Put:
    """An edit of a run that put words into one place: its case, its row, that of its source."""

    case: Case
    row: Mapping[str, Any]
    source: Mapping[str, Any]
    span: Span

    @property
    def key(self) -> str:
        """Name of all that decides what a recogniser is played, and what is compared with it."""
        asked = [self.row["audio_sha256"], self.source["audio_sha256"], self.case.transcript]
        asked += [[self.span.start, self.span.end], self.case.edit.to_data(), _BESIDE]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _put(run: Path, cases: Mapping[str, Case]) -> list[_Put]:
    """Return the edits of a run that put words into one place.

    Raises:
        StepeditError: if the run is of cases that the suite does not have.
    """
    rows = read_results(run)
    sources = {row["case"]: row for row in rows if row["condition"] == "source"}
    found = []
    for row in rows:
        changes = (row.get("details") or {}).get("replacements") or []
        spans = [span for change in changes for span in change.get("output_spans", ())]
        if row["condition"] != "edit" or len(changes) != 1 or len(spans) != 1:
            continue
        if row["case"] not in cases:
            raise StepeditError(
                f"{run}: case {row['case']} is not in the suite; give the run's own --suite-path"
            )
        found.append(_Put(cases[row["case"]], row, sources[row["case"]], Span(*spans[0])))
    return found


def _heard(
    one: _Put, source: Utterance, made: Utterance, recogniser: Recogniser
) -> dict[str, bool]:
    """Return whether a recogniser hears the new words, and those beside them, too."""
    text = one.case.transcript or ""
    change = change_of(text, one.case.edit.transcript_after(source) or "")
    start = max(0.0, one.span.start - _BESIDE)
    end = min(made.seconds, one.span.end + _BESIDE)
    old = source.slice((start, min(source.seconds, end + source.seconds - made.seconds)))
    found = Listener([recogniser.hear], text, change, old).hear(made.slice((start, end)))
    return {"new": found.lacking == 0, "right": found.is_right}


def listened(
    run: Path,
    cases: Mapping[str, Case],
    recognisers: Sequence[str],
    registry: Registry | None = None,
) -> Iterator[Listened]:
    """Yield what is heard of each edit of a run that put words into one place.

    What a recogniser heard is kept in ``heard.jsonl`` of the run before the next one is asked; one
    that has nothing to hear is not loaded.

    Args:
        run: folder of a run, finished or not.
        cases: of the run, by name.
        recognisers: who listen, as ``load_recogniser`` knows them.
        registry: whose plugins are asked; the process's registry by default.

    Raises:
        StepeditError: if a case is not of the run, there is no such recogniser, or the folder
            cannot be written.
    """
    put = _put(run, cases)
    titles = {}
    for name in recognisers:
        kind, model = choose_recogniser(name, _LANGUAGE, registry)
        titles[name] = kind.title(model)
    kept = Journal(run / HEARD)
    for one in put:
        before, language = one.source, one.case.language
        source = Utterance.read(run / before["audio"], one.case.transcript, language)
        made = Utterance.read(run / one.row["audio"], None, language)
        answers = {}
        for name, title in titles.items():
            key = f"{one.key}/{title}"
            if key not in kept.entries:
                ear = load_recogniser(name, _LANGUAGE, registry=registry)
                kept.add(key, _heard(one, source, made, ear))
            answers[name] = kept.entries[key]
        errors = [row["kept"]["text"]["errors"] for row in (before, one.row)]
        yield Listened(
            one.row["case"],
            {name: answer["new"] for name, answer in answers.items()},
            {name: answer["right"] for name, answer in answers.items()},
            errors[1] <= errors[0],
            errors[1] == 0,
            is_kept(source, made, one.span),
        )


@click.command("heard", short_help="Listen to the new words of a run with several recognisers.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--suite-path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--edit", default="replace", show_default=True)
@click.option("--recogniser", "names", multiple=True, default=("tiny.en", "whisper"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def heard(run: Path, suite_path: Path, edit: str, names: Sequence[str], as_json: bool) -> None:
    """Listen to what RUN put into recordings, and compare all other samples.

    RUN is of `bench run replace` or `insert` by llm with --suite cases, finished or not. What is
    heard is kept in it: a call that was cut off goes on with the same command.
    """
    found = read_own(get_edit(edit), suite_path)
    if not found:
        raise StepeditError(f"{suite_path / FILE}: no case of {edit}")
    cases = {case.id: case for case in found}
    all_heard = []
    for one in listened(run, cases, names):
        all_heard.append(one)
        click.echo(f"... {len(all_heard)}: {one.case}", err=True)
    if not all_heard:
        raise StepeditError(f"{run}: nothing was put in by this run")
    if as_json:
        click.echo(json.dumps([asdict(one) for one in all_heard], indent=1))
        return
    _print(all_heard, names)


def _print(found: Sequence[Listened], names: Sequence[str]) -> None:
    """Print a table in Markdown."""
    rows: list[tuple[str, Sequence[bool]]] = []
    for name in names:
        rows.append((f"new words heard by {name}", [one.new[name] for one in found]))
        rows.append((f"and the words beside by {name}", [one.right[name] for one in found]))
    rows.append(("new words heard by all", [all(one.new.values()) for one in found]))
    rows.append(("and the words beside by all", [all(one.right.values()) for one in found]))
    rows.append(("words of the whole no worse than the source's", [one.whole for one in found]))
    rows.append(("whole sentence without an error", [one.perfect for one in found]))
    rows.append(("all other samples the source's", [one.kept for one in found]))
    click.echo(f"| figure | of {len(found)} |\n| --- | --- |")
    for what, values in rows:
        click.echo(f"| {what} | {sum(values)} ({100 * sum(values) / len(values):.0f} %) |")
