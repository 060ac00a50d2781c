"""The plan of a run: blocks of jobs on disk, written once, read by workers.

Planning streams through the corpus and keeps one block in memory. Having the plan on disk
gives every worker, local or on a cluster with a shared folder, the same jobs, and a run that
goes on after a kill the same blocks.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError, counted
from stepedit_core.pairs import CorpusItem, PairBuilder, PairJob
from stepedit_core.storage.stored_json import json_lines, parse_json, read_json
from stepedit_pairs.corpora.stored import item_of
from stepedit_pairs.filters import Filters
from stepedit_pairs.settings import RunSettings

__all__ = ["Plan", "read_block", "read_sample", "wanted", "write_plan"]

T = TypeVar("T")

SAMPLE_SIZE = 256
"""Items kept for ``BuildContext.sample``, drawn evenly from the whole corpus."""


BLOCK_SIZE, FEW_BLOCKS, LEAST_BLOCK = 32, 8, 8
"""Jobs in a block; blocks that few jobs are cut into, with at least so many in each.

A worker takes seconds to start, so that blocks of fewer jobs would gain nothing.
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Size of the planned work.

    Attributes:
        blocks: number of blocks.
        jobs: number of jobs in all blocks.
    """

    blocks: int
    jobs: int


def _block_path(folder: Path, index: int) -> Path:
    return folder / "plan" / f"block-{index:06d}.jsonl"


def _job_data(job: PairJob) -> dict[str, Any]:
    items = [
        {key: value for key, value in dataclasses.asdict(item).items() if value not in (None, {})}
        for item in job.items
    ]
    return {"key": job.key, "items": items, "params": dict(job.params)}


def _job_from(data: dict[str, Any]) -> PairJob:
    items = tuple(item_of(item) for item in data["items"])
    return PairJob(data["key"], items, data["params"])


def wanted(items: Iterable[CorpusItem], settings: RunSettings) -> Iterator[CorpusItem]:
    """Yield the items that a run asks for, with its licence where the corpus states none.

    Raises:
        StepeditError: if no item, though there are some, has a split, a label or an id asked for.
    """
    filters = Filters(settings)
    for item in items:
        _refuse_no_unicode(item)
        if not filters.take(item):
            continue
        if item.licence is None and settings.licence is not None:
            item = dataclasses.replace(item, licence=settings.licence)
        yield item
    filters.refuse_names_of_nothing()


def _refuse_no_unicode(item: CorpusItem) -> None:
    """Refuse names and words that no store can hold.

    Raises:
        StepeditError: naming the recording and what to do.
    """
    for what, value in (("name", item.id), ("path", item.path), ("text", item.transcript)):
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            cure = "rename it (convmv)" if what != "text" else "write it in UTF-8"
            raise StepeditError(f"{item.path}: its {what} is no Unicode; {cure}") from error


class _Reservoir(Generic[T]):
    """An even sample of a stream of unknown length (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng, self.seen = size, rng, 0
        self.items: list[T] = []

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the stream's items unchanged, keeping a sample."""
        for item in items:
            if len(self.items) < self.size:
                self.items.append(item)
            else:
                place = int(self.rng.integers(self.seen + 1))
                if place < self.size:
                    self.items[place] = item
            self.seen += 1
            yield item


def write_plan(
    folder: Path, builder: PairBuilder, items: Iterable[CorpusItem], settings: RunSettings
) -> Plan:
    """Write the jobs of a run in blocks, unless that was done before.

    Raises:
        StepeditError: if two jobs have one key, or there is no job.
    """
    done = folder / "plan" / "plan.json"
    if done.exists():
        return _read_plan(done)
    reservoir: _Reservoir[CorpusItem] = _Reservoir(
        SAMPLE_SIZE, np.random.default_rng([abs(settings.seed), 1])
    )
    jobs = iter(builder.jobs(reservoir.watch(items), settings.options))
    keys = array("q")
    blocks = total = 0
    limited: Iterator[PairJob] = itertools.islice(jobs, settings.limit)
    if settings.sample is not None:
        limited = iter(_drawn(limited, settings.sample, settings.seed))
    for block in _blocks(limited, settings.block_size):
        keys.extend(hash(job.key) for job in block)
        lines = "".join(json.dumps(_job_data(job), ensure_ascii=False) + "\n" for job in block)
        write_atomically(_block_path(folder, blocks), lines)
        blocks, total = blocks + 1, total + len(block)
    if not total:
        raise StepeditError(
            f"{settings.corpus}: nothing to do; "
            f"{counted(reservoir.seen, 'recording was', 'recordings were')} found, and none "
            f"fits {settings.edit} pairs with these settings; `stepedit pairs-settings "
            f"{settings.edit}` lists others"
        )
    _refuse_doubles(settings.corpus, folder, blocks, keys)
    sample = [dataclasses.asdict(item) for item in reservoir.items]
    write_atomically(folder / "plan" / "sample.json", json.dumps(sample))
    plan = Plan(blocks, total)
    write_atomically(done, json.dumps(dataclasses.asdict(plan)))
    return plan


def _blocks(jobs: Iterator[PairJob], size: int | None) -> Iterator[list[PairJob]]:
    """Cut a stream of jobs into blocks, smaller ones where the jobs are few."""
    if size is None:
        start = list(itertools.islice(jobs, BLOCK_SIZE * FEW_BLOCKS))
        size = min(BLOCK_SIZE, max(LEAST_BLOCK, math.ceil(len(start) / FEW_BLOCKS)))
        jobs = itertools.chain(start, jobs)
    while block := list(itertools.islice(jobs, size)):
        yield block


def _cure(folder: Path) -> str:
    return f"delete {folder / 'plan'} and call the same command again: it plans the same jobs"


def _read_plan(path: Path) -> Plan:
    """Return the plan that was written before.

    Raises:
        StepeditError: if it is damaged.
    """
    cure = _cure(path.parents[1])
    data = read_json(path, cure)
    blocks, jobs = data.get("blocks"), data.get("jobs")
    if not (isinstance(blocks, int) and isinstance(jobs, int) and 0 < blocks <= jobs):
        raise StepeditError(f"{path}: damaged (blocks {blocks!r}, jobs {jobs!r}); {cure}")
    if not _block_path(path.parents[1], blocks - 1).is_file():
        raise StepeditError(f"{path}: block {blocks - 1} of the plan is missing; {cure}")
    return Plan(blocks, jobs)


def _drawn(jobs: Iterable[PairJob], count: int, seed: int) -> list[PairJob]:
    """Return an even sample of jobs in their order; only the sample is held in memory."""
    reservoir: _Reservoir[tuple[int, PairJob]] = _Reservoir(
        count, np.random.default_rng([abs(seed), 2])
    )
    for _ in reservoir.watch(enumerate(jobs)):
        pass
    return [job for _, job in sorted(reservoir.items, key=lambda pair: pair[0])]


def _refuse_doubles(corpus: object, folder: Path, blocks: int, keys: array[int]) -> None:
    """Raise if two jobs have one key; eight bytes for each job are all that is kept for it."""
    marks = np.sort(np.frombuffer(keys, dtype=np.int64))
    doubled = set(marks[1:][marks[1:] == marks[:-1]].tolist())
    seen: set[str] = set()
    for index in range(blocks if doubled else 0):
        for job in read_block(folder, index):
            if hash(job.key) not in doubled:
                continue
            if job.key in seen:
                raise StepeditError(
                    f"{corpus}: two jobs have the key {job.key!r}, and ids must differ; take the "
                    "second row of that recording out, or give each row an 'id' of its own"
                )
            seen.add(job.key)


def read_block(folder: Path, index: int) -> list[PairJob]:
    """Return the jobs of a block.

    Raises:
        StepeditError: if the block is damaged.
    """
    path, found = _block_path(folder, index), []
    for number, data in json_lines(path, _cure(folder), encoding="utf-8"):
        try:
            found.append(_job_from(data))
        except (KeyError, TypeError, ValueError) as error:
            raise StepeditError(
                f"{path}, line {number}: damaged (no job: {error}); {_cure(folder)}"
            ) from error
    return found


def read_sample(folder: Path) -> list[CorpusItem]:
    """Return the even sample of the corpus that jobs may draw from.

    Raises:
        StepeditError: if it is damaged.
    """
    path = folder / "plan" / "sample.json"
    try:
        return [item_of(item) for item in parse_json(path.read_bytes())]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StepeditError(f"{path}: damaged ({error}); {_cure(folder)}") from error
