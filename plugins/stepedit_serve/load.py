"""Load a running service and print what it does under it, as JSON.

    stepedit serve --port 8765 &
    python -m stepedit_serve.load mixed --seconds 120 --clients 200
    python -m stepedit_serve.load batch --clients 16
    python -m stepedit_serve.load stream
    python -m stepedit_serve.load long --seconds 7200
    python -m stepedit_serve.load arriving --seconds 20 --clients 4
    python -m stepedit_serve.load engine
    python -m stepedit_serve.load limits --pid PID

``mixed``: so many clients at once, each with one request after the other of mixed routes, while
``/health`` is asked ten times a second. ``batch``: emotion edits of 5 s by the engine, one after
another, and then by all clients at once, each with a few one after the other. ``stream``: seconds
until the first streamed audio. ``long``: a recording of so many seconds as a job, while somebody
edits 2 s again and again. ``arriving``: edits of 2 s alone, and while clients generate longer ones
all the time. ``engine``: what an edit costs an engine, without a service. ``limits``: the memory of
each process after edits that limits accept. Needs ``httpx``.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import random
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import httpx
import numpy as np
import soundfile as sf

from stepedit_serve.load_arriving import LONG, SHORT, arriving
from stepedit_serve.load_engine import engine_alone
from stepedit_serve.load_limits import limits
from stepedit_serve.load_recordings import recording, spread
from stepedit_serve.load_watching import machine, memory, processor_seconds, since, used
from stepedit_serve.machine import cores

__all__ = ["main"]

EMOTION = {"edit": "emotion", "to": "happy"}
_WHAT = ("mixed", "batch", "stream", "long", "arriving", "engine", "limits")
_HEALTH_SECONDS = 0.1
_WARMING = 4
"""Edits before a measurement: what is made once is made then."""


class Mixed:
    """Clients that ask for all sorts of things."""

    def __init__(self, client: httpx.AsyncClient, session: dict[str, Any]) -> None:
        """Take the client, and a session to edit.

        Args:
            client: of the service.
            session: as the service has answered it.
        """
        self._client, self._session = client, session["id"]
        self._source = session["root"]
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.lost = 0
        self.seconds: dict[str, list[float]] = {}
        self._short, self._text = recording(2.0)

    def _requests(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        """Return the requests that are drawn from: name to method, path and arguments."""
        file = {"files": {"file": ("a.wav", self._short)}}
        slower = json.dumps({"edit": "speed", "factor": 0.9})
        dsp = {"chain": slower, "route": "dsp"}
        llm = {"chain": json.dumps(EMOTION), "transcript": self._text, "route": "auto"}
        # Of the source: fifty edits of each other's outcome would leave less than 20 ms.
        edit = {"chain": {"edit": "speed", "factor": 1.1}, "route": "dsp", "parent": self._source}
        return {
            "edit dsp": ("POST", "/v1/edit", {**file, "data": dsp}),
            "edit llm": ("POST", "/v1/edit", {**file, "data": llm}),
            "job": ("POST", "/v1/jobs", {**file, "data": dsp}),
            "edits": ("GET", "/v1/edits", {}),
            "interpret": ("POST", "/v1/interpret", {"json": {"say": "a bit faster"}}),
            "session": ("GET", f"/v1/sessions/{self._session}", {}),
            "session edit": ("POST", f"/v1/sessions/{self._session}/edits", {"json": edit}),
            "models": ("GET", "/v1/models", {}),
        }

    async def one_client(self, until: float, draw: random.Random) -> None:
        """Send one request after the other until a moment."""
        known = self._requests()
        names = list(known)
        while time.monotonic() < until:
            name = draw.choice(names)
            method, path, arguments = known[name]
            begin = time.perf_counter()
            try:
                answer = await self._client.request(method, path, **arguments)
            except httpx.HTTPError as error:
                self.lost += 1
                self.statuses[type(error).__name__] += 1
                continue
            self.statuses[str(answer.status_code)] += 1
            self.seconds.setdefault(name, []).append(time.perf_counter() - begin)
            if answer.status_code >= 400:
                self.errors[f"{name}: {answer.status_code} {answer.text[:200]}"] += 1
            if answer.status_code == 503:
                await asyncio.sleep(float(answer.headers.get("retry-after", 1)))


def probe(base: str, seconds: float, answer: Connection) -> None:
    """Ask for the health ten times a second; in a process of its own, which has nothing to do."""
    answer.send(asyncio.run(_probed(base, seconds)))


async def _probed(base: str, seconds: float) -> list[float]:
    """Return what each question took from the moment at which it was due, however late others are.

    Who waited for one answer before asking again would ask least when answers take longest.
    """
    found: list[float] = []

    async def ask(client: httpx.AsyncClient, due: float) -> None:
        (await client.get("/health")).raise_for_status()
        found.append(time.monotonic() - due)

    async with httpx.AsyncClient(base_url=base, timeout=60) as client, asyncio.TaskGroup() as all_:
        begin = time.monotonic()
        for number in range(round(seconds / _HEALTH_SECONDS)):
            due = begin + number * _HEALTH_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            all_.create_task(ask(client, due))
    return found


async def mixed(
    base: str, clients: int, seconds: float, pid: int | None, patience: float
) -> dict[str, Any]:
    """Return what so many clients at once saw, and the service's memory.

    Args:
        base: address of the service.
        clients: requests at once.
        seconds: how long new ones are sent.
        pid: of the service.
        patience: seconds that the last ones have after that; then they are given up, not lost.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=base, timeout=600, limits=limits) as client:
        content, text = recording(2.0)
        begun = await client.post(
            "/v1/sessions", files={"file": ("a.wav", content)}, data={"transcript": text}
        )
        load = Mixed(client, begun.json())
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        prober = context.Process(target=probe, args=(base, seconds, theirs))
        prober.start()
        theirs.close()
        until = time.monotonic() + seconds
        before, ticks, around = memory(pid), processor_seconds(pid), machine()
        began = time.monotonic()
        tasks = [
            asyncio.create_task(load.one_client(until, random.Random(n))) for n in range(clients)
        ]
        done, late = await asyncio.wait(tasks, timeout=seconds + patience)
        took = time.monotonic() - began
        for task in late:
            task.cancel()
        for task in done:
            task.result()
        health = await asyncio.to_thread(ours.recv)
        prober.join()
        return {
            "clients": clients,
            "seconds": round(took, 1),
            "requests": sum(load.statuses.values()),
            "lost": load.lost,
            "given_up": len(late),
            "statuses": dict(load.statuses),
            "errors": dict(load.errors),
            "health": spread(health),
            "routes": {name: spread(values) for name, values in sorted(load.seconds.items())},
            "memory_mb": {"before": before, "after": memory(pid)},
            "by_process_cpu_s": used(pid, ticks)[:6],
            "machine": since(around),
        }


