"""Spread blocks over a Ray cluster with Ray Data; the work itself is the local path's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepedit_core.errors import MissingDependencyError
from stepedit_pairs.work import BlockReport, process_block

__all__ = ["process_on_ray"]


class _Worker:
    """A Ray Data actor: loads builder and engine once, then works block after block."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Process the block that a row names."""
        from dataclasses import asdict

        return asdict(process_block(self.folder, int(row["item"])))


def process_on_ray(
    folder: str, todo: list[int], address: str, workers: int
) -> Iterator[BlockReport]:
    """Yield the reports of blocks that a cluster finishes.

    Args:
        folder: the run's folder, seen by all machines of the cluster.
        todo: numbers of the blocks.
        address: ``ray://...``, ``auto``, or ``local`` to start Ray on this machine.
        workers: actors to use.

    Raises:
        MissingDependencyError: if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("--ray needs Ray Data: pip install 'stepedit[ray]'") from error
    if not ray.is_initialized():
        if address == "local":
            ray.init(num_cpus=max(2, workers), log_to_driver=False, include_dashboard=False)
        else:
            ray.init(address=address, log_to_driver=False)
    # Enough Ray blocks to keep all actors busy; each holds only the numbers of our blocks.
    parts = min(len(todo), max(1000, 4 * workers))
    dataset = ray.data.from_items(todo, override_num_blocks=parts)
    done = dataset.map(
        _Worker,  # type: ignore[arg-type]  # Ray takes a class and makes actors of it
        fn_constructor_args=(folder,),
        concurrency=max(2, workers),
        num_cpus=1,
    )
    for row in done.iter_rows():
        yield BlockReport(**row)
