"""One edit at once, and the words of a recording."""

from __future__ import annotations

import asyncio
import base64
import queue
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from stepedit_core import (
    Alignment,
    Chain,
    ChainResult,
    Setting,
    StreamRequest,
    Utterance,
    format_alignment,
)
from stepedit_serve.asking import (
    EDIT_FIELDS,
    EditFormOf,
    KeyOf,
    LanguageForm,
    Sent,
    ServiceOf,
    TranscriptForm,
    answers,
    fields,
    uploaded,
)
from stepedit_serve.bodies import InterpretRequest, LabelFormat
from stepedit_serve.errors import ApiError
from stepedit_serve.keys import Key
from stepedit_serve.requests_in import chain_from, guarded, said
from stepedit_serve.schemas import AlignmentOut, EditAnswer, Interpreted, TranscriptionOut, WordOut
from stepedit_serve.service import Service, summary
from stepedit_serve.sessions import setting_of
from stepedit_serve.sound_out import MEDIA_TYPES, encode, pcm16, streamed_wav_header
from stepedit_serve.working import hear_words

__all__ = ["router", "stream_edit"]

router = APIRouter()
FloatArray = npt.NDArray[np.float32]
_TEXTS = {"srt": "application/x-subrip", "vtt": "text/vtt", "textgrid": "text/plain"}
_END = object()

_AUDIO_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The edited audio; EditAnswer where the request accepts JSON.",
        "content": {kind: {} for kind in sorted(set(MEDIA_TYPES.values()))}
        | {"application/json": {"schema": EditAnswer.model_json_schema(ref_template="{model}")}},
    }
}


@router.post(
    "/v1/edit",
    tags=["edits"],
    responses=_AUDIO_ANSWER | answers(403, 415, 422, 503),
    response_class=Response,
    dependencies=[Depends(fields(*EDIT_FIELDS, "stream"))],
)
async def edit(
    request: Request,
    service: ServiceOf,
    key: KeyOf,
    file: Sent,
    form: EditFormOf,
    stream: Annotated[bool, Form()] = False,
) -> Response:
    """Edit a recording by a chain or a sentence; answer audio, or JSON where that is accepted."""
    form.check()
    agreed = form.consent_attestation

    def read(text: str) -> Chain:
        return guarded(chain_from(text), key, agreed)

    asked = None if form.chain is None else await asyncio.to_thread(read, form.chain)
    speech = await uploaded(service, key, file, form.transcript, form.language)
    if asked is None:
        found, speech = await service.run(lambda: service.chain_of_sentence(str(form.say), speech))
        asked = guarded(found, key, agreed)
    if stream:
        return await stream_edit(service, speech, asked, form.seed, form.format)
    ready = asked
    as_json = "application/json" in request.headers.get("accept", "")

    def answer(gone: threading.Event) -> Response:
        result = service.run_chain(
            ready, speech, seed=form.seed, route=form.route, accept=form.accept, cancelled=gone
        )
        return _answer(service, result, ready, form.format, as_json)

    return await service.run_while_there(request, answer)


def _answer(
    service: Service, result: ChainResult, chain: Chain, kind: str, as_json: bool
) -> Response:
    """Return a result as audio, or as JSON with the audio in it; not for the event loop."""
    made = service.marker.marked(result.utterance, result.source)
    content = encode(made, kind)
    if as_json:
        answer = EditAnswer(
            audio=base64.b64encode(content).decode(),
            format=cast(Any, kind),
            seconds=round(made.seconds, 4),
            sample_rate=made.sample_rate,
            transcript=made.transcript,
            chain=chain.to_data(),
            report=result.report(),
            notes=[*result.source.notes, *result.notes],
        )
        return JSONResponse(answer.model_dump(mode="json"))
    headers = {
        "X-Stepedit-Seed": str(result.seed),
        "X-Stepedit-Steps": summary(result.steps),
        "X-Stepedit-Mark": service.marker.name,
        "X-Stepedit-Seconds": f"{made.seconds:.4f}",
        "X-Stepedit-Sample-Rate": str(made.sample_rate),
    }
    return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)


# Streams ---------------------------------------------------------------------------------


