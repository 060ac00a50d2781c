"""Kill a run twice over a corpus with broken files, and check that nothing is lost or doubled.

    python -m stepedit_pairs.endurance --corpus speech/manifest.csv --out DIR

Copies recordings of a corpus into DIR, breaks one in twenty, starts ``stepedit pairs`` on them,
kills it with SIGKILL at a fifth and at three fifths, and lets the third call finish.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import click

from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader
from stepedit_core.storage.pair_rows import read_rows
from stepedit_pairs.work import read_rejects

__all__ = ["spoil"]

BLOCK = 10
EVERY = 20
"""One recording in so many is broken."""
_RUN = "from stepedit_core.cli import main; main()"


def spoil(path: Path, how: int) -> None:
    """Make a recording unreadable: empty, cut in its header, absent, or not audio."""
    whole = path.read_bytes()
    if how % 4 == 0:
        path.write_bytes(b"")
    elif how % 4 == 1:
        path.write_bytes(whole[:30])
    elif how % 4 == 2:
        path.unlink()
    else:
        path.write_bytes(b"this is no recording" * 40)


def _copy(items: list[CorpusItem], folder: Path) -> tuple[Path, list[str]]:
    """Copy recordings, break some, and write a manifest; return it and the broken paths."""
    folder.mkdir(parents=True)
    broken = []
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "text", "speaker"])
        for number, item in enumerate(items):
            path = folder / f"{number:05d}{Path(item.path).suffix}"
            shutil.copyfile(item.path, path)
            if number % EVERY == EVERY // 2:
                spoil(path, number // EVERY)
                broken.append(str(path))
            table.writerow([path.name, item.transcript, item.speaker])
    return folder / "manifest.csv", broken


def _finished(out: Path) -> int:
    return len(list((out / "blocks").glob("block-*.json")))


def _kill_at(command: list[str], out: Path, blocks: int) -> int:
    """Run until so many blocks are done, kill, and return how many were."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _finished(out) < blocks and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    return _finished(out)


@click.command()
@click.option("--corpus", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--files", default=1000, show_default=True, type=click.IntRange(EVERY))
@click.option("--workers", default=2, show_default=True)
def main(corpus: Path, out: Path, files: int, workers: int) -> None:
    """Break files, kill twice, finish, and say what became of every recording."""
    spoken = (
        item
        for item in find_reader(corpus).items(corpus)
        if item.transcript and item.labels.get("kind") != "nonverbal"
    )
    items = list(islice(spoken, files))
    manifest, broken = _copy(items, out / "corpus")
    run = out / "run"
    given = ["pairs", "speed", "--corpus", str(manifest), "--out", str(run)]
    given += ["--set", "rates=more_faster", "--set", "exact=0", "--set", "directions=forward"]
    given += ["--block-size", str(BLOCK), "--workers", str(workers)]
    command = [sys.executable, "-c", _RUN, *given]
    total = -(-len(items) // BLOCK)
    for share in (0.2, 0.6):
        click.echo(f"killed at {_kill_at(command, run, int(total * share))} of {total} blocks")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ids = [row["id"] for row in read_rows(run, ["id"])]
    rejects = list(read_rejects(run))
    bad = [path for item in rejects if item["reason"] == "bad file" for path in item["paths"]]
    others = len(rejects) - len(bad)
    # Forward pairs at one rate: each recording gives one row or one reject.
    whole = len(ids) == len(set(ids)) == len(items) - len(broken) - others
    click.echo(
        f"{len(items)} files, {len(broken)} broken: {len(ids)} rows, {len(set(ids))} different; "
        f"{others} recordings that the builder refuses; bad files exactly the broken ones: "
        f"{sorted(bad) == sorted(broken)}; every recording once: {whole}"
    )
    if sorted(bad) != sorted(broken) or not whole:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
