"""stepedit: edit speech with language models.

Public names are imported on first use (PEP 562), so that importing the package is light;
``Engine`` brings torch with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepedit_core.chain import Chain
    from stepedit_core.codes import DualCodes
    from stepedit_core.config import EngineConfig, SamplingConfig
    from stepedit_core.edit import (
        AnyEdit,
        Edit,
        Insertion,
        Outcome,
        Rendered,
        Route,
        edit_from_data,
    )
    from stepedit_core.engine import Engine
    from stepedit_core.engines import FreeGroups, GenerateRequest, SpeechEngine, load_engine
    from stepedit_core.errors import StepeditError
    from stepedit_core.hookspecs import hookimpl
    from stepedit_core.pairs import (
        BuildContext,
        CorpusItem,
        CorpusReader,
        EditPair,
        MarginScorer,
        PairBuilder,
        PairJob,
        Rejected,
    )
    from stepedit_core.prompt import Prompt, Slot
    from stepedit_core.registry import Registry, get_edit, get_registry, register
    from stepedit_core.result import ChainResult, Step
    from stepedit_core.scoring import Case, Judge, Measures, Prepared, Score, Scorer, Verdict
    from stepedit_core.splicing import Patch, splice
    from stepedit_core.utterance import Span, Utterance

__all__ = [
    "AnyEdit",
    "BuildContext",
    "Case",
    "Chain",
    "ChainResult",
    "CorpusItem",
    "CorpusReader",
    "DualCodes",
    "Edit",
    "EditPair",
    "Engine",
    "EngineConfig",
    "FreeGroups",
    "GenerateRequest",
    "Insertion",
    "Judge",
    "MarginScorer",
    "Measures",
    "Outcome",
    "PairBuilder",
    "PairJob",
    "Patch",
    "Prepared",
    "Prompt",
    "Registry",
    "Rejected",
    "Rendered",
    "Route",
    "SamplingConfig",
    "Score",
    "Scorer",
    "Slot",
    "Span",
    "SpeechEngine",
    "Step",
    "StepeditError",
    "Utterance",
    "Verdict",
    "edit_from_data",
    "get_edit",
    "get_registry",
    "hookimpl",
    "load_engine",
    "register",
    "splice",
]

__version__ = "0.1.0"

_HOMES = {
    "chain": ("Chain",),
    "codes": ("DualCodes",),
    "config": ("EngineConfig", "SamplingConfig"),
    "edit": ("AnyEdit", "Edit", "Insertion", "Outcome", "Rendered", "Route", "edit_from_data"),
    "engine": ("Engine",),
    "engines": ("FreeGroups", "GenerateRequest", "SpeechEngine", "load_engine"),
    "errors": ("StepeditError",),
    "hookspecs": ("hookimpl",),
    "pairs": (
        "BuildContext",
        "CorpusItem",
        "CorpusReader",
        "EditPair",
        "MarginScorer",
        "PairBuilder",
        "PairJob",
        "Rejected",
    ),
    "prompt": ("Prompt", "Slot"),
    "registry": ("Registry", "get_edit", "get_registry", "register"),
    "result": ("ChainResult", "Step"),
    "scoring": ("Case", "Judge", "Measures", "Prepared", "Score", "Scorer", "Verdict"),
    "splicing": ("Patch", "splice"),
    "utterance": ("Span", "Utterance"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"stepedit_core.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names before any of them is imported."""
    return sorted([*globals(), *__all__])
