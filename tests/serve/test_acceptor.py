"""The process that accepts connections: what it answers, what it hands over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from stepedit_serve import acceptor
from stepedit_serve.acceptor import Acceptor
from stepedit_serve.processes import begin_server
from stepedit_serve.server import bound

from stepedit_core import StepeditError

Taken = list[socket.socket]
PLAIN = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def accepting(taken: Taken) -> AsyncIterator[tuple[Acceptor, int]]:
    begin_server()
    with bound("127.0.0.1", 0) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        one = Acceptor(listening, ("localhost",), lambda: {"status": "ok"}, taken.append)
        try:
            yield one, port
        finally:
            one.close()


def run(test: Callable[[Acceptor, int, Taken], Awaitable[None]]) -> None:
    async def main() -> None:
        taken: Taken = []
        async with accepting(taken) as (one, port):
            while (await asyncio.to_thread(ask, port, PLAIN))[0] != 200:
                taken.clear()  # it has not heard from the service yet
            await test(one, port, taken)
        for connection in taken:
            connection.close()

    asyncio.run(main())


def ask(port: int, request: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and body; status 0 where nothing answers for a moment."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0.5)
        client.sendall(request)
        return answer(client)


def answer(client: socket.socket) -> tuple[int, dict[str, Any]]:
    try:
        head, _, body = client.recv(4096).partition(b"\r\n\r\n")
    except TimeoutError:
        return 0, {}
    return int(head.split()[1]), json.loads(body)


async def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_blocked_loop() -> None:
    async def test(one: Acceptor, port: int, taken: Taken) -> None:
        found: list[tuple[int, dict[str, Any]]] = []
        thread = threading.Thread(target=lambda: found.append(ask(port, PLAIN)))
        thread.start()
        thread.join()  # in the loop, which does nothing else meanwhile
        ((status, body),) = found
        assert status == 200
        assert body["status"] == "ok"
        assert not taken

    run(test)


def test_one_connection_for_several_questions() -> None:
    async def test(one: Acceptor, port: int, taken: Taken) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(5)
            for _ in range(3):
                client.sendall(PLAIN)
                assert answer(client)[0] == 200
            client.sendall(b"GET /v1/edits HTTP/1.1\r\n\r\n")
            await until(lambda: bool(taken))
            assert taken[0].recv(4096) == b"GET /v1/edits HTTP/1.1\r\n\r\n"

    run(test)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/edit HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: https://elsewhere.example\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: loc",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"G",
    ],
)
def test_handed_over_unread(request_: bytes) -> None:
    async def test(one: Acceptor, port: int, taken: Taken) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(request_)
            await until(lambda: bool(taken))
            assert taken[0].recv(4096) == request_
            assert taken[0].getpeername() == client.getsockname()

    run(test)


def test_closed_when_asked() -> None:
    async def test(one: Acceptor, port: int, taken: Taken) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(5)
            client.sendall(PLAIN[:-2] + b"Connection: close\r\n\r\n")
            assert answer(client)[0] == 200
            assert client.recv(1) == b""

    run(test)


def test_many_at_once() -> None:
    async def test(one: Acceptor, port: int, taken: Taken) -> None:
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: len(taken) == len(clients))
        for client in clients:
            client.close()

    run(test)


def test_replaced_when_killed() -> None:
    async def test(one: Acceptor, port: int, taken: Taken) -> None:
        killed = one.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: one.pid != killed)
        end = time.monotonic() + 30
        while (await asyncio.to_thread(ask, port, PLAIN))[0] != 200:
            assert time.monotonic() < end

    run(test)


def test_a_service_that_says_nothing_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "SILENT_SECONDS", 0.3)
    with bound("127.0.0.1", 0) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=acceptor.accept, args=(listening, theirs, ()))
        monkeypatch.setattr(signal, "signal", lambda number, what: None)
        with ours, theirs:
            thread.start()
            ours.send(b'{"status": "ok"}\n')
            time.sleep(0.1)
            assert ask(port, PLAIN)[0] == 200
            time.sleep(0.5)
            status, body = ask(port, PLAIN)
            assert (status, body["status"]) == (503, "stuck")
            assert body["silent"] > 0.3
            ours.close()
            thread.join(10)
            assert not thread.is_alive()


def test_an_address_that_is_taken() -> None:
    with bound("127.0.0.1", 0) as one:
        one.listen()
        with pytest.raises(StepeditError, match=r"cannot listen on 127\.0\.0\.1 port"):
            bound("127.0.0.1", one.getsockname()[1])
