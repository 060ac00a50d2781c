"""What a chain gives: one record per finished edit, and a place to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from stepedit_core.edit import Edit, Route
from stepedit_core.errors import InvalidChainError, StepeditError
from stepedit_core.registry.registry import PluginInfo
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.codes import DualCodes
    from stepedit_core.engine import SpeechEngine

__all__ = [
    "SCHEMA_VERSION",
    "Carry",
    "ChainResult",
    "RouteChoice",
    "Step",
    "check_arguments",
    "choose_route",
]

SCHEMA_VERSION = 1
RouteChoice = Literal["auto", "llm", "dsp"]
Carry = Literal["audio", "codes"]
"""What a step hands to the next one: audio to encode again, or its output codes as they are."""


@dataclass(frozen=True)
class Step:
    """One finished edit of a chain.

    Attributes:
        edit: the request.
        utterance: what came out.
        route: the route that ran.
        engine: name of the engine that ran, or None for the dsp route.
        plugin: the plugin that brings the edit.
        seed: the chain's seed.
        seconds: wall-clock time, in seconds.
        codes: output codes of the llm route.
        details: facts that the route reported; JSON data.
    """

    edit: Edit
    utterance: Utterance
    route: Route
    engine: str | None
    plugin: PluginInfo
    seed: int
    seconds: float
    codes: DualCodes | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Return the step as JSON data, without its samples."""
        return {
            "edit": self.edit.to_data(),
            "route": self.route,
            "engine": self.engine,
            "plugin": {
                "name": self.plugin.name,
                "distribution": self.plugin.distribution,
                "version": self.plugin.version,
            },
            "seed": self.seed,
            "wall_seconds": round(self.seconds, 4),
            "audio_seconds": round(self.utterance.seconds, 4),
            "sample_rate": self.utterance.sample_rate,
            "transcript": self.utterance.transcript,
            "details": dict(self.details),
        }


@dataclass(frozen=True)
class ChainResult:
    """The final utterance and one record per edit.

    Attributes:
        source: what went in.
        steps: the finished steps, in order.
        seed: the chain's seed.
        engine: the engine that was given, if any.
    """

    source: Utterance
    steps: tuple[Step, ...]
    seed: int
    engine: SpeechEngine | None = field(default=None, repr=False, compare=False)

    @property
    def utterance(self) -> Utterance:
        """What came out of the last step."""
        return self.steps[-1].utterance if self.steps else self.source

    def then(self, chain: Chain | Edit, *, after: int | None = None, **options: Any) -> ChainResult:
        """Run more edits on what is here: from the end, or from any step, to branch or undo.

        Args:
            chain: what to do next.
            after: how many of the finished steps to keep; None keeps all, 0 starts from the
                source.
            options: as for calling a chain; engine and seed default to this result's.

        Raises:
            InvalidChainError: if there are fewer steps than ``after``.
        """
        from stepedit_core.chain.chain import Chain

        kept = self.steps if after is None else self.steps[:after]
        if after is not None and not 0 <= after <= len(self.steps):
            raise InvalidChainError(f"cannot go on after step {after} of {len(self.steps)}")
        start = ChainResult(self.source, kept, options.pop("seed", self.seed), self.engine)
        following = chain if isinstance(chain, Chain) else Chain([chain])
        return following.run_from(start, engine=options.pop("engine", self.engine), **options)

    def report(self) -> dict[str, Any]:
        """Return the result as JSON data, without samples."""
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.seed,
            "engine": dict(self.engine.describe()) if self.engine is not None else None,
            "source": {
                "sha256": self.source.digest,
                "audio_seconds": round(self.source.seconds, 4),
                "sample_rate": self.source.sample_rate,
                "channels": self.source.channels,
                "transcript": self.source.transcript,
            },
            "steps": [step.report() for step in self.steps],
        }


def check_arguments(
    utterance: object, engine: object, route: object, carry: object = "audio"
) -> None:
    """Refuse what a chain cannot be called with.

    Raises:
        InvalidChainError: naming the argument and what it takes.
    """
    if not isinstance(utterance, Utterance):
        kind = type(utterance).__name__
        raise InvalidChainError(f"a chain edits an Utterance, got {kind}; use Utterance.read")
    if engine is not None and not hasattr(engine, "generate"):
        kind = type(engine).__name__
        raise InvalidChainError(f"engine is a loaded engine, got {kind}; use Engine.load")
    if route not in get_args(RouteChoice):
        raise InvalidChainError(f"route is one of {get_args(RouteChoice)}, got {route!r}")
    if carry not in get_args(Carry):
        raise InvalidChainError(f"carry is one of {get_args(Carry)}, got {carry!r}")


def choose_route(edit: Edit, engine: SpeechEngine | None, choice: RouteChoice = "auto") -> Route:
    """Return the route that an edit will take.

    ``auto`` takes the engine's own preference where it states one (``preferred_route``), then
    llm where there is an engine, then dsp.

    Raises:
        StepeditError: if no route fits; the text says why and what to do.
    """
    problems: dict[Route, str | None] = {
        "llm": edit.route_problem("llm"),
        "dsp": edit.route_problem("dsp"),
    }
    if engine is None and problems["llm"] is None:
        problems["llm"] = "the llm route needs an engine; give one with engine= or --engine"
    if choice != "auto":
        if problems[choice] is not None:
            raise StepeditError(str(problems[choice]))
        return choice
    prefer = getattr(engine, "preferred_route", None)
    preferred = prefer(edit) if callable(prefer) else None
    for route in (preferred, "llm", "dsp"):
        if route is not None and problems[cast(Route, route)] is None:
            return cast(Route, route)
    raise StepeditError(f"no route: {problems['llm']}; {problems['dsp']}")
