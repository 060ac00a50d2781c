"""A service over a fake engine, in this process or in one of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from fastapi.testclient import TestClient
from stepedit_serve.app import create_app
from stepedit_serve.settings import ServeSettings

from stepedit_core import SpeechEngine
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeEngine

SLOWER = {"edit": "speed", "factor": 0.8}


def settings(folder: Path, **changes: Any) -> ServeSettings:
    """Return settings for tests: one worker, no engine but the one that is given."""
    values = {"engine": None, "data": folder / "data", "workers": 1, "mark": "none", **changes}
    return ServeSettings(**values)


@contextmanager
def serving(
    folder: Path, engine: SpeechEngine | None = None, **changes: Any
) -> Iterator[TestClient]:
    """Run a service over a fake engine and give a client of it."""
    app = create_app(settings(folder, **changes), engine or FakeEngine())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def wav(seconds: float = 1.0, rate: int = 16_000, subtype: str = "PCM_16") -> bytes:
    """Return a WAV file of a tone that comes and goes."""
    t = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * t) * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t))
    out = io.BytesIO()
    sf.write(out, tone, rate, subtype=subtype, format="WAV")
    return out.getvalue()


def speech(name: str = "garden") -> tuple[bytes, str]:
    """Return a packaged recording as WAV, and its words."""
    found = packaged_speech(name)
    out = io.BytesIO()
    sf.write(out, found.samples, found.sample_rate, subtype="PCM_16", format="WAV")
    return out.getvalue(), found.transcript or ""


def sound(content: bytes) -> tuple[Any, int]:
    """Return samples and rate of a sound file."""
    return sf.read(io.BytesIO(content), dtype="float32")


def form(**fields: Any) -> dict[str, str]:
    """Return form fields, data as JSON text."""
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for name, value in fields.items()
    }


def error_of(answer: Any) -> dict[str, Any]:
    """Return the error of an answer, which is one line."""
    found: dict[str, Any] = answer.json()["error"]
    assert "\n" not in found["message"]
    assert found["message"]
    return found
