"""Run many chains at once so that their requests reach the engine in batches.

Edits ask the engine one by one, through hooks that may wrap or nest them. Each chain runs in a
thread of its own with a stand-in for the engine; once every live chain waits for an answer, the
calling thread sends all requests of one kind as one batch. Which requests share a batch depends
on the chains alone, not on timing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stepedit_core.codes import DualCodes
from stepedit_core.engine import (
    ChoosingEngine,
    DecodeRequest,
    GenerateRequest,
    Latent,
    SpeechEngine,
    keeps_latents,
)
from stepedit_core.llm_route.choosing import decodes_excerpts
from stepedit_core.utterance import Utterance

__all__ = ["AllAtOnce", "PromptFixed", "Ran", "Ranked", "run_together"]

T = TypeVar("T")
_KINDS = ("encode", "generate", "decode", "decode_keeping", "decode_excerpts")


@dataclass
class Ran(Generic[T]):
    """What one task gave: a value, or the exception that ended it."""

    value: T | None = None
    error: Exception | None = None


@dataclass
class _Request:
    """One chain's wait for the engine."""

    kind: str
    arguments: tuple[Sequence[Any], ...]
    answered: threading.Event = field(default_factory=threading.Event)
    answer: list[Any] = field(default_factory=list)
    error: Exception | None = None


