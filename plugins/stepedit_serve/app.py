"""The app: routes, doors and the page around one service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response

import stepedit_core
from stepedit_core import SpeechEngine, StepeditError, packaged_speech
from stepedit_serve import (
    live,
    routes_edit,
    routes_jobs,
    routes_peaks,
    routes_sessions,
    routes_speech,
    routes_system,
)
from stepedit_serve.doors import BodyLimit, Doors
from stepedit_serve.errors import ApiError, add_error_handlers
from stepedit_serve.jobs import JobRunner
from stepedit_serve.requests_in import said
from stepedit_serve.service import Service
from stepedit_serve.settings import ServeSettings
from stepedit_serve.sound_out import MEDIA_TYPES, encode

__all__ = ["STUDIO", "create_app"]

STUDIO = Path(__file__).parent / "studio"
DOCS = Path(__file__).parent / "docs.html"
_THREADS = 16
"""For short work, twice: of routes and of the framework. Many threads that calculate at the same
time would keep the loop from Python's lock for as many milliseconds at each of its turns."""
_QUIET = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}


def create_app(settings: ServeSettings, engine: SpeechEngine | None = None) -> FastAPI:
    """Return the app; its service is open from now on and closed when the app ends.

    Args:
        settings: bounds and places.
        engine: used instead of the one that the settings name.

    Raises:
        StepeditError: if a store, the key file or the engine cannot be had.
    """
    service = Service(settings, engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runner = JobRunner(service)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "wait"))
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        await asyncio.to_thread(_warm, service, app)
        try:
            yield
        finally:
            await asyncio.to_thread(runner.close)
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="stepedit",
        version=stepedit_core.__version__,
        summary="Edits of speech, sessions and voices over HTTP.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        middleware=_middleware(service),
        form_limits={"max_fields": 32, "max_files": 4, "max_part_size": 2 << 20},
        telemetry=_QUIET,  # type: ignore[arg-type]
    )
    app.state.service = service
    add_error_handlers(app)
    for module in (
        routes_system,
        routes_edit,
        routes_jobs,
        routes_peaks,
        routes_sessions,
        routes_speech,
        live,
    ):
        app.include_router(module.router)
    _add_page(app)
    return app


def _warm(service: Service, app: FastAPI) -> None:
    """Make what is made once, before somebody asks.

    Many first requests at once would each make it, in threads that share one lock with the loop.
    """
    routes_system.listed(service)
    app.openapi()  # reads all routes, which the framework leaves to their first request
    with suppress(ApiError, StepeditError):
        said("a bit faster", None)


def _middleware(service: Service) -> list[Middleware]:
    """Return what stands in front of the routes, outermost first."""
    found = [Middleware(Doors, service=service), Middleware(BodyLimit)]
    if service.settings.cors:
        allowed = Middleware(
            CORSMiddleware,
            allow_origins=list(service.settings.cors),
            allow_methods=["*"],
            allow_headers=["authorization", "content-type", "idempotency-key", "accept"],
            expose_headers=["x-stepedit-seed", "x-stepedit-steps", "x-stepedit-seconds"],
        )
        found.insert(0, allowed)
    return found


def _add_page(app: FastAPI) -> None:
    """Serve the page of routes, and the studio page where it is installed."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(DOCS)

    index = STUDIO / "index.html"
    if not index.is_file():
        return

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    @app.get("/studio-sample.flac", include_in_schema=False)
    def sample() -> Response:
        """Return a recording for those who have none at hand."""
        content = encode(packaged_speech("doubt"), "flac")
        return Response(content, media_type=MEDIA_TYPES["flac"])

    app.mount("/studio", StaticFiles(directory=STUDIO), name="studio")
