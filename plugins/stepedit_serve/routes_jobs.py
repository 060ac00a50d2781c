"""Jobs over HTTP: put down, watched, cancelled, fetched."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Header, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import StringConstraints
from starlette.background import BackgroundTask

from stepedit_core import StepeditError
from stepedit_serve.asking import (
    EDIT_FIELDS,
    EditFormOf,
    KeyOf,
    Sent,
    ServiceOf,
    answers,
    fields,
    forget,
)
from stepedit_serve.database import new_id
from stepedit_serve.errors import ApiError
from stepedit_serve.jobs import has_ended, job_out, new_job
from stepedit_serve.keys import Key
from stepedit_serve.requests_in import chain_from, chain_said, guarded, said, segment_numbers
from stepedit_serve.routes_sessions import save_subtitles
from stepedit_serve.schemas import JobOut, Jobs
from stepedit_serve.service import Service
from stepedit_serve.sound_out import MEDIA_TYPES
from stepedit_serve.tables import Job
from stepedit_serve.words_of_long import subtitles_of

__all__ = ["router"]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_POLL_SECONDS, _ALIVE_SECONDS = 0.25, 15.0
Idempotency = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
    | None,
    Header(alias="Idempotency-Key"),
]
SegmentsForm = Annotated[
    Annotated[str, StringConstraints(max_length=20_000)] | None,
    Form(description="Numbers of the segments that are edited, such as 1,3-5."),
]


@router.post(
    "",
    status_code=202,
    responses=answers(403, 409, 415, 422, 503),
    dependencies=[Depends(fields(*EDIT_FIELDS, "subtitles", "segments", "keep_failed"))],
)
async def put(
    service: ServiceOf,
    key: KeyOf,
    file: Sent,
    form: EditFormOf,
    segments: SegmentsForm = None,
    keep_failed: Annotated[bool, Form()] = False,
    subtitles: Annotated[UploadFile | None, File()] = None,
    idempotency: Idempotency = None,
) -> JobOut:
    """Put down an edit of a recording of any length; it is done while nobody waits."""
    known = await asyncio.to_thread(service.queue.of_idempotency, key.name, idempotency)
    if known is not None:
        return job_out(known)
    form.check()

    def read() -> dict[str, Any]:
        asked = (
            chain_from(form.chain)
            if form.chain is not None
            else chain_said(said(str(form.say), form.transcript))
        )
        return guarded(asked, key, form.consent_attestation).to_data()

    request: dict[str, Any] = {
        "chain": await asyncio.to_thread(read),
        "transcript": form.transcript,
        "language": form.language,
        "seed": form.seed,
        "route": form.route,
        "accept": form.accept,
        "format": form.format,
        "segments": segment_numbers(segments),
        "keep_failed": keep_failed,
    }
    words = await save_subtitles(service, subtitles)
    try:
        return await _put_down(service, key, file, words, request, idempotency)
    finally:
        await forget(words)


async def _put_down(
    service: Service,
    key: Key,
    file: UploadFile,
    words: Path | None,
    request: dict[str, Any],
    idempotency: str | None,
) -> JobOut:
    """Store the audio, then the job; from then on nothing loses it."""
    id_ = new_id("job")
    source = await service.save(file.file)
    audio = source.with_suffix(".wav")
    try:
        facts = await service.decoded_long(source, audio, key, service.settings.max_job_seconds)
        request |= {
            "subtitles": None if words is None else words.suffix,
            "seconds": facts["seconds"],
            "subtype": facts["subtype"],
            "notes": facts["notes"],
        }

        def store() -> Job:
            service.audio.put(f"jobs/{id_}/source.wav", audio)
            if words is not None:
                service.audio.put(f"jobs/{id_}/subtitles{words.suffix}", words)
            try:
                job = new_job(service, key, "edit", request, id_=id_, idempotency=idempotency)
            except BaseException:
                service.audio.remove(f"jobs/{id_}")
                raise
            if job.id != id_:  # the same request came twice at once
                service.audio.remove(f"jobs/{id_}")
            return job

        return job_out(await asyncio.to_thread(store))
    finally:
        await forget(source, audio)


@router.get("", responses=answers())
def all_jobs(service: ServiceOf, key: KeyOf) -> Jobs:
    """List the jobs of the key, newest first."""
    return Jobs(jobs=[job_out(job) for job in service.queue.all_of(key.name)])


@router.get("/{job}", responses=answers(404))
def one(job: str, service: ServiceOf, key: KeyOf) -> JobOut:
    """Return a job."""
    return job_out(service.queue.get(job, key.name))


@router.delete(
    "/{job}",
    status_code=202,
    response_model=JobOut,
    responses={204: {"description": "It had ended, and is removed."}} | answers(404),
)
def cancel(job: str, service: ServiceOf, key: KeyOf) -> Any:
    """Cancel a job that waits or runs; remove one that has ended."""
    found = service.queue.get(job, key.name)
    if has_ended(found):
        service.queue.remove(job)
        service.audio.remove(f"jobs/{job}")
        return Response(status_code=204)
    after = service.queue.cancel(job)
    if after.state == "cancelled":  # it never ran
        service.audio.remove(f"jobs/{job}")
    return job_out(after)


@router.get(
    "/{job}/events",
    responses={200: {"content": {"text/event-stream": {}}}} | answers(404),
    response_class=StreamingResponse,
)
async def events(job: str, request: Request, service: ServiceOf, key: KeyOf) -> StreamingResponse:
    """Send a job whenever it changes, until it has ended."""
    await asyncio.to_thread(service.queue.get, job, key.name)

    async def stream() -> AsyncIterator[str]:
        last, number, sent = "", 0, time.monotonic()
        while not await request.is_disconnected():
            found = await asyncio.to_thread(service.queue.get, job, key.name)
            data = json.dumps(job_out(found).model_dump(mode="json"), ensure_ascii=False)
            ended = has_ended(found)
            if data != last:
                number, last, sent = number + 1, data, time.monotonic()
                kind = found.state if ended else "progress"
                yield f"id: {number}\nevent: {kind}\ndata: {data}\n\n"
            elif time.monotonic() - sent > _ALIVE_SECONDS:
                sent = time.monotonic()
                yield ": still there\n\n"
            if ended:
                return
            await asyncio.sleep(_POLL_SECONDS)

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


def _finished(service: Service, key: Key, id_: str) -> Job:
    """Return a job that is done and still has its result; raises ApiError (409, 410)."""
    job = service.queue.get(id_, key.name)
    if job.state == "cancelled" or (job.result or {}).get("gone"):
        raise ApiError(410, "gone", "there is no result (any more): it was cancelled or expired")
    if job.state == "failed":
        raise ApiError(409, "conflict", f"the job failed: {(job.error or {}).get('message')}")
    if job.state != "done":
        raise ApiError(409, "conflict", f"the job is {job.state}; its result is not there yet")
    if job.kind != "edit":
        raise ApiError(409, "conflict", f"the result of this job is version {job.node}")
    return job


@router.get("/{job}/result", responses=answers(404, 409, 410), response_class=FileResponse)
def result(job: str, service: ServiceOf, key: KeyOf) -> FileResponse:
    """Return the audio of a job that is done."""
    found = _finished(service, key, job)
    kind = str(found.request["format"])
    copy = service.spooled(f".{kind}")
    path = service.audio.fetch(str((found.result or {})["key"]), copy)
    clean_up = BackgroundTask(copy.unlink, missing_ok=True) if path == copy else None
    return FileResponse(
        path, media_type=MEDIA_TYPES[kind], filename=f"{job}.{kind}", background=clean_up
    )


@router.get("/{job}/report", responses=answers(404, 409, 410))
def report(job: str, service: ServiceOf, key: KeyOf) -> JSONResponse:
    """Return what was done, piece by piece."""
    found = _finished(service, key, job)
    return JSONResponse(json.loads(_text(service, found, "report.json")))


@router.get("/{job}/subtitles", responses=answers(404, 409, 410), response_class=Response)
def subtitles(
    job: str,
    service: ServiceOf,
    key: KeyOf,
    format: Annotated[str, Query(pattern="^(json|srt|vtt|textgrid|audacity)$")] = "srt",
) -> Response:
    """Return the words at their new times."""
    found = _finished(service, key, job)
    try:
        text = _text(service, found, "words.json")
    except StepeditError as error:
        raise ApiError(409, "conflict", "no words are known of this recording") from error
    if format == "json":
        return Response(text, media_type="application/json")
    return Response(subtitles_of(text, format), media_type="text/plain; charset=utf-8")


def _text(service: Service, job: Job, name: str) -> str:
    """Return a text file of a job's."""
    copy = service.spooled(".json")
    try:
        return service.audio.fetch(f"jobs/{job.id}/{name}", copy).read_text(encoding="utf-8")
    finally:
        copy.unlink(missing_ok=True)
