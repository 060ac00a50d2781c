"""What can be done, and how the service is."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response

import stepedit_core
from stepedit_core import Edit, PluginError, StepeditError, get_registry
from stepedit_serve.asking import ServiceOf, answers
from stepedit_serve.requests_in import CONSENT
from stepedit_serve.schemas import (
    EditInfoOut,
    Edits,
    FieldNamesOut,
    Health,
    ModelOut,
    Models,
    PhrasesOut,
    PluginOut,
)
from stepedit_serve.service import Service

__all__ = ["health_of", "listed", "router"]

router = APIRouter()
ROUTES = ("llm", "dsp")


@router.get("/health", tags=["service"])
async def health(service: ServiceOf) -> Health:
    """Say whether the service works."""
    return health_of(service)


def health_of(service: Service) -> Health:
    """Return how a service is."""
    batches = 0 if service.batcher is None else service.batcher.waiting
    return Health(
        version=stepedit_core.__version__,
        engine=service.engine_name,
        waiting=service.waiting + batches,
        running=service.running,
        uptime=round(time.time() - service.begun, 1),
    )


@router.get("/metrics", tags=["service"], response_class=Response)
def metrics(service: ServiceOf) -> Response:
    """Return figures for Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


@router.get("/v1/models", tags=["service"], responses=answers())
async def models(service: ServiceOf) -> Models:
    """List the loaded model as OpenAI's clients expect it."""
    name = service.engine_name
    found = [] if name is None else [_model(name, service)]
    return Models(data=found)


@router.get("/v1/models/{model}", tags=["service"], responses=answers(404))
async def model(model: str, service: ServiceOf) -> ModelOut:
    """Return the loaded model by its name."""
    from stepedit_serve.errors import ApiError

    if model != service.engine_name:
        raise ApiError(404, "not_found", f"there is no model {model[:80]!r} here")
    return _model(model, service)


def _model(name: str, service: Service) -> ModelOut:
    return ModelOut(id=name, created=int(service.begun), owned_by="stepedit")


@router.get(
    "/v1/edits",
    tags=["edits"],
    responses={200: {"model": Edits}} | answers(),
    response_class=Response,
)
def edits(service: ServiceOf) -> Response:
    """List the installed edits: JSON Schemas of their parameters, routes, how people ask."""
    return Response(listed(service), media_type="application/json")


def listed(service: Service) -> bytes:
    """Return the list of edits as JSON, made by one thread while others wait for it."""
    infos = tuple(get_registry().edits().values())
    with service.describing:
        known = service.described.get(infos)
        if known is None:
            engine = None if service.batcher is None else service.batcher.engine
            found = [describe(info.edit_class, info.plugin, engine) for info in infos]
            made = Edits(engine=service.engine_name, edits=found)
            known = service.described[infos] = made.model_dump_json().encode()
    return known


def describe(edit: type[Edit], plugin: Any, engine: Any) -> EditInfoOut:
    """Return what a client needs to know of an edit."""
    blank = edit.model_construct()
    routes: list[str] = list(edit.routes())
    knows = engine is not None and "llm" in routes and _asked(engine, "knows", blank, True)
    preferred = _asked(engine, "preferred_route", blank, None) if engine is not None else None
    usable = [route for route in routes if route == "dsp" or knows]
    route = preferred if preferred in usable else next(iter(usable), None)
    return EditInfoOut(
        name=edit.name,
        title=edit.name.replace("_", " ").capitalize(),
        summary=edit.summary(),
        routes=routes,
        route="auto" if not routes and edit.composite else route,
        needs_transcript=_needing_words(blank, routes),
        known_to_engine=bool(knows),
        plugin=PluginOut(
            name=plugin.name, distribution=plugin.distribution, version=plugin.version
        ),
        parameters=edit.model_json_schema(),
        phrases=_phrases(edit),
        consent=edit.name in CONSENT,
    )


def _asked(engine: Any, question: str, edit: Edit, otherwise: Any) -> Any:
    """Ask an engine about an edit without parameters, which it may not be able to answer."""
    says = getattr(engine, question, None)
    if says is None:
        return otherwise
    try:
        return says(edit)
    except AttributeError:  # the answer depends on a parameter
        return otherwise


def _needing_words(blank: Edit, routes: list[str]) -> list[str]:
    """Return the routes of an edit that need the words, whatever its parameters are."""
    try:
        return [route for route in routes if blank.needs_transcript(route)]  # type: ignore[arg-type]
    except AttributeError:
        return []


def _phrases(edit: type[Edit]) -> PhrasesOut | None:
    """Return how people ask for an edit, where its plugin says so."""
    try:
        found = get_registry().phrases(edit)
    except (PluginError, StepeditError):
        return None
    return PhrasesOut(
        does={"en": found.does.en, "zh": found.does.zh},
        whole=found.whole,
        examples=[{"say": one.say, "edit": one.edit, "text": one.text} for one in found.example],
        fields={
            field: FieldNamesOut(
                name=names.by_language(),
                about=names.about.by_language(),
                values={value: one.by_language() for value, one in names.values.items()},
            )
            for field, names in found.named_fields().items()
            if field in edit.model_fields
        },
    )
