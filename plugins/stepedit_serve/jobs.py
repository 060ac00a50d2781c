"""Jobs: what is promised and done while nobody waits; a restart goes on with them."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepedit_core import (
    Accept,
    Chain,
    Recording,
    RecordingResult,
    StepeditError,
    Utterance,
    counted,
    printable,
)
from stepedit_serve.bodies import EditRequest
from stepedit_serve.database import new_id
from stepedit_serve.errors import ApiError, api_error, is_full, no_space
from stepedit_serve.job_queue import ENDED, MAX_FRUITLESS
from stepedit_serve.keys import Key
from stepedit_serve.schemas import JobOut, Progress
from stepedit_serve.sessions import Work, edit_version, time_words
from stepedit_serve.sound_out import encode, rewrite
from stepedit_serve.tables import Job

if TYPE_CHECKING:
    from stepedit_serve.service import Service

__all__ = ["JobRunner", "has_ended", "job_out", "new_job"]

LOG = logging.getLogger("stepedit.serve")
_IDLE_SECONDS = 1.0
"""How often the queue is asked for what other processes have put down or left."""
_SWEEP_SECONDS = 60.0
_PROGRESS_SECONDS = 0.3


def job_out(job: Job) -> JobOut:
    """Return a job as it is answered."""
    return JobOut.model_validate(
        {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "created": job.created,
            "started": job.started,
            "finished": job.finished,
            "expires": job.expires,
            "progress": Progress(done=job.done, total=job.total, seconds_left=job.seconds_left),
            "attempts": job.attempts,
            "error": job.error,
            "session": job.session,
            "node": job.node,
            "format": job.request.get("format", "wav"),
            "notes": job.notes,
        }
    )


def new_job(
    service: Service,
    key: Key,
    kind: str,
    request: dict[str, Any],
    *,
    id_: str | None = None,
    idempotency: str | None = None,
    session: str | None = None,
    node: str | None = None,
) -> Job:
    """Put a job down; when this returns, no restart loses it.

    Raises:
        ApiError: (429) if the key has as many jobs under way as it may have.
    """
    if service.queue.open_of(key.name) >= key.jobs:
        text = f"key {key.name} has {counted(key.jobs, 'job')} under way, the most it may have"
        raise ApiError(429, "too_many_jobs", text, retry_after=30)
    job = Job(
        id=id_ or new_id("job"), owner=key.name, idempotency=idempotency, kind=kind,
        state="queued", request=request, created=time.time(), done=0, total=0, attempts=0,
        fruitless=0, cancel=False, notes=[], session=session, node=node,
    )  # fmt: skip
    return service.queue.put(job)[0]


class JobRunner:
    """Threads that take jobs from the queue, and one that says that they still work."""

    def __init__(self, service: Service) -> None:
        """Start the threads."""
        self._service = service
        self._stop = threading.Event()
        self._works: dict[str, Work] = {}
        self._lock = threading.Lock()
        count = service.settings.job_workers
        self._threads = [
            threading.Thread(target=self._serve, name=f"job-{n}", daemon=True) for n in range(count)
        ]
        self._threads.append(threading.Thread(target=self._keep, name="job-keeper", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Stop: jobs under way are put back, to go on after the next start."""
        self._stop.set()
        self._service.queue.wake(len(self._threads))
        with self._lock:
            for work in self._works.values():
                work.cancelled.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # Threads -----------------------------------------------------------------------------

    def _serve(self) -> None:
        """Take jobs until the end."""
        while not self._stop.is_set():
            try:
                job = self._service.queue.claim()
            except Exception as error:  # a database that is away comes back
                LOG.error("no job can be claimed: %s", type(error).__name__)
                job = None
            if job is None:
                self._service.queue.wait(_IDLE_SECONDS)
                continue
            self._run(job)

    def _keep(self) -> None:
        """Renew the claims, find out what was cancelled, remove what has expired."""
        pause = min(1.0, self._service.settings.lease_seconds / 4)
        swept = 0.0
        while not self._stop.wait(pause):
            with self._lock:
                works = list(self._works.items())
            try:
                for id_, work in works:
                    if not self._service.queue.keep(id_):
                        work.cancelled.set()
                if time.monotonic() - swept > _SWEEP_SECONDS:
                    swept = time.monotonic()
                    self._sweep()
            except Exception as error:
                LOG.error("jobs cannot be kept: %s", type(error).__name__)

    def _sweep(self) -> None:
        """Remove the results of jobs that have expired."""
        for job in self._service.queue.expired():
            self._service.audio.remove(f"jobs/{job.id}")
            self._service.queue.forget_result(job.id)

    def _run(self, job: Job) -> None:
        """Do a job and say how it ended."""
        service = self._service
        work = Work(service.settings.spool / "jobs" / job.id, job=job.id)
        work.on_progress = _Teller(service, job)
        with self._lock:
            self._works[job.id] = work
        try:
            if job.fruitless > MAX_FRUITLESS:
                raise StepeditError(f"given up after {job.attempts} attempts that ended midway")
            values = self._do(job, work)
            ended = self._finish(job, "done", error=None, **values)
        except Exception as error:
            ended = self._failed(job, work, error)
        finally:
            with self._lock:
                self._works.pop(job.id, None)
        if ended:
            shutil.rmtree(work.folder, ignore_errors=True)
            self._service.audio.remove(f"jobs/{job.id}/source.wav")

    def _failed(self, job: Job, work: Work, error: Exception) -> bool:
        """Say why a job ended without a result; return whether it has ended."""
        if work.cancelled.is_set():
            if self._stop.is_set():
                self._service.queue.release(job.id)
                return False
            return self._finish(job, "cancelled", error=None)
        if isinstance(error, ApiError):
            told = {"message": error.message, "code": error.code}
        elif isinstance(error, StepeditError) or is_full(error):
            answer = api_error(error) if isinstance(error, StepeditError) else no_space()
            told = {"message": answer.message, "code": answer.code}
        else:
            LOG.error("a job of kind %s failed: %s", job.kind, type(error).__name__)
            told = {"message": f"the server failed ({type(error).__name__})", "code": "internal"}
        return self._finish(job, "failed", error=told)

    def _finish(self, job: Job, state: str, **values: Any) -> bool:
        """End a job in the database and count it."""
        expires = time.time() + self._service.settings.job_hours * 3600
        ended = self._service.queue.finish(job.id, state, expires=expires, **values)
        if ended:
            self._service.metrics.jobs.labels(job.kind, state).inc()
        return ended

    # Kinds -------------------------------------------------------------------------------

    def _do(self, job: Job, work: Work) -> dict[str, Any]:
        """Do what a job asks for; return what is to be stored of it."""
        if job.kind == "edit":
            return edit_recording(self._service, job, work)
        if job.kind == "align":
            work.tell(0, 1)
            time_words(self._service, self._service.database.node(str(job.session), str(job.node)))
            return {"done": 1, "total": 1, "result": {}}
        asked = EditRequest.model_validate(job.request["asked"])
        parent = self._service.database.node(str(job.session), job.request["parent"])
        chain = Chain.from_data(job.request["chain"])
        made = edit_version(
            self._service, job.owner, parent, chain, asked, work, head_was=job.request["head_was"]
        )
        return {"node": made.id, "notes": made.notes, "result": {}}