async def stream_edit(
    service: Service, speech: Utterance, chain: Chain, seed: int, kind: str
) -> StreamingResponse:
    """Answer with audio while the model still generates.

    Raises:
        ApiError: (400) if the chain or the format cannot be streamed; what goes wrong before the
            first audio is answered as an error, too.
    """
    if kind not in ("wav", "pcm"):
        raise ApiError(400, "unsupported", f"{kind} cannot be streamed; ask for wav or pcm")
    if service.marker.is_asked_for:
        text = f"streams cannot carry the mark {service.marker.name!r}; ask without stream"
        raise ApiError(400, "unsupported", text)
    edits = chain.unrolled()
    engine: Any = None if service.batcher is None else service.batcher.engine
    if engine is None or not hasattr(engine, "stream"):
        raise ApiError(503, "unavailable", "there is no engine here that streams")
    if len(edits) != 1 or "llm" not in type(edits[0]).routes():
        raise ApiError(400, "unsupported", "stream takes one edit that has an llm route")
    await service.run(lambda: chain.validate(speech, engine, route="llm"))
    chunks = _Chunks(service, StreamRequest(speech, edits[0], seed))
    first = await chunks.next()

    async def body() -> AsyncIterator[bytes]:
        if kind == "wav":
            yield streamed_wav_header(engine.sample_rate)
        chunk = first
        try:
            while chunk is not None:
                yield pcm16(chunk)
                chunk = await chunks.next()
        finally:
            chunks.give_up()

    headers = {
        "X-Stepedit-Seed": str(seed),
        "X-Stepedit-Sample-Rate": str(engine.sample_rate),
        "X-Stepedit-Mark": "none",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(body(), media_type=MEDIA_TYPES[kind], headers=headers)


class _Chunks:
    """Audio that an engine makes in a thread of its own; a slow client does not hold it up."""

    def __init__(self, service: Service, request: StreamRequest) -> None:
        """Begin."""
        assert service.batcher is not None
        self._begin = time.perf_counter()
        self._service = service
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._there = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_first = True
        self._given_up = threading.Event()
        made = service.batcher.stream(request, self._given_up)
        threading.Thread(target=self._make, args=(made,), daemon=True).start()

    def give_up(self) -> None:
        """Make no more: the client has gone."""
        self._given_up.set()

    def _make(self, chunks: Iterator[FloatArray]) -> None:
        """Put chunks down as they come, then the end or the error."""
        try:
            for chunk in chunks:
                if self._given_up.is_set():
                    break
                self._put(np.asarray(chunk, np.float32))
            self._put(_END)
        except BaseException as error:
            self._put(error)
        finally:
            if isinstance(chunks, Generator):
                chunks.close()  # the engine is free for others

    def _put(self, item: Any) -> None:
        self._queue.put(item)
        try:
            self._loop.call_soon_threadsafe(self._there.set)
        except RuntimeError:  # the service has ended
            return

    async def next(self) -> FloatArray | None:
        """Return the next chunk, None at the end; raises what the engine raises."""
        while self._queue.empty():
            self._there.clear()
            if self._queue.empty():
                await self._there.wait()
        item = self._queue.get()
        if item is _END:
            return None
        if isinstance(item, BaseException):
            raise item
        if self._is_first:
            self._is_first = False
            self._service.metrics.first_audio.observe(time.perf_counter() - self._begin)
        return cast(FloatArray, item)


# Words -----------------------------------------------------------------------------------


@router.post(
    "/v1/transcribe",
    tags=["words"],
    responses=answers(415, 422, 503),
    dependencies=[Depends(fields("file", "language", "recogniser"))],
)
async def transcribe(
    service: ServiceOf,
    key: KeyOf,
    file: Sent,
    language: LanguageForm = None,
    recogniser: Annotated[str, Form(max_length=40, pattern=r"^[\w.-]+$")] = "auto",
) -> TranscriptionOut:
    """Return the words of a recording."""
    return await _heard(service, key, file, language, recogniser)


@router.post("/v1/audio/transcriptions", tags=["speech"], responses=answers(415, 422, 503))
async def transcriptions(
    service: ServiceOf,
    key: KeyOf,
    file: Sent,
    model: Annotated[str, Form(max_length=200)] = "auto",
    language: LanguageForm = None,
    response_format: Annotated[str, Form(pattern="^(json|text|verbose_json)$")] = "json",
) -> Response:
    """Return the words of a recording as OpenAI's clients ask for them."""
    heard = await _heard(service, key, file, language, "auto")
    if response_format == "text":
        return Response(heard.text + "\n", media_type="text/plain")
    data: dict[str, Any] = {"text": heard.text}
    if response_format == "verbose_json":
        words = [{"word": w.text, "start": w.start, "end": w.end} for w in heard.words]
        data |= {"language": heard.language, "words": words, "task": "transcribe"}
    return JSONResponse(data)


async def _heard(
    service: Service, key: Key, file: Any, language: str | None, recogniser: str
) -> TranscriptionOut:
    """Return what a recogniser hears in an upload."""
    speech = await uploaded(service, key, file, None, language)
    heard = await service.listen(lambda: service.workers.call(hear_words, speech, recogniser))
    words = [
        WordOut(text=word.text, start=word.start, end=word.end, confidence=word.confidence)
        for word in heard.words
    ]
    return TranscriptionOut(
        text=heard.text, language=heard.language, recogniser=heard.recogniser, words=words
    )


@router.post(
    "/v1/align",
    tags=["words"],
    responses={200: {"model": AlignmentOut}} | answers(415, 422, 503),
    dependencies=[Depends(fields("file", "transcript", "language", "aligner", "format"))],
)
async def align(
    service: ServiceOf,
    key: KeyOf,
    file: Sent,
    transcript: TranscriptForm = None,
    language: LanguageForm = None,
    aligner: Annotated[str, Form(max_length=40, pattern=r"^[\w.-]+$")] = "auto",
    format: Annotated[LabelFormat, Form()] = "json",
) -> Response:
    """Return when each word of a recording is said."""
    speech = await uploaded(service, key, file, transcript, language)
    timed = await service.listen(lambda: service.timed(speech, aligner))
    assert timed.alignment is not None
    return labels(timed.alignment, timed.seconds, format)


def labels(known: Alignment, seconds: float, kind: LabelFormat) -> Response:
    """Return an alignment as JSON or as a file of labels."""
    if kind == "json":
        return JSONResponse(known.to_data())
    text = format_alignment(known, kind, seconds)
    return Response(text, media_type=f"{_TEXTS.get(kind, 'text/plain')}; charset=utf-8")


@router.post("/v1/interpret", tags=["words"], responses=answers(404, 503))
def interpret(asked: InterpretRequest, service: ServiceOf, key: KeyOf) -> Interpreted:
    """Return the chain that a sentence asks for; nothing is run."""
    about: Setting | str | None = asked.transcript
    if asked.session is not None:
        about = setting_of(service, key.name, asked.session, asked.node)
    elif asked.node is not None:
        raise ApiError(400, "invalid_request", "node needs session", param="node")
    found = said(asked.say, about)
    data = {"question": found.question, **found.to_data()}
    return Interpreted.model_validate(data)
