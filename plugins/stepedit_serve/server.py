"""The HTTP server: uvicorn, with connections that a process of their own accepts."""

from __future__ import annotations

import asyncio
import gc
import socket

import click
import uvicorn
from fastapi import FastAPI

from stepedit_core import StepeditError
from stepedit_serve.acceptor import Acceptor
from stepedit_serve.routes_system import health_of
from stepedit_serve.service import Service

__all__ = ["bound", "run"]

_BACKLOG = 2048


def bound(host: str, port: int) -> socket.socket:
    """Return a socket with an address, which does not listen yet.

    Raises:
        StepeditError: if it cannot be had.
    """
    found = None
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        if found is not None:
            found.close()
        raise StepeditError(
            f"cannot listen on {host} port {port}: {error.strerror}; give --host or --port"
        ) from error
    return found


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve an app until the process is told to end.

    Args:
        app: of `create_app`.
        listening: socket with an address; closed at the end.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=10,
        ws_max_size=1 << 22,
        server_header=False,
    )
    _Server(config, app.state.service, listening).run(sockets=[])


class _Server(uvicorn.Server):
    """Serves connections that it is given, and says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, service: Service, listening: socket.socket) -> None:
        super().__init__(config)
        self._service, self._listening = service, listening
        self._acceptor: Acceptor | None = None
        self._taking: set[asyncio.Task[object]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets=sockets)
        gc.collect()
        gc.freeze()  # what was made at the start stays: looking it through takes a while
        self._listening.listen(_BACKLOG)
        service = self._service
        self._acceptor = Acceptor(
            self._listening,
            service.settings.hosts,
            lambda: health_of(service).model_dump(),
            self._take,
        )
        host, port = self._listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"listening on http://{shown}:{port}", err=True)

    def _take(self, connection: socket.socket) -> None:
        """Serve a connection."""
        task = asyncio.create_task(self._served(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _served(self, connection: socket.socket) -> None:
        """Give a connection to uvicorn's protocol."""

        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:  # the client has gone meanwhile
            connection.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and end what is under way."""
        if self._acceptor is not None:
            self._acceptor.close()
        await super().shutdown(sockets=sockets)