class _Teller:
    """Writes progress to the database, not too often, with an estimate of the time left."""

    def __init__(self, service: Service, job: Job) -> None:
        self._queue, self._job = service.queue, job.id
        # A job that goes on does the piece anew that was under way; its progress does not go back.
        self._reached = {job.total: job.done}
        self._begin = self._told = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Note that so much of so much is done."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._begin = done, now
        elif now - self._told < _PROGRESS_SECONDS and done < total:
            return
        self._told = now
        made = done - self._first
        left = (now - self._begin) / made * (total - done) if made > 0 else None
        shown = max(done, self._reached.get(total, 0))
        self._queue.progress(self._job, shown, total, None if left is None else round(left, 1))


# Long recordings -------------------------------------------------------------------------


def edit_recording(service: Service, job: Job, work: Work) -> dict[str, Any]:
    """Run a chain over an uploaded recording; a job that is run again goes on where it stopped.

    Raises:
        StepeditError: if the chain does not fit, or a step fails.
    """
    request = job.request
    work.folder.mkdir(parents=True, exist_ok=True)
    source = service.audio.fetch(f"jobs/{job.id}/source.wav", work.folder / "source.wav")
    chain = Chain.from_data(request["chain"])
    seconds = float(request["seconds"])
    is_long = seconds > service.settings.long_seconds or request["segments"] or request["subtitles"]
    made = _by_pieces if is_long else _at_once
    audio, facts = made(service, job, work, source, chain)
    kind = str(request["format"])
    final = work.folder / f"result.{kind}" if kind != "wav" else audio
    if kind == "pcm":
        final.write_bytes(encode(Utterance.read(audio, max_seconds=1e9), "pcm"))
    elif kind != "wav":
        rewrite(audio, final, kind, request["subtype"])
    report = work.folder / "report.json"
    report.write_text(json.dumps(facts["report"], ensure_ascii=False), encoding="utf-8")
    service.audio.put(f"jobs/{job.id}/report.json", report)
    service.audio.put(f"jobs/{job.id}/result.{kind}", final)
    return {
        "result": {"key": f"jobs/{job.id}/result.{kind}", "seconds": facts["seconds"]},
        "notes": facts["notes"],
    }


