"""Who comes in: keys, rates and body sizes are looked at before a body is read."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepedit_serve.errors import ApiError
from stepedit_serve.keys import OPEN, bearer

if TYPE_CHECKING:
    from stepedit_serve.service import Service

__all__ = ["BodyLimit", "Doors"]

LOG = logging.getLogger("stepedit.serve")
_FREE = ("/health", "/docs", "/openapi.json", "/favicon.ico")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_SLOW_BODIES = ("/v1/jobs", "/v1/sessions")


class Doors:
    """ASGI middleware in front of the app; it counts and logs requests, too.

    A framework reads a body before it asks whose it is. Here the key comes first.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        """Stand in front of an app."""
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            self._let_in(scope)
        except ApiError as error:
            await error.response()(scope, receive, noting)
        else:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, status, time.perf_counter() - begin)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket in, unless a page from elsewhere opens it; its key comes later."""
        try:
            self._look_at_origin(Headers(scope=scope))
        except ApiError:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    def _look_at_origin(self, headers: Headers) -> None:
        """Refuse pages from elsewhere, and names that were bent to this machine's address.

        A browser lets any page send forms and open WebSockets to the loopback; only reading the
        answer is up to CORS.

        Raises:
            ApiError: (403) if the request comes from such a page.
        """
        settings = self._service.settings
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if _has_port(host) else host
        if settings.hosts and name not in settings.hosts:
            raise ApiError(403, "not_permitted", "this service does not go by that host name")
        origin = headers.get("origin")
        if origin is None or origin in settings.cors or origin.partition("://")[2] == host:
            return
        text = "pages from elsewhere are not answered; stepedit serve --cors ORIGIN lets one in"
        raise ApiError(403, "not_permitted", text)

    def _let_in(self, scope: Scope) -> None:
        """Look at origin, key, rate and announced size; raises ApiError."""
        headers = Headers(scope=scope)
        self._look_at_origin(headers)
        state = scope.setdefault("state", {})
        path = str(scope["path"])
        if _is_free(path, str(scope["method"])):
            state["key"] = OPEN
            return
        keys = self._service.keys
        key = state["key"] = keys.find(bearer(headers))
        keys.count_request(key)
        length = headers.get("content-length")
        most = self._most(path, headers.get("content-type", ""))
        if length is not None and length.isdecimal() and int(length) > most:
            raise ApiError(413, "too_large", f"the body has {length} bytes; {most} are the most")
        scope["stepedit.max_body"] = most

    def _most(self, path: str, kind: str) -> int:
        """Return how many bytes a body may have."""
        settings = self._service.settings
        if not kind.startswith("multipart/"):
            return settings.max_json_body
        return settings.max_body if path in _SLOW_BODIES else settings.max_edit_body

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request and write one line about it, without what it said."""
        route = getattr(scope.get("route"), "path", None) or "other"
        method = str(scope["method"])
        metrics = self._service.metrics
        metrics.requests.labels(method, route, status).inc()
        metrics.latency.labels(method, route).observe(seconds)
        key = scope.get("state", {}).get("key")
        name = key.name if key is not None else "-"
        level = logging.DEBUG if route == "/health" else logging.INFO
        LOG.log(level, "%s %s %d %.3f s, key %s", method, route, status, seconds, name)


def _has_port(host: str) -> bool:
    """Say whether a Host header has a port after its name or address."""
    return host.rpartition(":")[2].isdecimal() and not host.endswith("]")


def _is_free(path: str, method: str) -> bool:
    """Say whether a request needs no key: health, the API's description, the page."""
    return (
        path in _FREE
        or (method in ("GET", "HEAD") and not path.startswith(("/v1/", "/metrics")))
        or method == "OPTIONS"
    )


class BodyLimit:
    """Count the bytes of a body that announces no size, and stop when it is too large."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand in front of an app, behind `Doors`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, with a counted body."""
        most = scope.get("stepedit.max_body")
        if scope["type"] != "http" or most is None:
            await self._app(scope, receive, send)
            return
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            if message["type"] == "http.request":
                count += len(message.get("body", b""))
                if count > most:
                    raise HTTPException(413, f"the body has more than {most} bytes")
            return message

        await self._app(scope, counted, send)
