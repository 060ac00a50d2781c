"""What edits that limits accept leave in the memory of each of the service's processes."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from stepedit_serve.load_recordings import said_again
from stepedit_serve.load_watching import memory_of

__all__ = ["limits"]

EDITS = (
    {"edit": "emotion", "to": "happy"},
    {"edit": "speed", "rate": "slower"},
    {"edit": "style", "to": "whisper"},
)
"""What is asked for, one after another."""
TRIES = 2
"""Of each edit; what is made once is made by then."""


async def limits(base: str, pid: int | None) -> dict[str, Any]:
    """Return seconds of each edit, and the memory of the service and of those below it.

    Args:
        base: address of the service.
        pid: of the service.
    """
    if pid is None:
        raise SystemExit("limits: give --pid, the number of the service's process")
    content, words = said_again(3.0)
    found: list[dict[str, Any]] = [{"after": "the start", **_held(pid)}]
    async with httpx.AsyncClient(base_url=base, timeout=600) as client:
        for edit in EDITS:
            took = []
            for seed in range(TRIES):
                begin = time.perf_counter()
                answer = await client.post(
                    "/v1/edit",
                    files={"file": ("a.wav", content)},
                    data={
                        "chain": json.dumps(edit), "transcript": words, "accept": "normal",
                        "seed": str(seed),
                    },
                )  # fmt: skip
                if answer.status_code not in (200, 422):  # not accepted is an answer, too
                    answer.raise_for_status()
                took.append(round(time.perf_counter() - begin, 1))
            found.append({"after": edit["edit"], "seconds": took, **_held(pid)})
    return {"memory_mb": found}


def _held(pid: int) -> dict[str, Any]:
    """Return the memory of the service's own process, of the largest below it, and of all."""
    held = memory_of(pid)
    own = held.pop(pid, 0.0)
    below = sorted((round(one) for one in held.values()), reverse=True)
    return {"service": round(own), "below": below[:5], "all": round(own + sum(held.values()))}
