"""Measure what short requests take that arrive while long ones are generated."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import httpx

from stepedit_serve.load_recordings import recording, said_again, spread

__all__ = ["LONG", "SHORT", "arriving"]

SLOWER = {"edit": "speed", "rate": "slower"}
SHORT = {
    "slower": SLOWER,
    "emotion": {"edit": "emotion", "to": "happy"},
    "denoise": {"edit": "denoise"},
}
"""What short requests ask for, by name."""
LONG = ("slower", "replace", "speech")
"""What long ones ask for: spoken slower, one word by another, or a text in the voice, streamed."""
SHORT_SECONDS = 2.0
LONGEST_PAUSE = 0.5
"""Greatest time between two short requests, in seconds, so that they come at any step."""
SPEECH = (
    "The last train leaves the old station at nine in the evening, and whoever misses it has to "
    "walk along the river until the lights of the harbour come into sight."
)
CONSENT = "I am the speaker, and this is a measurement."


async def arriving(
    base: str, clients: int, seconds: float, tries: int, long: str = "slower", short: str = "slower"
) -> dict[str, Any]:
    """Return what short edits take alone, and while clients send long ones all the time.

    All are carried out by the language model's route.

    Args:
        base: address of the service.
        clients: who send long requests one after another.
        seconds: of audio of the long ones.
        tries: short edits, one after another.
        long: one of `LONG`.
        short: one of `SHORT`.
    """
    long_seconds: list[float] = []

    async def edit(client: httpx.AsyncClient, number: int) -> float:
        content, text = recording(SHORT_SECONDS, number)
        return await asked(client, content, text, SHORT[short], number)

    async def one_long(client: httpx.AsyncClient, number: int) -> float:
        if long == "slower":
            content, text = recording(seconds, number)
            return await asked(client, content, text, SLOWER, number)
        content, text = said_again(seconds, number)
        if long == "replace":
            old = text.split()[3]
            chain = {"edit": "replace", "find": old, "by": "mansion", "occurrence": 1}
            return await asked(client, content, text, chain, number)
        chain = {"edit": "clone", "text": SPEECH}
        more = {"stream": "true", "consent_attestation": CONSENT}
        return await asked(client, content, text, chain, number, more)

    async def long_ones(client: httpx.AsyncClient, place: int) -> None:
        for number in range(place, 10**6, clients):
            long_seconds.append(await one_long(client, number))

    async with httpx.AsyncClient(base_url=base, timeout=1200) as client:
        await edit(client, 99)  # what is made once
        await one_long(client, 99)
        alone = [await edit(client, number) for number in range(tries)]
        long_alone = [await one_long(client, 90 + number) for number in range(3)]
        tasks = [asyncio.create_task(long_ones(client, place)) for place in range(clients)]
        begin, draw = time.perf_counter(), random.Random(0)
        meanwhile = []
        for number in range(tries):
            await asyncio.sleep(draw.uniform(0, LONGEST_PAUSE))
            meanwhile.append(await edit(client, tries + number))
        took, done = time.perf_counter() - begin, len(long_seconds)
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):  # a cancelled one is none
                raise found
    return {
        "long": long,
        "short": short,
        "long_audio_seconds": seconds,
        "long_clients": clients,
        "short_alone": spread(alone),
        "short_meanwhile": spread(meanwhile),
        "long_alone": spread(long_alone),
        "long_meanwhile": spread(long_seconds),
        "long_done_a_minute": round(60 * done / took, 1),
    }


async def asked(
    client: httpx.AsyncClient,
    content: bytes,
    text: str,
    chain: dict[str, Any],
    seed: int,
    more: dict[str, str] | None = None,
) -> float:
    """Send an edit by the language model's route; return what it took, in seconds."""
    begin = time.perf_counter()
    answer = await client.post(
        "/v1/edit",
        files={"file": ("a.wav", content)},
        data={
            "chain": json.dumps(chain), "transcript": text, "route": "llm", "seed": str(seed),
            **(more or {}),
        },
    )  # fmt: skip
    answer.raise_for_status()
    return time.perf_counter() - begin
