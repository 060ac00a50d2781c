"""Talk to a `stepedit serve` by the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from .sound import FloatArray, read_wav, wav_bytes

__all__ = ["Service", "ServiceError"]

DEFAULT_URL = "http://127.0.0.1:8765"
_LIST_SECONDS = 10
_EDIT_SECONDS = 1800


class ServiceError(RuntimeError):
    """The service refused something, or does not answer; the text is one line."""


class Service:
    """One service, by its address."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Take address and key.

        Args:
            url: such as ``http://127.0.0.1:8765``.
            key: bearer key, where the service asks for one.
        """
        self.url, self._key = url.rstrip("/"), key

    @classmethod
    def of_environment(cls) -> Service:
        """Return the service that ``STEPEDIT_URL`` and ``STEPEDIT_KEY`` name."""
        return cls(os.environ.get("STEPEDIT_URL", DEFAULT_URL), os.environ.get("STEPEDIT_KEY"))

    def edits(self) -> list[dict[str, Any]]:
        """Return what can be done: ``EditInfo`` of each edit; raises ServiceError."""
        request = urllib.request.Request(f"{self.url}/v1/edits", headers=self._headers())
        return list(self._json(request, _LIST_SECONDS)["edits"])

    def edit(
        self, samples: FloatArray, rate: int, fields: Mapping[str, str]
    ) -> tuple[FloatArray, int, dict[str, Any]]:
        """Edit a recording.

        Args:
            samples: float32 ``(frames, channels)``.
            rate: in Hz.
            fields: of the form of ``POST /v1/edit``; empty ones are left out.

        Returns:
            Samples of the same kind, their rate, and the answer without its audio.

        Raises:
            ServiceError: if the edit is refused or fails.
        """
        body, kind = _form({**fields, "format": "wav"}, wav_bytes(samples, rate))
        headers = {**self._headers(), "Content-Type": kind, "Accept": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/edit", body, headers)
        answer = self._json(request, _EDIT_SECONDS)
        made, made_rate = read_wav(base64.b64decode(answer.pop("audio")))
        return made, made_rate, answer

    def _headers(self) -> dict[str, str]:
        return {} if self._key is None else {"Authorization": f"Bearer {self._key}"}

    def _json(self, request: urllib.request.Request, seconds: float) -> dict[str, Any]:
        """Return an answer's JSON object; raises ServiceError."""
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise ServiceError(_message(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ServiceError(f"{self.url}: {reason}; is `stepedit serve` running?") from None


def _message(error: urllib.error.HTTPError) -> str:
    """Return what the service says of an error."""
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered {error.code}"


def _form(fields: Mapping[str, str], sound: bytes) -> tuple[bytes, str]:
    """Return a multipart body and its content type."""
    border = secrets.token_hex(16)
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
        if value
    ]
    head = (
        f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="audio.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    parts += [head.encode(), sound, f"\r\n--{border}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={border}"