async def batch(
    base: str,
    clients: int,
    seconds: float,
    singles: int,
    rounds: int,
    pid: int | None,
    chain: str,
) -> dict[str, Any]:
    """Return the throughput of edits one after another, and of all clients at once.

    Args:
        base: address of the service.
        clients: edits at once.
        seconds: of audio of each.
        singles: how many are done one after another.
        rounds: edits of each client, one after another.
        pid: of the service, whose processor time depends less on what else the machine does.
        chain: what is done, as JSON.
    """
    # Nobody's recording is known from before: neither those that warm up nor those edited alone.
    count = clients * rounds
    recordings = [recording(seconds, number) for number in range(count + singles + _WARMING)]
    alone_from, warm_from = count, count + singles

    async def edit(client: httpx.AsyncClient, number: int) -> bytes:
        content, text = recordings[number]
        answer = await client.post(
            "/v1/edit",
            files={"file": ("a.wav", content)},
            data={
                "chain": chain, "transcript": text, "route": "llm", "seed": str(number),
            },
        )  # fmt: skip
        answer.raise_for_status()
        return answer.content

    async def one_client(client: httpx.AsyncClient, place: int) -> None:
        for number in range(rounds):
            await edit(client, place + clients * number)

    async with httpx.AsyncClient(base_url=base, timeout=1200) as client:
        await asyncio.gather(*(edit(client, warm_from + number) for number in range(_WARMING)))
        around = machine()
        begin, before = time.perf_counter(), processor_seconds(pid)
        alone = [await edit(client, alone_from + number) for number in range(singles)]
        single = (time.perf_counter() - begin) / singles
        single_used = sum(used(pid, before)) / singles
        begin, before, own = time.perf_counter(), processor_seconds(pid), time.process_time()
        await asyncio.gather(*(one_client(client, place) for place in range(clients)))
        at_once, own = time.perf_counter() - begin, time.process_time() - own
        all_used, during = used(pid, before), since(around)
        again = (edit(client, alone_from + number) for number in range(singles))
        together = await asyncio.gather(*again)
    # The time that free cores would take: that of the busiest process, or of all on all cores.
    least = max([sum(all_used) / cores(), *all_used])
    return {
        "clients": clients,
        "edits": count,
        "audio_seconds": seconds,
        "one_alone_s": round(single, 2),
        "all_s": round(at_once, 2),
        "ratio": round(single * count / at_once, 2),
        "one_alone_cpu_s": round(single_used, 2),
        "all_cpu_s": round(sum(all_used), 2),
        "by_process_cpu_s": all_used[:6],
        "clients_cpu_s": round(own, 2),
        "cores_used": {
            "alone": round(single_used / single, 2),
            "all": round((sum(all_used) + own) / at_once, 2),
        },
        "ratio_cpu": round(single_used * count / sum(all_used), 2) if least else None,
        "ratio_on_free_cores": round(single_used * count / least, 2) if least else None,
        "differences": [round(difference(*pair), 6) for pair in zip(alone, together, strict=True)],
        "machine": during,
    }