class _Delegate:
    """Behaves as an engine in all but what a subclass replaces."""

    def __init__(self, engine: SpeechEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the engine has, such as ``preferred_route``."""
        return getattr(self._engine, name)

    @property
    def name(self) -> str:
        """Short name of the engine."""
        return self._engine.name

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio, in Hz."""
        return self._engine.sample_rate

    def describe(self) -> Mapping[str, Any]:
        """Return the engine's own description."""
        return self._engine.describe()

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance."""
        return self._engine.encode(utterances)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the output codes of each request."""
        return self._engine.generate(requests)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return audio for codes."""
        return self._engine.decode(requests)


class PromptFixed(_Delegate):
    """An engine whose decoder always hears the same prompt: the voice of iteration 0."""

    def __init__(self, engine: SpeechEngine, reference: Utterance) -> None:
        """Wrap an engine with the prompt to keep."""
        super().__init__(engine)
        self._reference = reference

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return audio for codes in the voice of the fixed prompt."""
        return self._engine.decode([self._fixed(request) for request in requests])

    def decode_keeping(self, requests: Sequence[DecodeRequest]) -> list[tuple[Utterance, Latent]]:
        """Return audio for codes in the voice of the fixed prompt, and what it was made from."""
        assert keeps_latents(self._engine)
        return self._engine.decode_keeping([self._fixed(request) for request in requests])

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        """Return parts of codes in the voice of the fixed prompt."""
        assert decodes_excerpts(self._engine)
        fixed = [self._fixed(request) for request in requests]
        return self._engine.decode_excerpts(fixed, excerpts)

    def _fixed(self, request: DecodeRequest) -> DecodeRequest:
        """Return a request for the fixed prompt; a map or a latent of its reference goes."""
        if request.reference.digest == self._reference.digest:
            return request
        return DecodeRequest(request.codes, self._reference, request.seed)


class AllAtOnce(_Delegate):
    """An engine that says any text in one answer, for who learns of whole answers."""

    def spoken_at_once(self, rules: tuple[str, ...]) -> tuple[None, None]:
        """Return that all of a text is said at once, and all of a voice shown."""
        return None, None


class Ranked(_Delegate):
    """An engine that answers chains which ask the same with its best answer, its second best, ...

    Of several candidates, those alone are decoded that read well.
    """

    def __init__(self, engine: ChoosingEngine, chains: int, draws: int) -> None:
        """Wrap an engine.

        Args:
            engine: can say which of several answers reads best.
            chains: that ask at the same time; the first one gets the best answer.
            draws: answers that are drawn at least.
        """
        super().__init__(engine)
        self._chooser, self._chains, self._draws = engine, chains, draws

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return each chain's answers; a chain that asks alone gets the best ones."""
        size, rest = divmod(len(requests), self._chains)
        seeds = [request.seed for request in requests]
        if rest or seeds != seeds[:size] * self._chains:
            size = len(requests)
        found = self._chooser.generate_several(requests[:size], self._draws, self._chains)
        ranks = range(self._chains if size < len(requests) else 1)
        return [answers[min(rank, len(answers) - 1)] for rank in ranks for answers in found]


class _Seat(_Delegate):
    """The stand-in that one chain sees."""

    def __init__(self, engine: SpeechEngine, table: _Table[Any], number: int) -> None:
        super().__init__(engine)
        self._table, self._number = table, number

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Wait for a batch that encodes these utterances."""
        return self._table.ask(self._number, _Request("encode", (utterances,)))

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Wait for a batch that carries out these requests."""
        return self._table.ask(self._number, _Request("generate", (requests,)))

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Wait for a batch that decodes these codes."""
        return self._table.ask(self._number, _Request("decode", (requests,)))

    def decode_keeping(self, requests: Sequence[DecodeRequest]) -> list[tuple[Utterance, Latent]]:
        """Wait for a batch that decodes these codes and keeps what they are made from."""
        return self._table.ask(self._number, _Request("decode_keeping", (requests,)))

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        """Wait for a batch that decodes these parts."""
        asked = _Request("decode_excerpts", (requests, excerpts))
        return self._table.ask(self._number, asked)


class _Table(Generic[T]):
    """Where chains wait for the engine, and the loop that serves them."""

    def __init__(
        self,
        engine: SpeechEngine,
        tasks: Sequence[Callable[[SpeechEngine], T]],
        one_at_a_time: bool,
    ) -> None:
        self._engine = engine
        self._turn = threading.Semaphore(1 if one_at_a_time else max(1, len(tasks)))
        self._tasks = tasks
        self._changed = threading.Condition()
        self._waiting: dict[int, _Request] = {}
        self._live = len(tasks)
        self.results: list[Ran[T]] = [Ran() for _ in tasks]

    def ask(self, number: int, request: _Request) -> list[Any]:
        """Post a request and wait for its answer."""
        with self._changed:
            self._waiting[number] = request
            self._changed.notify_all()
        self._turn.release()
        request.answered.wait()
        self._turn.acquire()
        if request.error is not None:
            raise request.error
        return request.answer

    def _work(self, number: int) -> None:
        self._turn.acquire()
        try:
            seat = _Seat(self._engine, self, number)
            self.results[number].value = self._tasks[number](seat)
        except Exception as error:
            self.results[number].error = error
        finally:
            self._turn.release()
            with self._changed:
                self._live -= 1
                self._changed.notify_all()

    def run(self) -> None:
        """Start the chains and serve them until all have ended."""
        threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(len(self._tasks))
        ]
        for thread in threads:
            thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) == self._live)
                waiting, self._waiting = self._waiting, {}
            if not waiting:
                break
            self._serve([waiting[number] for number in sorted(waiting)])
        for thread in threads:
            thread.join()

    def _serve(self, requests: list[_Request]) -> None:
        """Answer the requests, one batch for each kind."""
        for kind in _KINDS:
            batch = [request for request in requests if request.kind == kind]
            if batch:
                self._answer(kind, batch)
        for request in requests:
            request.answered.set()

    def _answer(self, kind: str, batch: list[_Request]) -> None:
        """Answer requests of one kind together; where that fails, one by one."""
        call = getattr(self._engine, kind)
        columns = zip(*(request.arguments for request in batch), strict=True)
        try:
            answers = call(*([item for part in column for item in part] for column in columns))
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for request in batch:
                self._answer(kind, [request])
            return
        for request in batch:
            size = len(request.arguments[0])
            request.answer, answers = answers[:size], answers[size:]


def run_together(
    engine: SpeechEngine,
    tasks: Sequence[Callable[[SpeechEngine], T]],
    *,
    one_at_a_time: bool = False,
) -> list[Ran[T]]:
    """Run tasks that use an engine, with their requests in common batches.

    Args:
        engine: who answers; called from this thread alone.
        tasks: each receives a stand-in for the engine.
        one_at_a_time: let one task work while the others wait, for what is not made for threads.

    Returns:
        One result per task, in order; an exception ends its own task alone.
    """
    table = _Table(engine, tasks, one_at_a_time)
    table.run()
    return table.results
