"""Facts about training for model cards: recordings, licences, steps and core-hours."""

from __future__ import annotations

import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from stepedit_train.data.cache import Cache
from stepedit_train.journal import read_journal

__all__ = [
    "CorpusFacts",
    "PairFacts",
    "RunFacts",
    "corpus_facts",
    "machine",
    "pair_facts",
    "run_facts",
]


@dataclass(frozen=True)
class CorpusFacts:
    """Recordings that were used of a corpus.

    Attributes:
        name: of the corpus.
        licences: of its recordings.
        speakers: how many, in all splits that were used.
        hours: trained on.
        dev_hours: kept for validation.
        test_hours: never used in training.
    """

    name: str
    licences: tuple[str, ...]
    speakers: int
    hours: float
    dev_hours: float
    test_hours: float


@dataclass(frozen=True)
class PairFacts:
    """Pairs that were used of a folder.

    Attributes:
        name: of the folder.
        pairs: rows.
        hours: of sources and targets together.
    """

    name: str
    pairs: int
    hours: float


@dataclass(frozen=True)
class RunFacts:
    """Length of a run.

    Attributes:
        steps: optimiser steps; 0 where there is no log.
        core_hours: wall-clock hours times threads, or None where the log does not say.
    """

    steps: int
    core_hours: float | None


def corpus_facts(folders: Iterable[Path]) -> list[CorpusFacts]:
    """Return the contents of caches by corpus, the largest first."""
    splits = ("train", "dev", "test")
    items = [item for folder in folders for item in Cache(folder, ("audio",), splits).items]
    hours: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    licences: dict[str, set[str]] = defaultdict(set)
    speakers: dict[str, set[str]] = defaultdict(set)
    for item in items:
        hours[item.corpus][item.split] += item.audio_seconds / 3600
        licences[item.corpus].add(item.licence)
        speakers[item.corpus].add(item.speaker)
    found = [
        CorpusFacts(
            name,
            tuple(sorted(licences[name])),
            len(speakers[name]),
            *(hours[name][split] for split in splits),
        )
        for name in hours
    ]
    return sorted(found, key=lambda row: -row.hours)


def pair_facts(folders: Iterable[Path]) -> list[PairFacts]:
    """Return the number and the duration of pairs in each folder."""
    found = []
    for folder in folders:
        rows, seconds = 0, 0.0
        for shard in sorted(folder.glob("**/*.parquet")):
            file = pq.ParquetFile(shard)
            rows += file.metadata.num_rows
            named = [n for n in file.schema_arrow.names if n.endswith("_seconds")]
            for batch in file.iter_batches(columns=named) if named else ():
                seconds += sum(sum(v for v in column.to_pylist() if v) for column in batch.columns)
        found.append(PairFacts(folder.name, rows, seconds / 3600))
    return found


def run_facts(folder: Path, threads: int) -> RunFacts:
    """Return a run's steps and duration, from its log or from the Trainer's state.

    Args:
        folder: of the run.
        threads: that it kept busy.
    """
    entries = [entry for entry in read_journal(folder) if "seconds" in entry]
    if entries:
        last = entries[-1]
        return RunFacts(int(last["step"]), threads * float(last["seconds"]) / 3600)
    states = [folder / "trainer_state.json", *folder.glob("checkpoint-*/trainer_state.json")]
    histories = [json.loads(path.read_text(encoding="utf-8")) for path in states if path.is_file()]
    if not histories:
        return RunFacts(0, None)
    state = max(histories, key=lambda content: int(content["global_step"]))
    times = [row["train_runtime"] for row in state["log_history"] if "train_runtime" in row]
    hours = threads * float(times[-1]) / 3600 if times else None
    return RunFacts(int(state["global_step"]), hours)


def machine() -> str:
    """Return in words what kind of machine this is, without its name."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores"


def licences_of(corpora: Sequence[CorpusFacts]) -> list[str]:
    """Return all licences, in order."""
    return sorted({licence for corpus in corpora for licence in corpus.licences})
