"""Request handling of remote judges: rate limit, retries with back-off, and a cache of answers."""

from __future__ import annotations

import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stepedit_core.atomic import write_atomically
from stepedit_core.storage.stored_json import parse_json

__all__ = ["AnswerCache", "Pace", "PassingFailure", "Retries", "retry_after"]

T = TypeVar("T")


class PassingFailure(Exception):
    """A request that may succeed later: 429, 5xx, a time-out or a broken connection.

    Attributes:
        wait: seconds that the server asks to wait, or None.
    """

    def __init__(self, why: str, wait: float | None = None) -> None:
        """Keep the server's wish beside the reason."""
        super().__init__(why)
        self.wait = wait


def retry_after(headers: Mapping[str, str] | None, now: float | None = None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), or None."""
    value = (headers or {}).get("retry-after") or (headers or {}).get("Retry-After")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, moment - (time.time() if now is None else now))


@dataclass
class Retries:
    """Attempts with exponential back-off and full jitter.

    Attributes:
        attempts: how often to ask at most.
        first: upper limit of the first wait in seconds; it doubles each time.
        longest: upper limit of all waits that the server does not ask for.
        patience: longest wait that a server may ask for; beyond it the attempt is given up.
        sleep: waits.
        rng: draws waits; the one thing about a judge that need not repeat.
        made: attempts after the first so far, over all questions.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0
    patience: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.Random)
    made: int = 0

    def run(self, ask: Callable[[], T]) -> T:
        """Return the value of ``ask``, called again after transient failures.

        Raises:
            PassingFailure: the last one, when attempts or patience are at an end.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return ask()
            except PassingFailure as failure:
                if attempt == self.attempts or (failure.wait or 0.0) > self.patience:
                    raise PassingFailure(f"{failure} (attempt {attempt})", failure.wait) from None
                self.made += 1
                self.sleep(self._wait(attempt, failure.wait))
        raise AssertionError("unreachable")

    def _wait(self, attempt: int, asked: float | None) -> float:
        limit = min(self.longest, self.first * 2 ** (attempt - 1))
        jitter = self.rng.uniform(0.0, limit)
        return jitter if asked is None else asked + min(jitter, 1.0)


class Pace:
    """At most so many requests a minute, evenly spread, over all threads of a process."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start with the first request free; 0 is no limit."""
        self._gap = 60.0 / per_minute if per_minute > 0 else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = float("-inf")
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for the next turn."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


class AnswerCache:
    """Answers on disk, one JSON file each, named by what was asked.

    Files appear when complete, so that a killed run leaves no half answer; a damaged file is
    asked for again. Neither keys nor audio are written.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made on the first write."""
        self._folder = folder

    def get(self, key: str) -> str | None:
        """Return the text answered to a question, or None."""
        try:
            found = parse_json(self._path(key).read_text(encoding="utf-8"))
            return str(found["answer"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, answer: str, about: Mapping[str, Any]) -> None:
        """Keep an answer and what it is about."""
        text = json.dumps({**about, "answer": answer}, ensure_ascii=False, indent=1)
        write_atomically(self._path(key), text)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
