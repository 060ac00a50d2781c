"""``stepedit bench judges``: list, validate and train judges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from stepedit_core.errors import StepeditError

__all__ = ["judges"]


@click.group(no_args_is_help=True)
def judges() -> None:
    """List, validate and train judges."""


@judges.command("list", short_help="Print the installed judges.")
def show() -> None:
    """Print the installed judges with how they were validated."""
    from stepedit_bench.judging import judge_classes

    for name, judge in judge_classes().items():
        validation = " ".join(judge.validation.split()) or "not validated"
        click.echo(f"{name} (version {judge.version}): {validation}")


@judges.command("validate", short_help="Compare a judge with labels of acted corpora.")
@click.argument("name", default="acoustic")
@click.option("--corpus", "corpora", multiple=True, required=True, type=click.Path(exists=True))
@click.option("--layout", help="Corpus reader, where several know the folder.")
@click.option("--only", multiple=True, help="Corpora to keep within a manifest.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="Label beside neutral; may be given several times. By default the usual ones there are.",
)
@click.option("--offer", multiple=True, help="Labels to offer though no recording has them.")
def check(
    name: str,
    corpora: Sequence[str],
    layout: str | None,
    only: Sequence[str],
    labels: Sequence[str],
    offer: Sequence[str],
) -> None:
    """Compare the judge NAME with the labels of acted parallel corpora, on all speakers."""
    from stepedit_bench.judges.validation import validate
    from stepedit_bench.judging import JudgeChoice

    judge = JudgeChoice({"emotion": name}).for_task("emotion")
    found = validate(judge, corpora, tuple(labels) or None, offer=offer, only=only, layout=layout)
    for corpus, agreed in found.items():
        click.echo("\n  ".join([f"{corpus}:", *agreed.lines()]))


@judges.command("train-emotion", short_help="Train an emotion judge on a corpus.")
@click.argument("folder", type=click.Path(exists=True))
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Where it is saved.")
@click.option("--layout", help="Corpus reader, where several know the folder.")
@click.option("--only", multiple=True, help="Corpora to keep within a manifest.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def train_emotion(
    folder: str, out: str, layout: str | None, only: Sequence[str], folds: int, seed: int
) -> None:
    """Train an emotion judge on FOLDER; use it with --judge emotion=trained."""
    from stepedit_bench.judges.train_emotion import train_emotion_judge

    with click.progressbar(length=1, label="measuring") as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            bar.update(1)

        model = train_emotion_judge(
            folder, out, layout, only=only, folds=folds, seed=seed, on_item=tell
        )
    figures = model.card["speaker_disjoint"]
    click.echo(json.dumps({key: figures[key] for key in figures if key != "confusion"}, indent=1))
    click.echo(f"saved to {out}; use it with --judge emotion=trained "
               f"--judge-option trained:folder={out}")  # fmt: skip


_ear = click.option(
    "--ear",
    type=click.Choice(["auto", "whisper", "none"]),
    default="auto",
    show_default=True,
    help="Whisper's encoder beside hand-made features.",
)


@judges.command("train-events", short_help="Train the classifier of the judge events.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Where it is saved.")
@_ear
@click.option(
    "--without",
    type=click.Path(exists=True, dir_okay=False),
    help="Manifest in JSON lines whose speakers are left out.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def train_events(
    manifest: str, out: str, ear: Literal["auto", "whisper", "none"], without: str | None, seed: int
) -> None:
    """Train the classifier of the judge events on the free sounds of MANIFEST."""
    from stepedit_bench.judges.train_events import train_events as train

    with click.progressbar(length=1, label="hearing") as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            bar.update(1)

        model = train(manifest, out, seed, ear=ear, without=without, on_context=tell)
    keys = ("held_out_windows", "thresholds", "held_out_insertions")
    click.echo(json.dumps({key: model.card[key] for key in keys}, indent=1))


@judges.command("validate-events", short_help="Count what the judge events hears in sounds.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    required=True,
    metavar="LABEL=KIND",
    help="A folder of recordings, and laugh, breath, voice, cough or other.",
)
@_ear
@click.option("--n", "count", type=click.IntRange(1), default=40, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def check_events(
    folder: Path,
    kinds: Sequence[str],
    ear: Literal["auto", "whisper", "none"],
    count: int,
    seed: int,
) -> None:
    """Count what the judge events hears in recorded sounds of FOLDER/LABEL, between words.

    Example: validate-events Nonverbal/dataset --kind coughing=cough --kind sighing=breath
    """
    from stepedit_bench.judges.event_validation import validate_events

    named = dict(text.partition("=")[::2] for text in kinds)
    for label, heard in validate_events(folder, named, ear=ear, count=count, seed=seed).items():
        right = heard.get(named[label], 0)
        total = sum(heard.values())
        told = ", ".join(f"{name} {number}" for name, number in heard.items())
        click.echo(f"{label}: {right} of {total} heard as {named[label]} ({told})")


def main() -> None:
    """Run the group as a program; an error of ours is one line."""
    try:
        judges(standalone_mode=True)
    except StepeditError as error:
        raise SystemExit(f"error: {error}") from None
