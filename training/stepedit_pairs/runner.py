"""Run a pair builder over a corpus: plan, spread blocks over workers, resume, sum up."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from stepedit_core.atomic import lasting_names
from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem, PairBuilder
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.locking import sole_writer
from stepedit_core.workers import end_with_parent, one_thread_each
from stepedit_pairs.plan import Plan, write_plan
from stepedit_pairs.settings import FILE, RunSettings
from stepedit_pairs.work import BlockReport, block_report, margin_scorer, process_block

__all__ = ["RunTotals", "run_pairs"]


@dataclass
class RunTotals:
    """Sums over the finished blocks of a run."""

    blocks: int = 0
    jobs: int = 0
    kept: int = 0
    rejected: int = 0
    audio_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, report: BlockReport) -> None:
        """Count a finished block."""
        self.blocks += 1
        self.jobs += report.jobs
        self.kept += report.kept
        self.rejected += report.rejected
        self.audio_seconds += report.audio_seconds
        self.cpu_seconds += report.cpu_seconds


def _open(folder: Path, settings: RunSettings) -> None:
    """Start a run's folder, or check that it is the same run that goes on.

    Raises:
        StepeditError: if the folder holds a run with other settings, or other files.
    """
    planned = (folder / "plan" / "plan.json").exists()
    more = lasting_names(folder) - {FILE, "plan", ".lock"}
    if planned and (folder / FILE).exists():
        changed = settings.difference(RunSettings.load(folder))
        if not changed:
            return
        if more:
            raise StepeditError(
                f"{folder} holds a run with other settings ({changed}); choose another --out"
            )
        shutil.rmtree(folder / "plan")
    # A run that failed before its first block has given no rows: its settings may be corrected.
    if more:
        raise StepeditError(f"{folder} is not empty and holds no run; choose another --out")
    settings.save(folder)


def _check(settings: RunSettings) -> PairBuilder:
    """Return the run's builder after checking everything that a worker would need."""
    registry = get_registry()
    info = registry.edit_info(settings.edit)
    builder = registry.pair_builder(info.edit_class, settings.builder)
    unknown = set(settings.options) - set(builder.options)
    if unknown:
        known = ", ".join(sorted(builder.options)) or "none"
        raise StepeditError(f"{settings.edit}: no option {min(unknown)!r}; there is {known}")
    margin_scorer(registry, settings.margin)
    return builder


def run_pairs(
    folder: Path,
    settings: RunSettings,
    items: Iterable[CorpusItem],
    *,
    workers: int = 1,
    ray_address: str | None = None,
    on_plan: Callable[[Plan, RunTotals], None] | None = None,
    on_block: Callable[[BlockReport], None] | None = None,
    on_job: Callable[[], None] = lambda: None,
) -> RunTotals:
    """Build all pairs of a run, going on where an earlier call stopped.

    Args:
        folder: the run's folder; on a cluster, one that all machines see.
        settings: what to build; it alone decides the rows.
        items: the corpus, streamed once and only if there is no plan yet.
        workers: local processes; 1 works in this process.
        ray_address: cluster to use instead, ``local`` for one on this machine.
        on_plan: called with the plan and what was done before.
        on_block: called after each block.
        on_job: called after each job, where this process does the work.

    Raises:
        StepeditError: if the settings do not fit the builder or the folder, or another process
            works in it.
    """
    builder = _check(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StepeditError(f"{folder}: cannot write there ({error.strerror})") from error
    try:
        with sole_writer(folder), _nothing_left(folder):
            _open(folder, settings)
            plan = write_plan(folder, builder, items, settings)
            todo = _Todo(plan, folder)
            if on_plan is not None:
                on_plan(plan, replace(todo.totals))
            whole = str(folder.resolve())
            for report in _spread(whole, todo.blocks, workers, ray_address, on_job):
                todo.totals.add(report)
                if on_block is not None:
                    on_block(report)
            _sweep(folder)
            return todo.totals
    except StepeditError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only where it is empty
        raise


@contextlib.contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Remove plan and settings of a run that fails before its first block.

    What a run needs, such as an engine, may prove wrong after the planning: it may be corrected.
    """
    try:
        yield
    except StepeditError:
        if lasting_names(folder) <= {FILE, "plan", ".lock"}:
            shutil.rmtree(folder / "plan", ignore_errors=True)
            (folder / FILE).unlink(missing_ok=True)
        raise


class _Todo:
    """Blocks of a plan that are not done, and the sums over those that are."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Look at the reports of all blocks; raises StepeditError if one is damaged."""
        self.blocks: list[int] = []
        self.totals = RunTotals()
        for index in range(plan.blocks):
            report = block_report(folder, index)
            if report is None:
                self.blocks.append(index)
            else:
                self.totals.add(report)


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of processes that were killed, once all blocks are done."""
    for part in ("shards", "rejects", "blocks", "plan"):
        for partial in (folder / part).glob(".*"):
            partial.unlink(missing_ok=True)


def _spread(
    folder: str,
    todo: list[int],
    workers: int,
    ray_address: str | None,
    on_job: Callable[[], None],
) -> Iterator[BlockReport]:
    """Yield the reports of blocks as they are finished, wherever they are worked on."""
    if not todo:
        return
    if ray_address is not None:
        from stepedit_pairs.on_ray import process_on_ray

        yield from process_on_ray(folder, todo, ray_address, workers)
    elif workers <= 1:
        yield from (process_block(folder, index, on_job) for index in todo)
    else:
        yield from _process_locally(folder, todo, min(workers, len(todo)))


def _process_locally(folder: str, todo: list[int], workers: int) -> Iterator[BlockReport]:
    """Work in several processes with few blocks in flight, so that memory stays level."""
    context = multiprocessing.get_context("spawn")
    queue = iter(todo)
    try:
        with one_thread_each(), ProcessPoolExecutor(workers, context, end_with_parent) as pool:
            running: set[Future[BlockReport]] = {
                pool.submit(process_block, folder, index)
                for index in itertools.islice(queue, 2 * workers)
            }
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    following = next(queue, None)
                    if following is not None:
                        running.add(pool.submit(process_block, folder, following))
                    yield future.result()
    except BrokenProcessPool as error:
        raise StepeditError(
            "a worker process ended by itself, perhaps for want of memory; call the same command "
            "again to go on, with fewer --workers or a smaller --block-size"
        ) from error
