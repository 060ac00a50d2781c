"""``stepedit bench speakers``: how well speakers are told apart in recordings of known voices."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import soundfile as sf

from stepedit_bench.measuring.ears import Known, known_recordings, where_of
from stepedit_bench.words.joining import Joined, join
from stepedit_core.errors import StepeditError
from stepedit_core.recording.recording import Recording

__all__ = ["Told", "confusion", "speakers", "told"]

_STEP = 0.01


@dataclass(frozen=True)
class Told:
    """How well the voices of one recording were told apart.

    Attributes:
        voices: in the recording.
        found: voices that were told apart.
        seconds: of speech.
        error: share of the speech that is given to another voice, voices mapped at their best.
    """

    voices: int
    found: int
    seconds: float
    error: float


def confusion(truth: npt.NDArray[np.int64], guess: npt.NDArray[np.int64]) -> float:
    """Return the share of steps whose voice is wrong, under the mapping that serves it best.

    Args:
        truth: voice of each step, from 0.
        guess: voice that was found, from 0; below 0 is none.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((truth.max() + 1, max(guess.max() + 1, 1)), dtype=np.int64)
    heard = guess >= 0
    np.add.at(table, (truth[heard], guess[heard]), 1)
    rows, columns = linear_sum_assignment(-table)
    return 1 - float(table[rows, columns].sum()) / len(truth)


def told(joined: Joined, rate: int = 16_000) -> Told:
    """Tell the speakers of a joined recording apart, as ``stepedit edit --speaker`` does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.wav"
        sf.write(path, joined.utterance.samples, rate, subtype="PCM_16")
        found = Recording.read(path).with_speakers()
    steps = round(joined.utterance.seconds / _STEP)
    names = sorted(set(joined.speakers))
    truth = np.full(steps, -1, dtype=np.int64)
    for start, end, name in zip(joined.starts, joined.ends, joined.speakers, strict=True):
        truth[round(start / _STEP) : round(end / _STEP)] = names.index(name)
    labels = sorted({part.speaker for part in found.segments if part.speaker})
    guess = np.full(steps, -1, dtype=np.int64)
    for part in found.segments:
        if part.speaker:
            guess[round(part.start / _STEP) : round(part.end / _STEP)] = labels.index(part.speaker)
    speech = truth >= 0
    error = confusion(truth[speech], guess[speech])
    return Told(len(names), len(labels), float(speech.sum() * _STEP), error)


def _conversation(
    clips: Mapping[str, Sequence[Known]], voices: int, turns: int, rng: np.random.Generator
) -> Joined:
    """Return a recording in which so many voices, drawn at random, speak in turns."""
    names = rng.permutation(sorted(clips))[:voices].tolist()
    order = [names[n % voices] for n in range(max(turns, 2 * voices))]
    rng.shuffle(order)
    said = [clips[name][int(rng.integers(len(clips[name])))] for name in order]
    return join(said, rng, speakers=order, longest=6.0)


@click.command("speakers", short_help="Measure how well speakers are told apart.")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE,VALUE", help="Rows to take.")
@click.option("--voices", default="1,2,3,4,20", show_default=True, help="In a recording.")
@click.option("--turns", type=click.IntRange(1), default=10, show_default=True, help="At least.")
@click.option("--n", "count", type=click.IntRange(1), default=4, show_default=True, help="Each.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def speakers(
    manifest: Path,
    texts: Path | None,
    where: tuple[str, ...],
    voices: str,
    turns: int,
    count: int,
    seed: int,
    as_json: bool,
) -> None:
    """Tell the speakers of joined recordings apart; print the share of speech in a wrong voice.

    Speakers of MANIFEST (columns path, text, language, speaker) speak in turns of up to 6 s.
    """
    known = known_recordings(
        manifest, texts=texts, where=where_of(where), by="speaker", count=20, seed=seed
    )
    clips: dict[str, list[Known]] = {}
    for one in known:
        clips.setdefault(one.part, []).append(one)
    rng = np.random.default_rng(seed)
    found = []
    for text in voices.split(","):
        if not text.strip().isdecimal() or not 1 <= int(text) <= len(clips):
            raise StepeditError(f"--voices {text!r}: numbers from 1 to {len(clips)}")
        found += [told(_conversation(clips, int(text), turns, rng)) for _ in range(count)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    _print(found)


def _print(found: Sequence[Told]) -> None:
    """Print a table in Markdown."""
    columns = ("voices", "recordings", "speech, s", "error, %", "worst, %", "found")
    click.echo(f"| {' | '.join(columns)} |")
    click.echo(f"|{' --- |' * len(columns)}")
    for voices in dict.fromkeys(one.voices for one in found):
        own = [one for one in found if one.voices == voices]
        seconds = np.array([one.seconds for one in own])
        errors = np.array([one.error for one in own])
        pooled = float((errors * seconds).sum() / seconds.sum())
        counts: list[Any] = [one.found for one in own]
        click.echo(
            f"| {voices} | {len(own)} | {seconds.sum():.0f} | {100 * pooled:.1f} "
            f"| {100 * errors.max():.1f} | {', '.join(map(str, counts))} |"
        )
