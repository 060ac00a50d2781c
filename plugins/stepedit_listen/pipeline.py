"""Any recogniser of the transformers pipeline ``automatic-speech-recognition``."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, ClassVar

from stepedit_core import (
    MissingDependencyError,
    Recogniser,
    StepeditError,
    Transcription,
    Utterance,
)
from stepedit_listen.failures import first_line

__all__ = ["Pipeline"]

RATE = 16_000


class Pipeline(Recogniser):
    """``hf:NAME_OR_PATH``: a model by hub id or folder; never chosen by ``auto``."""

    name: ClassVar[str] = "hf"
    rank: ClassVar[int] = 100

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load a model by hub id or folder."""
        if not model:
            raise StepeditError("recogniser hf: write hf:NAME_OR_PATH")
        try:
            import transformers
        except ImportError as error:
            raise MissingDependencyError(str(self.missing())) from error
        try:
            self._pipe: Any = transformers.pipeline("automatic-speech-recognition", model=model)
        except Exception as error:
            raise StepeditError(f"recogniser hf:{model}: {first_line(error)}") from error
        self.label = self.title(model)

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return the model's name and the library."""
        return f"{model} (transformers {version('transformers')})"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        absent = find_spec("transformers") is None
        return "transformers is not installed: pip install stepedit" if absent else None

    def transcribe(self, utterance: Utterance) -> Transcription:
        """Return the words heard."""
        audio = {"raw": utterance.resample(RATE).samples.copy(), "sampling_rate": RATE}
        text = str(self._pipe(audio)["text"]).strip()
        return Transcription(text, utterance.language, self.label)
