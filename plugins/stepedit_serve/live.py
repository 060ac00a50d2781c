"""Live use over a WebSocket: audio in, edited audio out, sentence by sentence."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stepedit_core import Chain, StepeditError, Utterance, explain_validation
from stepedit_core.dsp.vad import speech_spans
from stepedit_serve.bodies import Language
from stepedit_serve.errors import ApiError, api_error
from stepedit_serve.keys import Key, bearer
from stepedit_serve.requests_in import chain_from, guarded
from stepedit_serve.service import Service
from stepedit_serve.sound_out import pcm16
from stepedit_serve.working import hear_words

__all__ = ["SentenceCutter", "router"]

router = APIRouter()
FloatArray = npt.NDArray[np.float32]
PAUSE_SECONDS = 0.45
"""A pause of this length ends a sentence."""
LONGEST_SECONDS = 20.0
"""A sentence without a pause is cut here."""
LOOK_SECONDS = 0.3
"""How often it is looked for a pause, in seconds of audio."""
LEAST_SECONDS = 0.3
_BLOCK = 1 << 14


class LiveRequest(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    chain: dict[str, Any]
    sample_rate: int = Field(ge=8000, le=96_000)
    encoding: Literal["s16le", "f32le"] = "s16le"
    language: Language | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    route: Literal["auto", "llm", "dsp"] = "auto"
    transcribe: bool = False
    key: Annotated[str, StringConstraints(max_length=200)] | None = None
    consent_attestation: Annotated[str, StringConstraints(max_length=2000)] | None = None


class SentenceCutter:
    """Cuts a stream of samples at its pauses."""

    def __init__(self, rate: int) -> None:
        """Begin.

        Args:
            rate: in Hz.
        """
        self._rate = rate
        self._held: FloatArray = np.zeros(0, np.float32)
        self._start = 0
        self._looked = 0

    def add(self, samples: FloatArray) -> None:
        """Take samples in."""
        self._held = np.concatenate([self._held, samples])

    @property
    def is_due(self) -> bool:
        """Whether enough has come to look for a pause again."""
        return len(self._held) - self._looked >= LOOK_SECONDS * self._rate

    def cut(self, *, last: bool = False) -> list[tuple[float, FloatArray]]:
        """Return the sentences that are complete: seconds where each begins, and samples.

        Args:
            last: no more samples come; what is left is a sentence, if it holds speech.
        """
        found: list[tuple[float, FloatArray]] = []
        while True:
            self._looked = len(self._held)
            stop, speech = self._stop(last)
            if stop is None:
                return found
            if speech:
                found.append((self._start / self._rate, self._held[:stop].copy()))
            self._held, self._start = self._held[stop:], self._start + stop
            self._looked = 0
            if not len(self._held):
                return found

    def _stop(self, last: bool) -> tuple[int | None, bool]:
        """Return where the first sentence ends, and whether it holds speech."""
        length = len(self._held)
        if length < LEAST_SECONDS * self._rate:
            return (length, False) if last and length else (None, False)
        spans = speech_spans(Utterance(self._held, self._rate))
        seconds = length / self._rate
        if not spans:
            quiet = seconds > 2 * PAUSE_SECONDS
            if last:
                return length, False
            return (
                (round((seconds - PAUSE_SECONDS) * self._rate), False) if quiet else (None, False)
            )
        for here, after in zip(spans, [*spans[1:], None], strict=True):
            begins = seconds if after is None else after.start
            if begins - here.end >= PAUSE_SECONDS and (after is not None or not last):
                return round((here.end + PAUSE_SECONDS / 2) * self._rate), True
        if last:
            return length, True
        if seconds >= LONGEST_SECONDS:
            return length, True
        return None, False


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Edit what is said as it is said."""
    service: Service = socket.app.state.service
    await socket.accept()
    try:
        asked, key = await _begin(service, socket)
        chain = guarded(chain_from(asked.chain), key, asked.consent_attestation)
    except ApiError as error:
        await socket.send_json({"type": "error", **error.body()})
        await socket.close(1008)
        return
    except WebSocketDisconnect:
        return
    await _Live(service, socket, asked, key, chain).run()


