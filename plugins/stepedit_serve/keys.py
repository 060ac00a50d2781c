"""Bearer keys: hashed in a file, with limits of rate, of audio and of parallel jobs."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stepedit_core import StepeditError, explain_validation
from stepedit_serve.errors import ApiError

__all__ = ["OPEN", "Key", "Keys", "bearer", "new_key"]

_REREAD_SECONDS = 2.0
_HOUR = 3600.0


class Key(BaseModel):
    """What one key may do; its secret is known by hash alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[\w.@-]+$")]
    """Owner of what is made with the key; in logs, too."""
    hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """SHA-256 of the key, which is a random text of 256 bits."""
    requests_per_minute: float = Field(default=600.0, gt=0)
    audio_seconds_per_hour: float = Field(default=36_000.0, gt=0)
    """Seconds of uploaded audio, and of speech asked for."""
    jobs: int = Field(default=16, ge=0)
    """Jobs that may wait or run at once."""
    redact: bool = False
    """Whether personal data is taken out of every recording before anything else is done."""


OPEN = Key(
    name="anyone",
    hash=f"sha256:{'0' * 64}",
    requests_per_minute=1e9,
    audio_seconds_per_hour=1e12,
    jobs=10_000,
)
"""Stands for everybody where the service has no key file."""


def new_key(name: str, file: Path) -> str:
    """Make a key, append its hash to a key file, and return it: it is shown this once.

    Raises:
        StepeditError: if the file has a key of that name, or cannot be written.
    """
    key = f"se-{secrets.token_urlsafe(32)}"
    try:
        entry = Key(name=name, hash=_hash(key))
    except ValidationError as error:
        raise StepeditError(f"key {name!r}: {explain_validation(error)}") from error
    if file.exists() and any(known.name == name for known in _read(file).values()):
        raise StepeditError(f"{file}: there is a key {name!r} already")
    try:
        with open(file, "a", encoding="utf-8") as out:
            out.write(f'[[key]]\nname = "{entry.name}"\nhash = "{entry.hash}"\n\n')
        file.chmod(0o600)
    except OSError as error:
        raise StepeditError(f"{file}: cannot be written ({error.strerror})") from error
    return key


def _hash(key: str) -> str:
    """Return a key's hash; keys are random, so that no slow hash is needed."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _read(file: Path) -> dict[str, Key]:
    """Read a key file; raises StepeditError."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StepeditError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise StepeditError(f"{file}: not TOML ({error})") from error
    rows = data.get("key", [])
    if not isinstance(rows, list) or set(data) - {"key"}:
        raise StepeditError(f"{file}: a key file has tables [[key]] and nothing else")
    found: dict[str, Key] = {}
    for number, row in enumerate(rows, 1):
        try:
            key = Key.model_validate(row)
        except ValidationError as error:
            raise StepeditError(f"{file}: key {number}: {explain_validation(error)}") from error
        if any(other.name == key.name for other in found.values()):
            raise StepeditError(f"{file}: there are two keys {key.name!r}")
        found[key.hash] = key
    return found


class _Bucket:
    """An allowance that fills up again: so much in a period, at once or spread."""

    def __init__(self, most: float, period: float) -> None:
        self.most, self.period = most, period
        self._left, self._at = most, time.monotonic()

    def take(self, amount: float) -> float:
        """Take an amount; return 0, or the seconds after which it would be there."""
        now = time.monotonic()
        speed = self.most / self.period
        self._left = min(self.most, self._left + (now - self._at) * speed)
        self._at = now
        if amount <= self._left or (amount > self.most and self._left >= self.most):
            self._left -= amount
            return 0.0
        return (min(amount, self.most) - self._left) / speed


class Keys:
    """The keys of a file, read again when it changes, and what each has used."""

    def __init__(self, file: Path | None) -> None:
        """Read the file.

        Args:
            file: TOML with tables ``[[key]]``; None asks nobody for a key.

        Raises:
            StepeditError: if it cannot be read or is damaged.
        """
        self._file = file
        self._keys = _read(file) if file is not None else {}
        self._stamp = self._changed()
        self._looked = time.monotonic()
        self._rates: dict[str, _Bucket] = {}
        self._audio: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    @property
    def asked_for(self) -> bool:
        """Whether requests need a key."""
        return self._file is not None

    def _changed(self) -> float:
        """Return when the file was changed."""
        try:
            return self._file.stat().st_mtime if self._file is not None else 0.0
        except OSError:
            return 0.0

    def _fresh(self) -> dict[str, Key]:
        """Return the keys; a damaged file leaves those that were known."""
        if self._file is not None and time.monotonic() - self._looked > _REREAD_SECONDS:
            self._looked = time.monotonic()
            stamp = self._changed()
            if stamp != self._stamp:
                try:
                    self._keys, self._stamp = _read(self._file), stamp
                    self._rates.clear()
                    self._audio.clear()
                except StepeditError:
                    return self._keys
        return self._keys

    def find(self, secret: str | None) -> Key:
        """Return the key of a secret; raises ApiError (401)."""
        if not self.asked_for:
            return OPEN
        if not secret:
            raise ApiError(401, "invalid_key", "send a key: Authorization: Bearer KEY")
        given = _hash(secret)
        with self._lock:
            for known, key in self._fresh().items():
                if hmac.compare_digest(known, given):
                    return key
        raise ApiError(401, "invalid_key", "the key is not known here")

    def count_request(self, key: Key) -> None:
        """Count one request; raises ApiError (429) when there are too many."""
        self._take(self._rates, key, 1.0, key.requests_per_minute, 60.0, "rate_limited", "requests")

    def count_audio(self, key: Key, seconds: float) -> None:
        """Count seconds of audio; raises ApiError (429) when the hour's are used up."""
        most = key.audio_seconds_per_hour
        self._take(self._audio, key, seconds, most, _HOUR, "audio_quota", "seconds of audio")

    def _take(
        self,
        buckets: dict[str, _Bucket],
        key: Key,
        amount: float,
        most: float,
        period: float,
        code: str,
        what: str,
    ) -> None:
        with self._lock:
            bucket = buckets.setdefault(key.name, _Bucket(most, period))
            wait = bucket.take(amount)
        if wait > 0:
            span = "a minute" if period == 60 else "an hour"
            raise ApiError(
                429,
                code,
                f"key {key.name}: more than {most:g} {what} in {span}; try again in {wait:.0f} s",
                retry_after=wait,
            )


def bearer(headers: Any) -> str | None:
    """Return the secret of an Authorization header, or None."""
    kind, _, secret = str(headers.get("authorization", "")).partition(" ")
    return secret.strip() or None if kind.lower() == "bearer" else None
