"""Transcription endpoints that speak OpenAI's protocol, such as a vLLM or Whisper server."""

from __future__ import annotations

import io
import os
from importlib.util import find_spec
from typing import Any, ClassVar

import soundfile as sf

from stepedit_core import Recogniser, StepeditError, Transcription, Utterance
from stepedit_listen.failures import first_line

__all__ = ["Endpoint"]

RATE = 16_000


class Endpoint(Recogniser):
    """``openai:MODEL``; address and key from OPENAI_BASE_URL and OPENAI_API_KEY."""

    name: ClassVar[str] = "openai"
    rank: ClassVar[int] = 100  # never by itself: a recording leaves the machine only where asked

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Make a client; nothing is sent yet."""
        problem = self.missing()
        if problem:
            raise StepeditError(f"recogniser openai: {problem}")
        import openai

        self._model = model or "whisper-1"
        self.label = self.title(model)
        self._client: Any = openai.OpenAI(max_retries=6, timeout=120.0)

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return the model's name."""
        return f"{model or 'whisper-1'} (OpenAI-compatible endpoint)"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed or set."""
        if find_spec("openai") is None:
            return "the package openai is not installed: pip install openai"
        return None if os.environ.get("OPENAI_API_KEY") else "OPENAI_API_KEY is not set"

    def transcribe(self, utterance: Utterance) -> Transcription:
        """Return the words heard."""
        buffer = io.BytesIO()
        sf.write(buffer, utterance.resample(RATE).samples, RATE, format="WAV", subtype="PCM_16")
        options: dict[str, Any] = {"temperature": 0.0}
        if utterance.language:
            options["language"] = utterance.language.split("-")[0].lower()
        try:
            answer = self._client.audio.transcriptions.create(
                model=self._model, file=("speech.wav", buffer.getvalue()), **options
            )
        except Exception as error:
            raise StepeditError(f"recogniser openai:{self._model}: {first_line(error)}") from error
        return Transcription(str(answer.text).strip(), utterance.language, self.label)
