"""Sessions over HTTP: begin, edit, branch, undo, look back, take away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from pydantic import StringConstraints
from starlette.background import BackgroundTask

from stepedit_core import StepeditError, printable
from stepedit_serve.asking import (
    KeyOf,
    LanguageForm,
    Sent,
    ServiceOf,
    TranscriptForm,
    answers,
    fields,
    forget,
)
from stepedit_serve.bodies import (
    BranchRequest,
    EditRequest,
    FileFormat,
    LabelFormat,
    Nothing,
    TranscriptRequest,
)
from stepedit_serve.errors import LONGEST, ApiError, api_error
from stepedit_serve.jobs import job_out, new_job
from stepedit_serve.keys import Key
from stepedit_serve.routes_edit import labels
from stepedit_serve.schemas import (
    AlignmentOut,
    History,
    JobOut,
    JobPending,
    MarkOut,
    NodeMade,
    NodeOut,
    SessionOut,
    Sessions,
    SessionSummary,
    StepSummary,
)
from stepedit_serve.service import Service
from stepedit_serve.sessions import (
    Work,
    ask,
    audio_key,
    audio_of,
    begin_session,
    edit_version,
    time_words,
    utterance_of,
    whole_chain,
)
from stepedit_serve.sound_out import MEDIA_TYPES, encode, rewrite
from stepedit_serve.tables import Node, Session

__all__ = ["router", "save_subtitles"]

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])
MAX_SUBTITLES = 16 << 20
_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".textgrid", ".txt", ".json")
TitleForm = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] | None, Form()
]


# Answers ---------------------------------------------------------------------------------


def node_out(service: Service, node: Node, *, report: bool = False) -> NodeOut:
    """Return a version as it is answered."""
    data = node.report or {}
    steps = [
        StepSummary(
            edit=str(step["edit"]["edit"]),
            route=str(step["route"]),
            engine=step.get("engine"),
            seconds=float(step.get("wall_seconds", 0.0)),
        )
        for step in data.get("steps", ())
    ] or _steps_of_pieces(data)
    return NodeOut(
        id=node.id, session=node.session, parent=node.parent, number=node.number,
        title=node.title, chain=node.chain, steps=steps, say=node.say, seed=node.seed,
        created=node.created, seconds=round(node.seconds, 4), sample_rate=node.sample_rate,
        transcript=node.transcript, language=node.language,
        has_alignment=node.alignment is not None, notes=node.notes,
        mark=mark_of(service, node), report=node.report if report else None,
    )  # fmt: skip


def _steps_of_pieces(report: dict[str, Any]) -> list[StepSummary]:
    """Return the steps that the first edited piece of a long recording took."""
    for piece in report.get("pieces", ()):
        if piece.get("is_edited"):
            return [
                StepSummary(
                    edit=str(step["edit"]["edit"]), route=str(step["route"]), engine=None,
                    seconds=float(step.get("wall", 0.0)),
                )
                for step in piece["details"].get("steps", ())
            ]  # fmt: skip
    return []


def session_out(service: Service, session: Session) -> SessionOut:
    """Return a session with its tree."""
    nodes = service.database.nodes(session.id)
    return SessionOut(
        id=session.id, title=session.title, created=session.created, changed=session.changed,
        head=session.head, root=session.root,
        language=next((n.language for n in nodes if n.language), None),
        branches=session.branches, nodes=[node_out(service, node) for node in nodes],
        can_undo=session.head != session.root,
        can_redo=any(node.parent == session.head for node in nodes),
    )  # fmt: skip


def _session(service: Service, key: Key, id_: str) -> Session:
    return service.database.owned(Session, id_, key.name)


# Sessions --------------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    responses=answers(415),
    dependencies=[Depends(fields("file", "transcript", "language", "title", "subtitles"))],
)
async def begin(
    service: ServiceOf,
    key: KeyOf,
    file: Sent,
    transcript: TranscriptForm = None,
    language: LanguageForm = None,
    title: TitleForm = None,
    subtitles: Annotated[UploadFile | None, File()] = None,
) -> SessionOut:
    """Begin a session with a recording."""
    if subtitles is not None and transcript is not None:
        raise ApiError(400, "invalid_request", "give subtitles or transcript, not both")
    source = await service.save(file.file)
    audio = source.with_suffix(".wav")
    words = None
    try:
        facts = await service.decoded_long(source, audio, key, service.settings.max_session_seconds)
        words = await save_subtitles(service, subtitles)
        name = Path(file.filename or "recording").name[:200]
        session = await service.listen(
            lambda: begin_session(
                service, key, audio, facts, title=title or name, transcript=transcript,
                language=language, subtitles=words,
            )
        )  # fmt: skip
        return await asyncio.to_thread(session_out, service, session)
    finally:
        await forget(source, audio, words)


async def save_subtitles(service: Service, file: UploadFile | None) -> Path | None:
    """Write a subtitle upload to a file of its own; raises ApiError (400, 413)."""
    if file is None or not file.filename:
        return None
    suffix = Path(file.filename).suffix.lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise ApiError(
            400, "invalid_request", f"subtitles are files with {known}", param="subtitles"
        )
    if (file.size or 0) > MAX_SUBTITLES:
        raise ApiError(413, "too_large", "subtitles of more than 16 MB", param="subtitles")
    return await service.save(file.file, suffix)


@router.get("", responses=answers())
def all_sessions(service: ServiceOf, key: KeyOf) -> Sessions:
    """List the sessions of the key, newest first."""
    found = []
    for session in service.database.all_owned(Session, key.name):
        root = service.database.node(session.id, session.root)
        found.append(
            SessionSummary(
                id=session.id, title=session.title, created=session.created,
                changed=session.changed, nodes=session.count, seconds=round(root.seconds, 4),
            )
        )  # fmt: skip
    return Sessions(sessions=found)


@router.get("/{session}", responses=answers(404))
def one_session(session: str, service: ServiceOf, key: KeyOf) -> SessionOut:
    """Return a session with its tree."""
    return session_out(service, _session(service, key, session))


@router.delete("/{session}", status_code=204, responses=answers(404))
def remove(session: str, service: ServiceOf, key: KeyOf) -> None:
    """Remove a session and its audio."""
    service.database.remove_owned(Session, session, key.name)
    service.audio.remove(f"sessions/{session}")


# Edits -----------------------------------------------------------------------------------


@router.post(
    "/{session}/edits",
    status_code=201,
    response_model=NodeMade,
    responses={202: {"model": JobOut}} | answers(403, 404, 409, 422, 503),
)
async def edit(session: str, asked: EditRequest, service: ServiceOf, key: KeyOf) -> Any:
    """Edit a version; answer the new one, or with ``wait`` false a job at once."""
    found = await asyncio.to_thread(_session, service, key, session)
    node = await asyncio.to_thread(service.database.node, session, asked.parent or found.head)
    chain, asked = await service.listen(lambda: ask(service, key, node, asked))
    if not asked.wait:
        request = {
            "asked": asked.model_dump(mode="json"),
            "chain": chain.to_data(),
            "parent": node.id,
            "head_was": found.head,
        }
        job = await asyncio.to_thread(
            new_job, service, key, "session_edit", request, session=session
        )
        return JSONResponse(job_out(job).model_dump(mode="json"), 202)
    work = Work(service.spooled())
    made = await service.run(
        lambda: edit_version(service, key.name, node, chain, asked, work, head_was=found.head)
    )

    def answer() -> Response:
        shown = session_out(service, _session(service, key, session))
        found = NodeMade(node=node_out(service, made, report=True), session=shown)
        return Response(found.model_dump_json(), 201, media_type="application/json")

    return await asyncio.to_thread(answer)


@router.post("/{session}/branch", responses=answers(404, 409))
def branch(session: str, asked: BranchRequest, service: ServiceOf, key: KeyOf) -> SessionOut:
    """Move the head to a version, so that the next edit begins a branch there."""
    found = _session(service, key, session)
    service.database.node(session, asked.node)
    service.database.move_head(found, asked.node, asked.name)
    return one_session(session, service, key)


@router.post("/{session}/undo", responses=answers(404, 409))
def undo(session: str, service: ServiceOf, key: KeyOf, asked: Nothing | None = None) -> SessionOut:
    """Move the head to the version before."""
    found = _session(service, key, session)
    parent = service.database.node(session, found.head).parent
    if parent is None:
        raise ApiError(409, "conflict", "the head is the source: there is nothing to undo")
    service.database.move_head(found, parent)
    return one_session(session, service, key)


@router.post("/{session}/redo", responses=answers(404, 409))
def redo(session: str, service: ServiceOf, key: KeyOf, asked: Nothing | None = None) -> SessionOut:
    """Move the head to the newest version that was made from it."""
    found = _session(service, key, session)
    children = [n for n in service.database.nodes(session) if n.parent == found.head]
    if not children:
        raise ApiError(409, "conflict", "nothing was made from this version: nothing to redo")
    service.database.move_head(found, children[-1].id)
    return one_session(session, service, key)


@router.get("/{session}/history", responses=answers(404))
def history(session: str, service: ServiceOf, key: KeyOf) -> History:
    """Return all versions in order of making, with what made them."""
    found = _session(service, key, session)
    nodes = [node_out(service, node, report=True) for node in service.database.nodes(session)]
    return History(session=session, head=found.head, nodes=nodes)


# Versions --------------------------------------------------------------------------------


def _node(service: Service, key: Key, session: str, node: str) -> Node:
    _session(service, key, session)
    return service.database.node(session, node)


@router.get("/{session}/nodes/{node}", responses=answers(404))
def one_node(session: str, node: str, service: ServiceOf, key: KeyOf) -> NodeOut:
    """Return a version with what made it."""
    return node_out(service, _node(service, key, session, node), report=True)


@router.get("/{session}/nodes/{node}/audio", responses=answers(404), response_class=FileResponse)
def audio(
    session: str,
    node: str,
    service: ServiceOf,
    key: KeyOf,
    format: Annotated[FileFormat, Query()] = "wav",
) -> FileResponse:
    """Return a version's audio; ranges of bytes work."""
    found = _node(service, key, session, node)
    path, is_copy = as_format(service, found, format)
    mark = mark_of(service, found).name
    return FileResponse(
        path,
        media_type=MEDIA_TYPES[format],
        filename=f"{found.number:03d}.{format}",
        headers={
            "ETag": f'"{found.id}-{mark}-{format}"',
            "Cache-Control": "private, max-age=86400",
            "X-Stepedit-Mark": mark,
        },
        background=BackgroundTask(path.unlink, missing_ok=True) if is_copy else None,
    )


