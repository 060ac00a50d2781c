"""Jobs in the database: put down, claimed by one process at a time, finished once.

A job that was put down is there after any restart. A process claims it for a time, and says again
and again that it still works on it; where it says nothing any more, another process (or the same
one, started again) takes the job over. It is finished by one transaction, which only the holder can
make, so no job is done twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.exc import IntegrityError

from stepedit_serve.database import Database
from stepedit_serve.errors import ApiError
from stepedit_serve.tables import Job

__all__ = ["ENDED", "MAX_FRUITLESS", "JobQueue"]

ENDED = ("done", "failed", "cancelled")
MAX_FRUITLESS = 20
"""Attempts without progress after which a job is given up: it probably ends its process."""


class JobQueue:
    """The jobs of all processes that share a database."""

    def __init__(self, database: Database, holder: str, lease_seconds: float) -> None:
        """Take the database.

        Args:
            database: holds them.
            holder: name of this process, which no other process has.
            lease_seconds: how long a claim holds without a word.
        """
        self._database, self.holder, self._lease = database, holder, lease_seconds
        self._news = threading.Semaphore(0)

    # Clients -----------------------------------------------------------------------------

    def put(self, job: Job) -> tuple[Job, bool]:
        """Put a job down; with an idempotency key that is known, return the job that has it.

        Returns:
            The job, and whether it is new.
        """
        try:
            self._database.add(job)
        except IntegrityError:
            known = self.of_idempotency(job.owner, job.idempotency)
            if known is None:
                raise
            return known, False
        self.wake()
        return job, True

    def of_idempotency(self, owner: str, idempotency: str | None) -> Job | None:
        """Return the job that a key put down with an idempotency key."""
        if idempotency is None:
            return None
        query = select(Job).where(Job.owner == owner, Job.idempotency == idempotency)
        with self._database.transaction() as now:
            return now.scalars(query).first()

    def get(self, id_: str, owner: str | None = None) -> Job:
        """Return a job; raises ApiError (404) for others' and unknown ids."""
        with self._database.transaction() as now:
            job = now.get(Job, id_)
        if job is None or (owner is not None and job.owner != owner):
            raise ApiError(404, "not_found", "there is no such job")
        return job

    def all_of(self, owner: str, most: int = 1000) -> Sequence[Job]:
        """Return the jobs of a key, newest first."""
        query = select(Job).where(Job.owner == owner).order_by(Job.created.desc()).limit(most)
        with self._database.transaction() as now:
            return now.scalars(query).all()

    def open_of(self, owner: str) -> int:
        """Return how many jobs of a key wait or run."""
        query = select(Job.id).where(Job.owner == owner, Job.state.in_(("queued", "running")))
        with self._database.transaction() as now:
            return len(now.scalars(query).all())

    def open_for(self, kind: str, node: str) -> Job | None:
        """Return the job of a kind that waits or runs for a version."""
        query = select(Job).where(
            Job.kind == kind, Job.node == node, Job.state.in_(("queued", "running"))
        )
        with self._database.transaction() as now:
            return now.scalars(query).first()

    def cancel(self, id_: str) -> Job:
        """Cancel a job that waits, or ask the holder of one that runs."""
        with self._database.transaction() as now:
            now.execute(
                update(Job)
                .where(Job.id == id_, Job.state == "queued")
                .values(state="cancelled", finished=time.time(), cancel=True)
            )
            now.execute(
                update(Job).where(Job.id == id_, Job.state == "running").values(cancel=True)
            )
        return self.get(id_)

    def remove(self, id_: str) -> None:
        """Remove a job that has ended."""
        with self._database.transaction() as now:
            job = now.get(Job, id_)
            if job is not None and job.state in ENDED:
                now.delete(job)

    # Workers -----------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Wait for a job that this process puts down, not longer than a time."""
        self._news.acquire(timeout=seconds)

    def wake(self, count: int = 1) -> None:
        """Have as many of those that wait look at the queue."""
        self._news.release(count)

    def claim(self) -> Job | None:
        """Take the oldest job that waits, or whose holder has gone silent; None: there is none."""
        now_ = time.time()
        free = or_(
            Job.state == "queued",
            and_(Job.state == "running", or_(Job.lease.is_(None), Job.lease < now_)),
        )
        while True:
            with self._database.transaction() as now:
                job = now.scalars(select(Job).where(free).order_by(Job.created).limit(1)).first()
                if job is None:
                    return None
                taken = now.execute(
                    update(Job)
                    .where(Job.id == job.id, free, Job.attempts == job.attempts)
                    .values(
                        state="running",
                        holder=self.holder,
                        lease=now_ + self._lease,
                        attempts=job.attempts + 1,
                        fruitless=job.fruitless + 1,
                        started=job.started or now_,
                    )
                )
                if getattr(taken, "rowcount", 0) == 1:
                    now.refresh(job)
                    return job

    def keep(self, id_: str) -> bool:
        """Say that this process still works on a job; False: it was cancelled, or is another's."""
        with self._database.transaction() as now:
            kept = now.execute(
                update(Job)
                .where(Job.id == id_, Job.holder == self.holder, Job.state == "running")
                .values(lease=time.time() + self._lease)
            )
            job = now.get(Job, id_)
            return getattr(kept, "rowcount", 0) == 1 and job is not None and not job.cancel

    def progress(self, id_: str, done: int, total: int, seconds_left: float | None) -> None:
        """Note how far a job is."""
        with self._database.transaction() as now:
            now.execute(
                update(Job)
                .where(Job.id == id_, Job.holder == self.holder, Job.state == "running")
                .values(
                    done=done, total=total, seconds_left=seconds_left, fruitless=0,
                    lease=time.time() + self._lease,
                )
            )  # fmt: skip

    def finish(self, id_: str, state: str, **values: Any) -> bool:
        """End a job that this process holds; False: it is no longer this process's."""
        with self._database.transaction() as now:
            ended = now.execute(
                update(Job)
                .where(Job.id == id_, Job.holder == self.holder, Job.state == "running")
                .values(state=state, finished=time.time(), lease=None, seconds_left=None, **values)
            )
            return getattr(ended, "rowcount", 0) == 1

    def release(self, id_: str) -> None:
        """Put a job back, to be done by another process or after a restart."""
        with self._database.transaction() as now:
            now.execute(
                update(Job)
                .where(Job.id == id_, Job.holder == self.holder, Job.state == "running")
                .values(state="queued", holder=None, lease=None)
            )
        self.wake()

    def release_all(self) -> int:
        """Put all running jobs back; for a process that has the database to itself, at its start.

        Returns:
            How many there were.
        """
        with self._database.transaction() as now:
            freed = now.execute(
                update(Job)
                .where(Job.state == "running")
                .values(state="queued", holder=None, lease=None)
            )
            return int(getattr(freed, "rowcount", 0))

    def expired(self) -> Sequence[Job]:
        """Return the jobs whose results are to be removed."""
        query = select(Job).where(Job.expires < time.time(), Job.result.is_not(None)).limit(200)
        with self._database.transaction() as now:
            return [
                job for job in now.scalars(query).all() if job.result and not job.result.get("gone")
            ]

    def forget_result(self, id_: str) -> None:
        """Note that a job's result is gone."""
        with self._database.transaction() as now:
            now.execute(update(Job).where(Job.id == id_).values(result={"gone": True}))
