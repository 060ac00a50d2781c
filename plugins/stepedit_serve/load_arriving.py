"""Measure what short requests take that arrive while long ones are generated."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import httpx

from stepedit_serve.load_recordings import recording, spread

__all__ = ["arriving"]

SLOWER = {"edit": "speed", "rate": "slower"}
SHORT_SECONDS = 2.0
LONGEST_PAUSE = 0.5
"""Greatest time between two short requests, in seconds, so that they come at any step."""


async def arriving(base: str, clients: int, seconds: float, tries: int) -> dict[str, Any]:
    """Return what short edits take alone, and while clients generate long ones all the time.

    Both are spoken slower by the language model, one answer each.

    Args:
        base: address of the service.
        clients: who send long edits one after another.
        seconds: of audio of the long ones.
        tries: short edits, one after another.
    """
    long_seconds: list[float] = []

    async def edit(client: httpx.AsyncClient, of: float, number: int) -> float:
        content, text = recording(of, number)
        begin = time.perf_counter()
        answer = await client.post(
            "/v1/edit",
            files={"file": ("a.wav", content)},
            data={
                "chain": json.dumps(SLOWER), "transcript": text, "route": "llm",
                "seed": str(number),
            },
        )  # fmt: skip
        answer.raise_for_status()
        return time.perf_counter() - begin

    async def long_ones(client: httpx.AsyncClient, place: int) -> None:
        for number in range(place, 10**6, clients):
            long_seconds.append(await edit(client, seconds, number))

    async with httpx.AsyncClient(base_url=base, timeout=1200) as client:
        await edit(client, SHORT_SECONDS, 99)  # what is made once
        alone = [await edit(client, SHORT_SECONDS, number) for number in range(tries)]
        tasks = [asyncio.create_task(long_ones(client, place)) for place in range(clients)]
        begin, draw = time.perf_counter(), random.Random(0)
        meanwhile = []
        for number in range(tries):
            await asyncio.sleep(draw.uniform(0, LONGEST_PAUSE))
            meanwhile.append(await edit(client, SHORT_SECONDS, tries + number))
        took, done = time.perf_counter() - begin, len(long_seconds)
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):  # a cancelled one is none
                raise found
    return {
        "long_audio_seconds": seconds,
        "long_clients": clients,
        "short_alone": spread(alone),
        "short_meanwhile": spread(meanwhile),
        "long": spread(long_seconds),
        "long_edits_a_minute": round(60 * done / took, 1),
    }
