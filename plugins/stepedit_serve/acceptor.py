"""The process that accepts connections: it answers ``/health`` and hands all others to the service.

In the service's process many threads share Python's lock, and its event loop carries out what came
before: who asks how it is would wait for both. Nothing else runs here. A connection that asks for
something else is handed over as it is, its bytes unread, so that none passes through two processes.

The service's loop says several times a second how it is; how long ago that was is part of the
answer, and an answer with status 503 where it was too long ago.
"""

from __future__ import annotations

import array
import asyncio
import errno
import json
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stepedit_serve.processes import CONTEXT, without_main

__all__ = ["Acceptor"]

BEAT_SECONDS = 0.25
"""How often the service says how it is."""
SILENT_SECONDS = 60.0
"""How long it may say nothing before it counts as stuck."""
_IDLE_SECONDS = 5.0
"""How long a connection stays here that sends nothing: as long as uvicorn keeps one."""
_AT_ONCE = 8
"""Connections that the service takes in one turn of its loop, so that others have their turn."""
_HEAD_BYTES = 4096
_ASKED = b"GET /health HTTP/1.1\r\n"
_ELSEWHERE = ("origin", "content-length", "transfer-encoding", "upgrade", "expect")
"""Headers of requests that need more than this process knows."""
_LIMITED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """The process, as the service sees it; one that dies is replaced."""

    def __init__(
        self,
        listening: socket.socket,
        hosts: tuple[str, ...],
        health: Callable[[], dict[str, Any]],
        take: Callable[[socket.socket], None],
    ) -> None:
        """Start the process; called in the event loop that serves.

        Args:
            listening: socket that connections come to.
            hosts: names that the service goes by; () stands for all.
            health: says how the service is.
            take: serves a connection.
        """
        self._listening, self._hosts = listening, hosts
        self._health, self._take = health, take
        self._loop = asyncio.get_running_loop()
        self._beat: asyncio.TimerHandle | None = None
        self._start()

    def _start(self) -> None:
        """Start the process and hear from it."""
        self._channel, theirs = socket.socketpair()
        self._process = CONTEXT.Process(
            target=accept, args=(self._listening, theirs, self._hosts), daemon=True
        )
        with without_main():
            self._process.start()
        theirs.close()
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._tell()

    def _tell(self) -> None:
        """Say how the service is, and again after a while."""
        # It may read late, or have ended, which `_hear` learns.
        with suppress(BlockingIOError, ConnectionError):
            self._channel.send(json.dumps(self._health()).encode() + b"\n")
        self._beat = self._loop.call_later(BEAT_SECONDS, self._tell)

    def _hear(self) -> None:
        """Take connections; start another process where this one has ended."""
        for _ in range(_AT_ONCE):
            try:
                content, handles, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                content, handles = b"", []
            if not content:
                self._end()
                self._start()
                return
            for handle in handles:
                connection = socket.socket(fileno=handle)
                connection.setblocking(False)
                self._take(connection)

    def _end(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        self._loop.remove_reader(self._channel.fileno())
        self._process.kill()
        self._process.join()
        self._channel.close()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def close(self) -> None:
        """Accept no more."""
        self._listening.close()
        self._end()


# In the process --------------------------------------------------------------------------


def accept(listening: socket.socket, channel: socket.socket, hosts: tuple[str, ...]) -> None:
    """Accept connections until the service ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends it
    _Accepting(listening, channel, hosts).run()


class _Accepting:
    """What the process does, in one loop without threads."""

    def __init__(
        self, listening: socket.socket, channel: socket.socket, hosts: tuple[str, ...]
    ) -> None:
        self._listening, self._channel, self._hosts = listening, channel, hosts
        self._selector = selectors.DefaultSelector()
        self._silent_since: dict[socket.socket, float] = {}
        self._answered: set[socket.socket] = set()
        self._waiting: deque[socket.socket] = deque()
        self._health: dict[str, Any] | None = None
        self._begun = b""
        self._heard = time.monotonic()
        self._paused_until = 0.0

    def run(self) -> None:
        """Accept, answer and hand over until the service's end of the channel is closed."""
        self._listening.setblocking(False)
        self._channel.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._channel, selectors.EVENT_READ)
        swept = time.monotonic()
        while True:
            for key, events in self._selector.select(1.0):
                if key.fileobj is self._listening:
                    self._accept()
                elif key.fileobj is not self._channel:
                    self._look(key.fileobj)  # type: ignore[arg-type]
                elif events & selectors.EVENT_READ and not self._hear():
                    return
                elif events & selectors.EVENT_WRITE:
                    self._hand_over()
            if time.monotonic() - swept > 1.0:
                swept = time.monotonic()
                self._sweep(swept)

    def _hear(self) -> bool:
        """Hear how the service is; False: it has ended."""
        try:
            content = self._channel.recv(1 << 16)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        *lines, self._begun = (self._begun + content).split(b"\n")
        with suppress(IndexError, ValueError):  # no whole line yet, or the end of one is missing
            self._health, self._heard = json.loads(lines[-1]), time.monotonic()
        return bool(content)

    def _accept(self) -> None:
        """Accept one connection."""
        try:
            connection, _ = self._listening.accept()
        except OSError as error:
            if error.errno in _LIMITED:  # those that are open must end first
                self._selector.unregister(self._listening)
                self._paused_until = time.monotonic() + 1.0
            return
        connection.setblocking(False)
        self._silent_since[connection] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ)

    def _sweep(self, now: float) -> None:
        """Keep no connection that says nothing, and accept again after a pause."""
        for connection, since in list(self._silent_since.items()):
            if now - since > _IDLE_SECONDS:
                self._part_with(connection, to_service=connection not in self._answered)
        if self._paused_until and now > self._paused_until:
            self._paused_until = 0.0
            self._selector.register(self._listening, selectors.EVENT_READ)

    def _part_with(self, connection: socket.socket, *, to_service: bool) -> None:
        """Hand a connection over, or close it."""
        self._selector.unregister(connection)
        del self._silent_since[connection]
        self._answered.discard(connection)
        if to_service:
            self._waiting.append(connection)
            self._hand_over()
        else:
            connection.close()

    def _look(self, connection: socket.socket) -> None:
        """Answer a connection that asks for the health; hand over any other."""
        try:
            head = connection.recv(_HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            head = b""
        if not head:
            self._part_with(connection, to_service=False)
            return
        end = head.find(b"\r\n\r\n") + 4
        is_kept = self._is_ours(head[:end]) if end > 3 and head.startswith(_ASKED) else None
        if is_kept is None:
            self._part_with(connection, to_service=True)
            return
        self._silent_since[connection] = time.monotonic()
        self._answered.add(connection)
        connection.recv(end)
        if not self._answer(connection, is_kept) or not is_kept:
            self._part_with(connection, to_service=False)

    def _is_ours(self, head: bytes) -> bool | None:
        """Say whether a request's connection is kept, None where the service must answer it."""
        if self._health is None:
            return None
        lines = head.decode("latin-1").split("\r\n")[1:-2]
        pairs = [line.partition(":")[::2] for line in lines]
        headers = {name.lower(): value.strip() for name, value in pairs}
        if len(headers) != len(lines) or any(name in headers for name in _ELSEWHERE):
            return None
        host = headers.get("host", "")
        name, _, port = host.rpartition(":")
        if self._hosts and (name if port.isdecimal() else host) not in self._hosts:
            return None
        return headers.get("connection", "").lower() != "close"

    def _answer(self, connection: socket.socket, is_kept: bool) -> bool:
        """Send how the service is; False: the client takes nothing."""
        silent = time.monotonic() - self._heard
        is_well = silent < SILENT_SECONDS
        found = {**(self._health or {}), "silent": round(silent, 2)}
        if not is_well:
            found["status"] = "stuck"
        body = json.dumps(found).encode()
        lines = [
            "HTTP/1.1 200 OK" if is_well else "HTTP/1.1 503 Service Unavailable",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            *([] if is_kept else ["connection: close"]),
        ]
        content = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        try:
            return connection.send(content) == len(content)
        except OSError:
            return False

    def _hand_over(self) -> None:
        """Hand connections to the service; what it does not take yet waits."""
        while self._waiting:
            connection = self._waiting[0]
            rights = array.array("i", [connection.fileno()])
            try:
                self._channel.sendmsg([b"c"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ETOOMANYREFS):
                    return  # the service has ended, which `_hear` learns
                break
            self._waiting.popleft()
            connection.close()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._waiting else 0)
        self._selector.modify(self._channel, events)
