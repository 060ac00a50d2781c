"""Speech in a stored voice, voices and consents, as OpenAI's clients ask for them."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, StringConstraints

from stepedit_core import Chain, StepeditError, Utterance, edit_from_data
from stepedit_core.dsp.words import read_seconds
from stepedit_serve.asking import (
    AttestationForm,
    KeyOf,
    LanguageForm,
    ServiceOf,
    TranscriptForm,
    answers,
    clean,
    fields,
    uploaded,
)
from stepedit_serve.bodies import SpeechRequest
from stepedit_serve.database import new_id
from stepedit_serve.errors import ApiError, api_error
from stepedit_serve.keys import Key
from stepedit_serve.routes_edit import stream_edit
from stepedit_serve.schemas import Deleted, VoiceConsentOut, VoiceOut, Voices
from stepedit_serve.service import Service, pieces
from stepedit_serve.sound_out import MEDIA_TYPES, encode
from stepedit_serve.tables import Consent, Voice
from stepedit_serve.working import hear_words

__all__ = ["router"]

router = APIRouter(prefix="/v1/audio", tags=["speech"])
MAX_VOICE_SECONDS = 60.0
NameForm = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)],
    Form(),
    AfterValidator(clean),
]
_SLOWEST, _FASTEST = 0.5, 2.0
"""Factors of one speed edit; what goes beyond is done in two."""


# Speech ----------------------------------------------------------------------------------


@router.post(
    "/speech",
    responses={200: {"content": {kind: {} for kind in sorted(set(MEDIA_TYPES.values()))}}}
    | answers(403, 404, 422, 503),
    response_class=Response,
)
async def speech(
    asked: SpeechRequest, request: Request, service: ServiceOf, key: KeyOf
) -> Response:
    """Say a text in a voice; ``wav`` and ``pcm`` are sent while the model generates."""
    if asked.instructions:
        raise ApiError(
            400, "unsupported", "instructions are not read; edit the speech by /v1/edit instead",
            param="instructions",
        )  # fmt: skip
    if service.batcher is None:
        raise ApiError(503, "unavailable", "speech needs an engine, and none is loaded here")
    chain = _spoken(asked)
    service.count_audio(key, read_seconds(asked.input))
    source = await asyncio.to_thread(_voice, service, key, asked)
    kind = asked.response_format
    is_plain = len(chain) == 1 and asked.stream_format == "audio"
    if kind in ("wav", "pcm") and is_plain and not service.marker.is_asked_for:
        return await stream_edit(service, source, chain, asked.seed, kind)

    def made(gone: threading.Event) -> bytes:
        result = service.run_chain(chain, source, seed=asked.seed, route="auto", cancelled=gone)
        return encode(service.marker.marked(result.utterance, None), kind)

    content = await service.run_while_there(request, made)
    if asked.stream_format == "sse":
        return StreamingResponse(_events(content), media_type="text/event-stream")
    headers = {"X-Stepedit-Mark": service.marker.name}
    return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)


def _spoken(asked: SpeechRequest) -> Chain:
    """Return the chain that says a text at a speed; raises ApiError (400)."""
    try:
        edits = [edit_from_data({"edit": "clone", "text": clean(asked.input)})]
        left = asked.speed
        while left != 1.0:
            factor = min(_FASTEST, max(_SLOWEST, left))
            edits.append(edit_from_data({"edit": "speed", "factor": factor}))
            left = left / factor
    except StepeditError as error:
        raise api_error(error, "input") from error
    except ValueError as error:
        raise ApiError(400, "invalid_request", str(error), param="input") from error
    return Chain(edits)


def _events(content: bytes) -> Iterator[str]:
    """Yield audio as OpenAI's server-sent events."""
    for part in pieces(content, 3 << 14):
        data = {"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()}
        yield f"event: speech.audio.delta\ndata: {json.dumps(data)}\n\n"
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    data_done = {"type": "speech.audio.done", "usage": usage}
    yield f"event: speech.audio.done\ndata: {json.dumps(data_done)}\n\n"


def _voice(service: Service, key: Key, asked: SpeechRequest) -> Utterance:
    """Return the recording of a voice with its words; raises ApiError (404)."""
    id_ = asked.voice if isinstance(asked.voice, str) else asked.voice.id
    try:
        voice = service.database.owned(Voice, id_, key.name)
    except ApiError:
        named = [v for v in service.database.all_owned(Voice, key.name) if v.name == id_]
        if not named:
            raise ApiError(
                404, "not_found", f"no voice {id_[:80]!r}; POST /v1/audio/voices makes one",
                param="voice",
            ) from None  # fmt: skip
        voice = named[0]
    copy = service.spooled(".wav")
    try:
        path = service.audio.fetch(_key_of(voice.id), copy)
        return Utterance.read(path, voice.transcript, voice.language)
    finally:
        copy.unlink(missing_ok=True)


def _key_of(voice: str) -> str:
    return f"voices/{voice}.wav"


# Voices ----------------------------------------------------------------------------------


def _voice_out(voice: Voice) -> VoiceOut:
    return VoiceOut(
        id=voice.id, name=voice.name, created_at=int(voice.created), language=voice.language,
        seconds=round(voice.seconds, 3),
    )  # fmt: skip


@router.get("/voices", responses=answers())
def voices(service: ServiceOf, key: KeyOf) -> Voices:
    """List the voices of the key."""
    found = [_voice_out(voice) for voice in service.database.all_owned(Voice, key.name)]
    return Voices(data=found, voices=found)


@router.post(
    "/voices",
    responses=answers(403, 404, 415, 422, 503),
    dependencies=[
        Depends(
            fields(
                "name", "audio_sample", "transcript", "language", "consent",
                "consent_attestation", "type",
            )
        )
    ],
)  # fmt: skip
async def new_voice(
    service: ServiceOf,
    key: KeyOf,
    name: NameForm,
    audio_sample: Annotated[UploadFile, File()],
    transcript: TranscriptForm = None,
    language: LanguageForm = None,
    consent: Annotated[str | None, Form(max_length=64)] = None,
    consent_attestation: AttestationForm = None,
    type: Annotated[str, Form(pattern="^audio_sample$")] = "audio_sample",
) -> VoiceOut:
    """Store a voice; its words are heard where they are not given."""
    del type
    if consent:
        await asyncio.to_thread(service.database.owned, Consent, consent, key.name)
    elif len(consent_attestation or "") < 8:
        raise ApiError(
            403, "consent_required",
            "a voice is somebody's: give consent (a consent recording) or consent_attestation",
            param="consent",
        )  # fmt: skip
    found = await uploaded(
        service, key, audio_sample, transcript, language, seconds=MAX_VOICE_SECONDS
    )
    if transcript is None:
        heard = await service.listen(lambda: service.workers.call(hear_words, found))
        if not heard.text.strip():
            raise ApiError(400, "invalid_audio", "no words are heard in the sample")
        found = found.replace(transcript=heard.text, language=language or heard.language)
    voice = Voice(
        id=new_id("voice"), owner=key.name, name=name, created=time.time(),
        seconds=found.seconds, language=found.language, transcript=found.transcript or "",
        consent=consent or consent_attestation or "",
    )  # fmt: skip
    await asyncio.to_thread(_store, service, voice, found, _key_of(voice.id))
    return _voice_out(voice)


def _store(service: Service, row: Voice | Consent, sound: Utterance, where: str) -> None:
    """Store a recording, then the row that speaks of it."""
    file: Path = service.spooled(".wav")
    try:
        sound.write(file, subtype="FLOAT")
        service.audio.put(where, file)
    finally:
        file.unlink(missing_ok=True)
    service.database.add(row)


@router.get("/voices/{voice}", responses=answers(404))
def one_voice(voice: str, service: ServiceOf, key: KeyOf) -> VoiceOut:
    """Return a voice."""
    return _voice_out(service.database.owned(Voice, voice, key.name))


@router.delete("/voices/{voice}", responses=answers(404))
def remove_voice(voice: str, service: ServiceOf, key: KeyOf) -> Deleted:
    """Remove a voice and its recording."""
    service.database.remove_owned(Voice, voice, key.name)
    service.audio.remove(_key_of(voice))
    return Deleted(id=voice, object="audio.voice.deleted")


# Consents --------------------------------------------------------------------------------


def _consent_out(consent: Consent) -> VoiceConsentOut:
    return VoiceConsentOut(
        id=consent.id, name=consent.name, language=consent.language,
        created_at=int(consent.created),
    )  # fmt: skip


@router.post(
    "/voice_consents",
    responses=answers(415),
    dependencies=[Depends(fields("name", "language", "recording"))],
)
async def new_consent(
    service: ServiceOf,
    key: KeyOf,
    name: NameForm,
    language: Annotated[str, Form(max_length=35, pattern=r"^[A-Za-z]{2,8}(-\w{1,8})*$")],
    recording: Annotated[UploadFile, File()],
) -> VoiceConsentOut:
    """Store a recording in which a speaker consents."""
    found = await uploaded(service, key, recording, None, language, seconds=MAX_VOICE_SECONDS)
    row = Consent(
        id=new_id("cons"), owner=key.name, name=name, language=language, created=time.time()
    )
    await asyncio.to_thread(_store, service, row, found, f"consents/{row.id}.wav")
    return _consent_out(row)


@router.get("/voice_consents/{consent}", responses=answers(404))
def one_consent(consent: str, service: ServiceOf, key: KeyOf) -> VoiceConsentOut:
    """Return a consent."""
    return _consent_out(service.database.owned(Consent, consent, key.name))


@router.delete("/voice_consents/{consent}", responses=answers(404))
def remove_consent(consent: str, service: ServiceOf, key: KeyOf) -> Deleted:
    """Remove a consent and its recording; voices that were made with it stay."""
    service.database.remove_owned(Consent, consent, key.name)
    service.audio.remove(f"consents/{consent}.wav")
    return Deleted(id=consent, object="audio.voice_consent.deleted")
