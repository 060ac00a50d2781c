"""Chains: ordered edits as data, validated as a whole before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack, overload

from stepedit_core.chain.notation import edit_from_data
from stepedit_core.chain.result import SCHEMA_VERSION, RouteChoice, Step, reported
from stepedit_core.chain.running import RunOptions, run
from stepedit_core.chain.validation import look_ahead
from stepedit_core.edit import Edit, Route
from stepedit_core.errors import InvalidChainError, StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.stored_json import parse_json
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.registry.registry import Registry

__all__ = ["MAX_STEPS", "Chain", "ChainResult"]

MAX_STEPS = 10_000
"""Most steps that a chain may unroll to; more is taken for a slip of the pen."""
_FORM = "a chain is a JSON object with a list under 'edits' and, if wanted, 'iterations'"
_EXAMPLE = '{"edit": "speed", "factor": 1.1}'


class Chain(Sequence["Edit | Chain"]):
    """Ordered edits, nestable and list-like; equal and reusable as data."""

    def __init__(self, edits: Iterable[Edit | Chain] = (), iterations: int = 1) -> None:
        """Hold the edits, to be run ``iterations`` times over.

        Raises:
            InvalidChainError: if an item is no edit or chain, or iterations is below 1.
        """
        if not isinstance(edits, Iterable) or isinstance(edits, str | Edit):
            kind = type(edits).__name__
            raise InvalidChainError(
                f"a chain takes a list of edits, got {kind}; write Chain([...])"
            )
        self._items = tuple(edits)
        self.iterations = iterations
        for place, item in enumerate(self._items, start=1):
            if not isinstance(item, Edit | Chain):
                kind = type(item).__name__
                raise InvalidChainError(f"item {place} is {kind}, expected an edit or a chain")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise InvalidChainError(f"iterations is a whole number from 1, got {iterations!r}")
        each = sum(item._total if isinstance(item, Chain) else 1 for item in self._items)
        self._total: int = each * iterations

    @overload
    def __getitem__(self, index: int) -> Edit | Chain: ...
    @overload
    def __getitem__(self, index: slice) -> Chain: ...
    def __getitem__(self, index: int | slice) -> Edit | Chain:
        """Return an item, or a chain of a slice's items."""
        return Chain(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        """Return the number of items; a nested chain counts as one."""
        return len(self._items)

    def __add__(self, other: Chain | Edit | Sequence[Edit | Chain]) -> Chain:
        """Return a chain that runs this one, then the other, or one more edit."""
        if isinstance(other, Edit):
            other = [other]
        return Chain([*self._parts(), *(other._parts() if isinstance(other, Chain) else other)])

    def __mul__(self, times: int) -> Chain:
        """Return a chain that runs this one several times over."""
        return Chain(self._items, self.iterations * times)

    def __eq__(self, other: object) -> bool:
        """Compare items and iterations."""
        if not isinstance(other, Chain):
            return NotImplemented
        return self._items == other._items and self.iterations == other.iterations

    def __hash__(self) -> int:
        """Hash what ``==`` compares."""
        return hash((self._items, self.iterations))

    def __repr__(self) -> str:
        """Show the items as they were given."""
        times = f", iterations={self.iterations}" if self.iterations != 1 else ""
        return f"Chain({list(self._items)!r}{times})"

    def _parts(self) -> tuple[Edit | Chain, ...]:
        """Return the items, or the chain itself where it repeats."""
        return self._items if self.iterations == 1 else (self,)

    def flat(self) -> Iterator[Edit]:
        """Yield the edits one by one, nested chains and iterations unrolled."""
        for _ in range(self.iterations if self._total else 0):
            for item in self._items:
                if isinstance(item, Chain):
                    yield from item.flat()
                else:
                    yield item

    def _count(self) -> int:
        """Return how many edits ``flat`` yields, without unrolling."""
        return self._total

    # Data --------------------------------------------------------------------------------

    def to_data(self) -> dict[str, Any]:
        """Return the chain as JSON data with its schema version."""
        return {"schema_version": SCHEMA_VERSION, **self._body()}

    def _body(self) -> dict[str, Any]:
        edits = [item._body() if isinstance(item, Chain) else item.to_data() for item in self]
        return {"iterations": self.iterations, "edits": edits}

    def hides_words(self) -> bool:
        """Return whether an edit of the chain hides words; see `Edit.hides_words`."""
        return any(item.hides_words() for item in self)

    def public_data(self) -> dict[str, Any]:
        """Return what records say of the chain: its JSON data, without what its edits hide.

        Where one hides words, the other edits are told by their names alone.
        """
        return {"schema_version": SCHEMA_VERSION, **self._public_body(self.hides_words())}

    def _public_body(self, hides: bool) -> dict[str, Any]:
        edits = [
            item._public_body(hides)
            if isinstance(item, Chain)
            else item.public_data()
            if item.hides_words() or not hides
            else {"edit": item.name}
            for item in self
        ]
        return {"iterations": self.iterations, "edits": edits}

    def to_json(self, indent: int | None = 2) -> str:
        """Return the chain as JSON text."""
        return json.dumps(self.to_data(), ensure_ascii=False, indent=indent)

    @classmethod
    def from_data(cls, data: object) -> Chain:
        """Build a chain from JSON data; without a ``schema_version`` it is of the present one.

        One edit's data, which `Edit.to_data` gives, is a chain of that edit.

        Raises:
            InvalidChainError: if the data is no chain, of a newer schema, or names an edit or
                parameter that does not exist; the text names the place.
        """
        if not isinstance(data, Mapping):
            raise InvalidChainError(f"{_FORM}, got {_json_kind(data)}")
        if "edit" in data and "edits" not in data:
            data = {"edits": [data]}
        version = data.get("schema_version", SCHEMA_VERSION)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise InvalidChainError("a chain file has a whole number from 1 under 'schema_version'")
        if version > SCHEMA_VERSION:
            raise InvalidChainError(
                f"the chain has schema version {version}, this stepedit reads up to "
                f"{SCHEMA_VERSION}; update stepedit"
            )
        return cls._from_body(data, "")

    @classmethod
    def _from_body(cls, data: Mapping[str, Any], place: str) -> Chain:
        """Build a chain from its JSON form without a version; ``place`` leads messages."""
        unknown = set(data) - {"schema_version", "iterations", "edits"}
        if unknown:
            raise InvalidChainError(f"{place}unknown key {str(min(unknown))[:80]!r}; {_FORM}")
        edits = data.get("edits")
        if not isinstance(edits, list):
            raise InvalidChainError(f"{place}{_FORM}, got {_json_kind(edits)} there")
        items: list[Edit | Chain] = []
        for number, item in enumerate(edits, start=1):
            here = f"{place}step {number}: "
            if not isinstance(item, Mapping):
                raise InvalidChainError(
                    f"{here}an edit is an object such as {_EXAMPLE}, got {_json_kind(item)}"
                )
            if "edits" in item:
                items.append(cls._from_body(item, here))
                continue
            try:
                items.append(edit_from_data(item))
            except StepeditError as error:
                raise InvalidChainError(f"{here}{error}") from error
        return cls(items, data.get("iterations", 1))

    @classmethod
    def from_json(cls, text: str) -> Chain:
        """Build a chain from JSON text; raises InvalidChainError as ``from_data`` does."""
        try:
            data = parse_json(text)
            return cls.from_data(data)
        except (ValueError, RecursionError) as error:
            raise InvalidChainError(f"not a chain: the text is not JSON ({error})") from error

    # Running -----------------------------------------------------------------------------

    def unrolled(self) -> list[Edit]:
        """Return the edits one by one.

        Raises:
            InvalidChainError: if there are too many.
        """
        if (steps := self._count()) > MAX_STEPS:
            raise InvalidChainError(f"the chain has {steps} steps; {MAX_STEPS} is the most")
        return list(self.flat())

    def validate(
        self,
        utterance: Utterance,
        engine: SpeechEngine | None = None,
        *,
        route: RouteChoice = "auto",
        first: int = 1,
    ) -> list[Route]:
        """Check the whole chain against an utterance without running anything.

        Args:
            utterance: what the chain will receive.
            engine: what it will run on.
            route: as for calling the chain.
            first: number of the first step, for messages.

        Returns:
            The route that each unrolled edit will take.

        Raises:
            InvalidChainError: naming the first step that cannot work, why, and the cure.
        """
        steps = look_ahead(self.unrolled(), utterance, engine, route=route, first=first)
        return [step.route for step in steps]

    def __call__(
        self,
        utterance: Utterance,
        engine: SpeechEngine | None = None,
        *,
        seed: int = 0,
        registry: Registry | None = None,
        **options: Unpack[RunOptions],
    ) -> ChainResult:
        """Run the chain on an utterance.

        Args:
            utterance: what to edit.
            engine: needed by steps that take the llm route.
            seed: same seed, same result.
            registry: whose hooks run; the process's by default.
            options: ``route`` forces one route for all steps, or lets each choose (``auto``);
                ``carry`` is what a step hands to the next one: ``latent`` (what the engine made
                its sound from, the default), ``codes`` or ``audio`` (its sound alone);
                ``on_step`` is called after each finished step; ``accept`` holds limits (`Accept`)
                that each step must keep, or is drawn again; ``until="no gain"`` ends the
                iterations of the chain where one brings its edits no nearer to their targets, by
                their own scorers.

        Raises:
            TypeError: if there is no such option.
            InvalidChainError: before anything runs, if a step cannot work.
            EditError: if a step fails while it runs; it carries the finished steps.
        """
        start = ChainResult(utterance, (), seed, engine)
        return self.run_from(start, engine=engine, registry=registry, **options)

    def run_from(
        self,
        start: ChainResult,
        *,
        engine: SpeechEngine | None,
        registry: Registry | None = None,
        **options: Unpack[RunOptions],
    ) -> ChainResult:
        """Run the edits after the steps that ``start`` has; raises as calling a chain does."""
        hooks = registry or get_registry()
        steps, notes = run(
            self.unrolled(), start.source, start.steps,
            seed=start.seed, engine=engine, registry=hooks, rounds=self.iterations, **options,
        )  # fmt: skip
        result = ChainResult(start.source, steps, start.seed, engine, notes)
        hooks.hook.stepedit_chain_finished(result=result)
        return result


@dataclass(frozen=True)
class ChainResult:
    """The final utterance and one record per edit.

    Attributes:
        source: what went in.
        steps: the finished steps, in order.
        seed: the chain's seed.
        engine: the engine that was given, if any.
        notes: what a user should know, such as limits that could not be judged.
    """

    source: Utterance
    steps: tuple[Step, ...]
    seed: int
    engine: SpeechEngine | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()

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
            InvalidChainError: if there are fewer steps than ``after``, or ``chain`` is neither.
        """
        if not isinstance(chain, Chain | Edit):
            kind = type(chain).__name__
            raise InvalidChainError(f"then() takes a chain or an edit, got {kind}")
        kept = self.steps if after is None else self.steps[:after]
        if after is not None and not 0 <= after <= len(self.steps):
            raise InvalidChainError(f"cannot go on after step {after} of {len(self.steps)}")
        start = ChainResult(self.source, kept, options.pop("seed", self.seed), self.engine)
        following = Chain([chain]) if isinstance(chain, Edit) else chain
        return following.run_from(start, engine=options.pop("engine", self.engine), **options)

    def report(self, *, hides: bool = False) -> dict[str, Any]:
        """Return the result as JSON data, without samples.

        Of what comes before a step that hides words, no words are told.

        Args:
            hides: words were to be hidden by a step that is not among the finished ones.
        """
        hidden = hides or any(step.edit.hides_words() for step in self.steps)
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.seed,
            "engine": dict(self.engine.describe()) if self.engine is not None else None,
            "source": {
                "sha256": self.source.digest,
                "audio_seconds": round(self.source.seconds, 4),
                "sample_rate": self.source.sample_rate,
                "channels": self.source.channels,
                "transcript": None if hidden else self.source.transcript,
            },
            "steps": reported(self.steps, hides=hides),
        }


def _json_kind(value: object) -> str:
    """Return what a value is called in JSON."""
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")
