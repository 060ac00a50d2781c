"""Core's own hook implementations: they come last, after all plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core.engine import SpeechEngine
from stepedit_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from stepedit_core.config import EngineConfig
    from stepedit_core.marks.mark import Mark

__all__ = ["stepedit_load_engine", "stepedit_marks"]


@hookimpl(trylast=True)
def stepedit_load_engine(config: EngineConfig) -> SpeechEngine | None:
    """Load a Step-Audio-EditX style checkpoint with core's own engine, or served by vLLM."""
    from stepedit_core.models.checkpoint.layout import check_name

    served = config.name_or_path.startswith("vllm:")
    check_name(config.name_or_path.removeprefix("vllm:"))
    if served:
        from stepedit_core.models.vllm_serving.engine import VllmEngine

        return VllmEngine.from_config(config)
    from stepedit_core.models.engine import Engine

    return Engine.from_config(config)


@hookimpl
def stepedit_marks() -> Sequence[type[Mark]]:
    """Return the sidecar."""
    from stepedit_core.marks.sidecar import Sidecar

    return [Sidecar]
