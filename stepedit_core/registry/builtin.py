"""Core's own hook implementations: they come last, after all plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Outcome, Rendered, Route
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import RouteError
from stepedit_core.hookspecs import hookimpl
from stepedit_core.llm_route.planning import apply_by_llm
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.config import EngineConfig

__all__ = ["stepedit_apply", "stepedit_load_engine"]


@hookimpl(trylast=True)
def stepedit_load_engine(config: EngineConfig) -> SpeechEngine | None:
    """Load a Step-Audio-EditX style checkpoint with core's own engine."""
    from stepedit_core.models.checkpoint.layout import check_name

    check_name(config.name_or_path)
    from stepedit_core.models.engine import Engine

    return Engine.from_config(config)


@hookimpl(trylast=True)
def stepedit_apply(
    edit: Edit,
    utterance: Utterance,
    engine: SpeechEngine | None,
    rng: np.random.Generator,
    route: Route,
    codes: DualCodes | None,
) -> Outcome:
    """Carry out an edit by the prompt and the engine, or by its own signal processing."""
    if route == "dsp":
        rendered = edit.render(utterance, rng)
        if not isinstance(rendered, Rendered):
            raise RouteError(f"render() returned {type(rendered).__name__}, not Rendered")
        return Outcome(rendered.utterance, "dsp", details=rendered.details)
    if engine is None:
        raise RouteError(f"{edit.name}: the llm route needs an engine")
    seed = int(rng.integers(2**63))
    return apply_by_llm([edit], [utterance], engine, [seed], [codes])[0]