def _at_once(
    service: Service, job: Job, work: Work, source: Path, chain: Chain
) -> tuple[Path, dict[str, Any]]:
    """Run a chain on a short recording."""
    request = job.request
    on_step = work.counting(len(chain.unrolled()))
    speech = Utterance.read(source, request["transcript"], request["language"])
    result = service.run_chain(
        chain,
        speech,
        seed=int(request["seed"]),
        route=request["route"],
        accept=request["accept"],
        cancelled=work.cancelled,
        on_step=on_step,
    )
    made = service.marker.marked(result.utterance, speech)
    audio = work.folder / "audio.wav"
    made.replace(subtype=request["subtype"]).write(audio)
    notes = [*request["notes"], *result.notes]
    return audio, {"report": result.report(), "seconds": made.seconds, "notes": notes}


def _by_pieces(
    service: Service, job: Job, work: Work, source: Path, chain: Chain
) -> tuple[Path, dict[str, Any]]:
    """Run a chain over a long recording piece by piece."""
    request = job.request
    options: dict[str, Any] = {"language": request["language"]}
    if request["subtitles"]:
        name = f"subtitles{request['subtitles']}"
        options["subtitles"] = service.audio.fetch(f"jobs/{job.id}/{name}", work.folder / name)
    elif request["transcript"]:
        options["text"] = request["transcript"]
    recording = Recording.read(source, **options)
    audio = work.folder / "audio.wav"
    result: RecordingResult = recording.edit(
        chain,
        audio,
        engine=service.engine_for(work.cancelled),
        seed=int(request["seed"]),
        route=request["route"],
        accept=Accept.of(request["accept"]),
        segments=request["segments"],
        keep_failed=bool(request["keep_failed"]),
        on_piece=work.tell,
    )
    if any(part.text for part in result.segments):
        words = work.folder / "words.json"
        result.write_subtitles(words)
        service.audio.put(f"jobs/{job.id}/words.json", words)
    report = result.report()
    report["output"] = None
    notes = [printable(note.replace(str(source), "the recording"), 400) for note in result.notes]
    return audio, {"report": report, "seconds": result.seconds, "notes": notes}


def has_ended(job: Job) -> bool:
    """Say whether nothing will be done about a job any more."""
    return job.state in ENDED