async def _begin(service: Service, socket: WebSocket) -> tuple[LiveRequest, Key]:
    """Read the first message; raises ApiError."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text") or ""
    try:
        if len(text) > service.settings.max_json_body:
            raise ValueError("it is too large")
        asked = LiveRequest.model_validate(json.loads(text))
    except ValidationError as error:
        raise ApiError(400, "invalid_request", explain_validation(error)) from error
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_request", f"the first message is JSON ({error})") from error
    key = service.keys.find(asked.key or bearer(socket.headers))
    service.keys.count_request(key)
    return asked, key


class _Live:
    """One connection: it reads, and edits sentence after sentence beside that."""

    def __init__(
        self, service: Service, socket: WebSocket, asked: LiveRequest, key: Key, chain: Chain
    ) -> None:
        self._service, self._socket, self._asked = service, socket, asked
        self._key, self._chain = key, chain
        self._cutter = SentenceCutter(asked.sample_rate)
        self._sentences: asyncio.Queue[tuple[float, FloatArray] | None] = asyncio.Queue(32)
        self._rate = asked.sample_rate
        self._number = 0

    async def run(self) -> None:
        """Serve the connection until it ends."""
        editing = asyncio.create_task(self._edit_all())
        try:
            await self._socket.send_json(
                {"type": "ready", "sample_rate": self._rate, "encoding": "s16le"}
            )
            await self._read()
            await self._sentences.put(None)
            await editing
            await self._socket.send_json({"type": "done", "sentences": self._number})
            await self._socket.close()
        except ApiError as error:
            await self._socket.send_json({"type": "error", **error.body()})
            await self._socket.close(1008)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            editing.cancel()

    async def _read(self) -> None:
        """Take audio in and cut it, until the client says that it ends."""
        kind = "<i2" if self._asked.encoding == "s16le" else "<f4"
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            data = message.get("bytes")
            if data is None:
                self._is_end(message.get("text") or "")
                for one in await asyncio.to_thread(self._cutter.cut, last=True):
                    await self._sentences.put(one)
                return
            self._cutter.add(self._samples(data, kind))
            if self._cutter.is_due:
                for one in await asyncio.to_thread(self._cutter.cut):
                    await self._sentences.put(one)

    def _samples(self, data: bytes, kind: str) -> FloatArray:
        """Return a binary message as samples; raises ApiError (400, 429)."""
        size = np.dtype(kind).itemsize
        if len(data) % size or len(data) > 1 << 22:
            text = f"a binary message holds whole samples of {size} bytes, at most 4 MB"
            raise ApiError(400, "invalid_request", text)
        raw = np.frombuffer(data, kind)
        samples = raw.astype(np.float32) / (32768.0 if kind == "<i2" else 1.0)
        if not np.isfinite(samples).all():
            raise ApiError(400, "invalid_audio", "the samples hold NaN or infinite values")
        self._service.count_audio(self._key, len(samples) / self._rate)
        return np.asarray(samples, np.float32)

    @staticmethod
    def _is_end(text: str) -> None:
        """Hold that a text message says that the audio ends; raises ApiError (400)."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict) or data.get("type") != "end":
            raise ApiError(400, "invalid_request", 'a text message is {"type": "end"}')

    async def _edit_all(self) -> None:
        """Edit sentences in order and send what comes out."""
        while (one := await self._sentences.get()) is not None:
            start, samples = one
            self._number += 1
            head = {"number": self._number, "start": round(start, 3)}
            try:
                made = await self._edited(samples)
            except (ApiError, StepeditError) as error:
                told = error if isinstance(error, ApiError) else api_error(error)
                await self._socket.send_json({"type": "error", **head, **told.body()})
                continue
            end = start + len(samples) / self._rate
            await self._socket.send_json(
                {
                    "type": "sentence",
                    **head,
                    "end": round(end, 3),
                    "seconds": round(made.seconds, 3),
                    "transcript": made.transcript,
                }
            )
            content = pcm16(made.resample(self._rate).samples)
            for at in range(0, len(content), _BLOCK):
                await self._socket.send_bytes(content[at : at + _BLOCK])
            await self._socket.send_json({"type": "sentence_end", "number": self._number})

    async def _edited(self, samples: FloatArray) -> Utterance:
        """Return one sentence edited; raises ApiError and StepeditError."""
        service, asked = self._service, self._asked
        speech = Utterance(samples, self._rate, None, asked.language)
        if asked.transcribe:
            heard = await service.listen(lambda: service.workers.call(hear_words, speech))
            speech = speech.replace(transcript=heard.text, language=heard.language)

        def made() -> Utterance:
            result = service.run_chain(self._chain, speech, seed=asked.seed, route=asked.route)
            return service.marker.marked(result.utterance, speech)

        return await service.run(made)