def as_format(service: Service, node: Node, kind: str) -> tuple[Path, bool]:
    """Return a version as a file of a format, made on first use; and whether it is a mere copy.

    What edits calculated is rounded to the fineness of the source. Edited versions carry the mark,
    where there is one and they are not too long to be held as a whole.
    """
    wanted = audio_key(node.session, node.id)
    if kind != "wav" or node.subtype == "FLOAT" or mark_of(service, node).why is None:
        wanted = f"{wanted.removesuffix('.wav')}.{service.marker.name}.{kind}"
        if not service.audio.exists(wanted):
            made = service.spooled(f".{kind}")
            try:
                _write_as(service, node, kind, made)
                service.audio.put(wanted, made)
            finally:
                made.unlink(missing_ok=True)
    copy = service.spooled(f".{kind}")
    path = service.audio.fetch(wanted, copy)
    return path, path == copy


def mark_of(service: Service, node: Node) -> MarkOut:
    """Return the mark that a version carries as it is handed out, or why it carries none."""
    if node.parent is None:
        return MarkOut(name="none", why="unedited", text="it is the recording as it came in")
    if service.marker.why_none is not None:
        why, text = service.marker.why_none
        return MarkOut(name="none", why=why, text=printable(text, LONGEST))
    longest = service.settings.long_seconds
    if node.seconds > longest:
        text = f"recordings of more than {longest:g} s are edited piece by piece"
        return MarkOut(name="none", why="too_long", text=text)
    return MarkOut(name=service.marker.name)


