"""A disk that takes no more, for tests: files of this process cannot grow."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver

__all__ = ["largest_file"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond some bytes, in this process and in those that it starts."""
    server = getattr(forkserver._forkserver, "_forkserver_pid", None)
    processes = [0, *([server] if server else [])]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for process in processes:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        for process in processes:
            resource.prlimit(process, resource.RLIMIT_FSIZE, before)
