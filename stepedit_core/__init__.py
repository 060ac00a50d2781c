"""stepedit: edit speech with language models.

Public names are imported on first use (PEP 562), so that importing the package is light;
``Engine`` brings torch with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepedit_core.registry.moved import follow_moves

if TYPE_CHECKING:
    from stepedit_core.alignment import (
        Aligner,
        Alignment,
        Listener,
        Recogniser,
        Sentence,
        TimedWord,
        Transcription,
        find_phrase,
    )
    from stepedit_core.chain.accept import Accept
    from stepedit_core.chain.chain import Chain, ChainResult
    from stepedit_core.chain.notation import AnyEdit, edit_from_data, format_edit, parse_edit
    from stepedit_core.chain.result import Step
    from stepedit_core.chain.steps import EditOrSteps, Steps
    from stepedit_core.codes import GROUP_SECONDS, DualCodes, FreeGroups
    from stepedit_core.config import EngineConfig, GenerationPolicy, SamplingConfig
    from stepedit_core.dsp.splicing import Patch, splice
    from stepedit_core.dsp.words import sentence_places
    from stepedit_core.edit import Edit, Outcome, Rendered, Route
    from stepedit_core.engine import DecodeRequest, GenerateRequest, SpeechEngine
    from stepedit_core.errors import (
        AlignmentError,
        AudioError,
        BudgetError,
        CheckpointError,
        EditError,
        EngineError,
        ForeignWordsError,
        InvalidChainError,
        MissingDependencyError,
        PluginError,
        RouteError,
        StepeditError,
        UnknownEditError,
        counted,
        explain_validation,
        printable,
    )
    from stepedit_core.hookspecs import hookimpl
    from stepedit_core.interpretation import (
        Interpretation,
        InterpretationError,
        Interpreter,
        Reading,
        Region,
        Setting,
        interpret,
    )
    from stepedit_core.llm_route.inflight import InflightBatch, StreamRequest
    from stepedit_core.llm_route.languages import language_tag
    from stepedit_core.marks.mark import Finding, Mark
    from stepedit_core.marks.marking import edited_spans, verify, write_marked
    from stepedit_core.models.engine import Engine
    from stepedit_core.pairs import (
        MAX_MARGIN,
        MIN_MARGIN,
        BuildContext,
        CorpusItem,
        CorpusReader,
        EditPair,
        MarginScorer,
        PairBuilder,
        PairJob,
        PairOptions,
        Rejected,
    )
    from stepedit_core.phrases import Ask, Phrases, ValueSlot, read_phrases
    from stepedit_core.plan import (
        Insertion,
        NotHeardYet,
        Omission,
        Plan,
        Replacement,
        conditioning_label,
    )
    from stepedit_core.prompt import Prompt, Slot
    from stepedit_core.recording.hearing import (
        align,
        installed_ears,
        load_listener,
        place_words,
        transcribe,
    )
    from stepedit_core.recording.recording import Recording
    from stepedit_core.recording.regions import Where
    from stepedit_core.recording.result import RecordingResult
    from stepedit_core.recording.speakers import Diariser
    from stepedit_core.recording.subtitles import format_alignment
    from stepedit_core.recordings import packaged_speech
    from stepedit_core.registry.registry import (
        Registry,
        get_edit,
        get_registry,
        load_engine,
        register,
    )
    from stepedit_core.reward import Answer, PlacedValue, Reward, RewardOptions, RewardTools
    from stepedit_core.scoring import (
        Case,
        Judge,
        Measures,
        Prepared,
        Score,
        Scorer,
        Verdict,
        read_cases,
        words_kept,
    )
    from stepedit_core.storage.blocks import SoundWriter, codec_rate
    from stepedit_core.utterance import Span, Utterance

__all__ = [
    "GROUP_SECONDS",
    "MAX_MARGIN",
    "MIN_MARGIN",
    "Accept",
    "Aligner",
    "Alignment",
    "AlignmentError",
    "Answer",
    "AnyEdit",
    "Ask",
    "AudioError",
    "BudgetError",
    "BuildContext",
    "Case",
    "Chain",
    "ChainResult",
    "CheckpointError",
    "CorpusItem",
    "CorpusReader",
    "DecodeRequest",
    "Diariser",
    "DualCodes",
    "Edit",
    "EditError",
    "EditOrSteps",
    "EditPair",
    "Engine",
    "EngineConfig",
    "EngineError",
    "Finding",
    "ForeignWordsError",
    "FreeGroups",
    "GenerateRequest",
    "GenerationPolicy",
    "InflightBatch",
    "Insertion",
    "Interpretation",
    "InterpretationError",
    "Interpreter",
    "InvalidChainError",
    "Judge",
    "Listener",
    "MarginScorer",
    "Mark",
    "Measures",
    "MissingDependencyError",
    "NotHeardYet",
    "Omission",
    "Outcome",
    "PairBuilder",
    "PairJob",
    "PairOptions",
    "Patch",
    "Phrases",
    "PlacedValue",
    "Plan",
    "PluginError",
    "Prepared",
    "Prompt",
    "Reading",
    "Recogniser",
    "Recording",
    "RecordingResult",
    "Region",
    "Registry",
    "Rejected",
    "Rendered",
    "Replacement",
    "Reward",
    "RewardOptions",
    "RewardTools",
    "Route",
    "RouteError",
    "SamplingConfig",
    "Score",
    "Scorer",
    "Sentence",
    "Setting",
    "Slot",
    "SoundWriter",
    "Span",
    "SpeechEngine",
    "Step",
    "StepeditError",
    "Steps",
    "StreamRequest",
    "TimedWord",
    "Transcription",
    "UnknownEditError",
    "Utterance",
    "ValueSlot",
    "Verdict",
    "Where",
    "align",
    "codec_rate",
    "conditioning_label",
    "counted",
    "edit_from_data",
    "edited_spans",
    "explain_validation",
    "find_phrase",
    "format_alignment",
    "format_edit",
    "get_edit",
    "get_registry",
    "hookimpl",
    "installed_ears",
    "interpret",
    "language_tag",
    "load_engine",
    "load_listener",
    "packaged_speech",
    "parse_edit",
    "place_words",
    "printable",
    "read_cases",
    "read_phrases",
    "register",
    "sentence_places",
    "splice",
    "transcribe",
    "verify",
    "words_kept",
    "write_marked",
]

__version__ = "0.1.0"

follow_moves()

_HOMES = {
    "alignment": (
        "Aligner",
        "Alignment",
        "Listener",
        "Recogniser",
        "Sentence",
        "TimedWord",
        "Transcription",
        "find_phrase",
    ),
    "chain.accept": ("Accept",),
    "chain.chain": ("Chain", "ChainResult"),
    "chain.notation": ("AnyEdit", "edit_from_data", "format_edit", "parse_edit"),
    "chain.steps": ("EditOrSteps", "Steps"),
    "chain.result": ("Step",),
    "codes": ("GROUP_SECONDS", "DualCodes", "FreeGroups"),
    "config": ("EngineConfig", "GenerationPolicy", "SamplingConfig"),
    "dsp.splicing": ("Patch", "splice"),
    "dsp.words": ("sentence_places",),
    "edit": ("Edit", "Outcome", "Rendered", "Route"),
    "engine": ("DecodeRequest", "GenerateRequest", "SpeechEngine"),
    "errors": (
        "AlignmentError",
        "AudioError",
        "BudgetError",
        "CheckpointError",
        "EditError",
        "EngineError",
        "ForeignWordsError",
        "InvalidChainError",
        "MissingDependencyError",
        "PluginError",
        "RouteError",
        "StepeditError",
        "UnknownEditError",
        "counted",
        "explain_validation",
        "printable",
    ),
    "llm_route.inflight": ("InflightBatch", "StreamRequest"),
    "llm_route.languages": ("language_tag",),
    "recording.hearing": ("align", "installed_ears", "load_listener", "place_words", "transcribe"),
    "recording.regions": ("Where",),
    "recording.speakers": ("Diariser",),
    "recording.recording": ("Recording",),
    "recording.result": ("RecordingResult",),
    "recording.subtitles": ("format_alignment",),
    "hookspecs": ("hookimpl",),
    "interpretation": (
        "Interpretation",
        "InterpretationError",
        "Interpreter",
        "Reading",
        "Region",
        "Setting",
        "interpret",
    ),
    "marks.mark": ("Finding", "Mark"),
    "marks.marking": ("edited_spans", "verify", "write_marked"),
    "models.engine": ("Engine",),
    "pairs": (
        "MAX_MARGIN",
        "MIN_MARGIN",
        "BuildContext",
        "CorpusItem",
        "CorpusReader",
        "EditPair",
        "MarginScorer",
        "PairBuilder",
        "PairJob",
        "PairOptions",
        "Rejected",
    ),
    "phrases": ("Ask", "Phrases", "ValueSlot", "read_phrases"),
    "plan": ("Insertion", "NotHeardYet", "Omission", "Plan", "Replacement", "conditioning_label"),
    "prompt": ("Prompt", "Slot"),
    "recordings": ("packaged_speech",),
    "registry.registry": ("Registry", "get_edit", "get_registry", "load_engine", "register"),
    "reward": ("Answer", "PlacedValue", "Reward", "RewardOptions", "RewardTools"),
    "scoring": (
        "Case",
        "Judge",
        "Measures",
        "Prepared",
        "Score",
        "Scorer",
        "Verdict",
        "words_kept",
        "read_cases",
    ),
    "storage.blocks": ("SoundWriter", "codec_rate"),
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