def _write_as(service: Service, node: Node, kind: str, target: Path) -> None:
    """Write a version as a file of a format, marked where it is to be."""
    root = service.database.nodes(node.session)[0]
    if mark_of(service, node).why is None:
        made = service.marker.marked(utterance_of(service, node), utterance_of(service, root))
        target.write_bytes(encode(made.replace(subtype=root.subtype), kind))
        return
    with audio_of(service, node) as path:
        rewrite(path, target, kind, root.subtype)


@router.get(
    "/{session}/nodes/{node}/alignment",
    responses={200: {"model": AlignmentOut}, 202: {"model": JobPending}} | answers(404, 422, 503),
    response_class=Response,
)
async def alignment(
    session: str,
    node: str,
    service: ServiceOf,
    key: KeyOf,
    format: Annotated[LabelFormat, Query()] = "json",
) -> Response:
    """Return when a version's words are said; long recordings are timed by a job first."""
    found = await asyncio.to_thread(_node, service, key, session, node)
    if found.alignment is None and found.seconds > service.settings.long_seconds:
        job = await asyncio.to_thread(service.queue.open_for, "align", node)
        if job is None:
            job = await asyncio.to_thread(
                new_job, service, key, "align", {}, session=session, node=node
            )
        return JSONResponse(JobPending(job=job_out(job)).model_dump(mode="json"), 202)
    return await service.listen(lambda: labels(time_words(service, found), found.seconds, format))


@router.put("/{session}/nodes/{node}/transcript", responses=answers(404))
def correct(
    session: str, node: str, asked: TranscriptRequest, service: ServiceOf, key: KeyOf
) -> NodeOut:
    """Correct a version's words; they are timed anew."""
    found = _node(service, key, session, node)
    values: dict[str, Any] = {"transcript": asked.transcript or None, "alignment": None}
    if asked.language is not None:
        values["language"] = asked.language
    service.database.change_node(found.id, **values)
    return one_node(session, node, service, key)


@router.get("/{session}/nodes/{node}/chain", responses=answers(404, 409))
def chain(session: str, node: str, service: ServiceOf, key: KeyOf) -> Response:
    """Return the chain from the source to a version."""
    found = _node(service, key, session, node)
    try:
        whole = whole_chain(service, found)
    except StepeditError as error:
        raise ApiError(409, "conflict", str(api_error(error).message)) from error
    headers = {"Content-Disposition": f'attachment; filename="{found.number:03d}.chain.json"'}
    return Response(whole.to_json(), media_type="application/json", headers=headers)