def difference(a: bytes, b: bytes) -> float:
    """Return the greatest difference of two sound files' samples; 1 where lengths differ."""
    one, other = (sf.read(io.BytesIO(part), dtype="float32")[0] for part in (a, b))
    return float(np.abs(one - other).max()) if len(one) == len(other) else 1.0


async def stream(base: str, tries: int, seconds: float) -> dict[str, Any]:
    """Return seconds until the first streamed audio, and until all of it."""
    content, text = recording(seconds)
    first: list[float] = []
    whole: list[float] = []
    async with httpx.AsyncClient(base_url=base, timeout=600) as client:
        for number in range(tries + 1):
            begin = time.perf_counter()
            got = 0
            async with client.stream(
                "POST",
                "/v1/edit",
                files={"file": ("a.wav", content)},
                data={
                    "chain": json.dumps(EMOTION), "transcript": text, "stream": "true",
                    "seed": str(number),
                },
            ) as answer:  # fmt: skip
                answer.raise_for_status()
                async for chunk in answer.aiter_bytes():
                    got += len(chunk)
                    if got > 44 and len(first) == len(whole):
                        first.append(time.perf_counter() - begin)
            whole.append(time.perf_counter() - begin)
    return {"audio_seconds": seconds, "first": spread(first[1:]), "all": spread(whole[1:])}


async def long(base: str, seconds: float, pid: int | None) -> dict[str, Any]:
    """Return how long a long job takes, and what it does to others meanwhile."""
    slower = {"chain": json.dumps({"edit": "volume", "db": -3.0}), "route": "dsp"}
    short, _ = recording(2.0)
    content, _ = recording(seconds)
    others: list[float] = []
    before = memory(pid)
    async with httpx.AsyncClient(base_url=base, timeout=3600) as client:
        begin = time.perf_counter()
        answer = await client.post(
            "/v1/jobs", files={"file": ("long.wav", content)}, data={**slower, "format": "flac"}
        )
        answer.raise_for_status()
        accepted = time.perf_counter() - begin
        where = f"/v1/jobs/{answer.json()['id']}"
        job = answer.json()
        while job["state"] in ("queued", "running"):
            started = time.perf_counter()
            one = await client.post("/v1/edit", files={"file": ("a.wav", short)}, data=slower)
            one.raise_for_status()
            others.append(time.perf_counter() - started)
            job = (await client.get(where)).json()
        done = time.perf_counter() - begin
        size = len((await client.get(f"{where}/result")).content)
    return {
        "audio_seconds": seconds,
        "accepted_s": round(accepted, 1),
        "done_s": round(done, 1),
        "state": job["state"],
        "result_mb": round(size / 1e6, 1),
        "edits_of_others": len(others),
        "others": spread(others),
        "memory_mb": {"before": before, "after": memory(pid)},
    }


def main() -> None:
    """Read the command line, load the service, print JSON."""
    parser = argparse.ArgumentParser(description="Load a running `stepedit serve`.")
    parser.add_argument("what", choices=_WHAT)
    parser.add_argument("--base", default="http://127.0.0.1:8765")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--singles", type=int, default=16, help="of batch, one after another")
    parser.add_argument("--rounds", type=int, default=3, help="of batch, edits of each client")
    parser.add_argument("--chain", default=json.dumps(EMOTION), help="of batch, as JSON")
    parser.add_argument("--pid", type=int, help="of the service, to read its memory")
    parser.add_argument("--long", choices=LONG, default="slower", help="of arriving")
    parser.add_argument("--short", choices=list(SHORT), default="slower", help="of arriving")
    parser.add_argument("--patience", type=float, default=600, help="of mixed, for the last ones")
    asked = parser.parse_args()
    if asked.what == "mixed":
        found = asyncio.run(
            mixed(asked.base, asked.clients, asked.seconds, asked.pid, asked.patience)
        )
    elif asked.what == "batch":
        found = asyncio.run(
            batch(
                asked.base,
                asked.clients,
                asked.seconds,
                asked.singles,
                asked.rounds,
                asked.pid,
                asked.chain,
            )
        )
    elif asked.what == "long":
        found = asyncio.run(long(asked.base, asked.seconds, asked.pid))
    elif asked.what == "engine":
        found = engine_alone(asked.chain, asked.seconds, asked.tries)
    elif asked.what == "limits":
        found = asyncio.run(limits(asked.base, asked.pid))
    elif asked.what == "arriving":
        work = arriving(
            asked.base, asked.clients, asked.seconds, asked.tries, asked.long, asked.short
        )
        found = asyncio.run(work)
    else:
        found = asyncio.run(stream(asked.base, asked.tries, asked.seconds))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
