"""Core's own hook implementations: they come last, after all plugins."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.edit import Edit, Outcome, Route
from stepedit_core.engines import FreeGroups, GenerateRequest, SpeechEngine
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.hookspecs import hookimpl
from stepedit_core.splice import Patch, splice
from stepedit_core.utterance import Span, Utterance

if TYPE_CHECKING:
    from stepedit_core.config import EngineConfig

__all__ = ["free_groups", "stepedit_apply", "stepedit_load_engine"]


@hookimpl(trylast=True)
def stepedit_load_engine(config: EngineConfig) -> SpeechEngine | None:
    """Load a Step-Audio-EditX style checkpoint with core's own engine."""
    from stepedit_core.engine import Engine

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
        return Outcome(rendered.utterance, "dsp", details=rendered.details)
    if engine is None:
        raise RouteError(f"{edit.name}: the llm route needs an engine")
    return _apply_llm(edit, utterance, engine, int(rng.integers(2**63)), codes)


def free_groups(spans: tuple[Span, ...], codes: DualCodes, ratio: float) -> tuple[FreeGroups, ...]:
    """Return the 120 ms groups that lie wholly inside the spans.

    Raises:
        EngineError: if a span holds no whole group, so that nothing could be generated for it.
    """
    free = []
    for span in sorted(spans):
        start = max(0, int(np.ceil((span.start - codes.start) / GROUP_SECONDS - 1e-6)))
        stop = min(codes.groups, int((span.end - codes.start) / GROUP_SECONDS + 1e-6))
        if stop <= start:
            raise EngineError(
                f"span ({span.start:g}, {span.end:g}) holds no whole group of "
                f"{GROUP_SECONDS * 1000:.0f} ms of coded speech; make it longer"
            )
        free.append(FreeGroups(start, stop, max(1, round((stop - start) * ratio))))
    return tuple(free)


def _apply_llm(
    edit: Edit,
    utterance: Utterance,
    engine: SpeechEngine,
    seed: int,
    codes: DualCodes | None,
) -> Outcome:
    """Encode, generate and decode; outside an edit's free spans the source stays as it is."""
    source = engine.encode([utterance])[0] if codes is None else codes
    spans = edit.free_spans(utterance)
    ratio = edit.length_ratio(utterance)
    free = None if spans is None else free_groups(spans, source, ratio)
    request = GenerateRequest(edit.prompt(utterance), source, utterance, seed, ratio, free)
    output = engine.generate([request])[0]
    audio = engine.decode([output], [utterance], [seed])[0]
    after = edit.transcript_after(utterance)
    if free is None:
        edited = audio.replace(transcript=after, language=utterance.language)
        return Outcome(edited, "llm", output, {"groups": output.groups})
    edited, details = _splice_groups(utterance, audio, source, free)
    return Outcome(edited.replace(transcript=after), "llm", output, details)


def _splice_groups(
    source: Utterance, audio: Utterance, codes: DualCodes, free: tuple[FreeGroups, ...]
) -> tuple[Utterance, dict[str, Any]]:
    """Put the generated groups' audio into the source's own samples."""
    decoded = audio.resample(source.sample_rate)
    patches, shift = [], 0
    for part in free:
        start = part.start + shift
        new = decoded.slice(Span(start * GROUP_SECONDS, (start + part.length) * GROUP_SECONDS))
        begin = max(0.0, codes.start + part.start * GROUP_SECONDS)
        end = min(source.seconds, codes.start + part.stop * GROUP_SECONDS)
        patches.append(Patch(Span(begin, end), new.samples))
        shift += part.length - (part.stop - part.start)
    edited, placed = splice(source, patches)
    groups = [dataclasses.asdict(part) for part in free]
    return edited, {"free_groups": groups, "output_spans": [list(span) for span in placed]}
