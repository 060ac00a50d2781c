"""Streaming decode: audio while tokens arrive.

The chunk rule is the public system's: chunks of 15, 24 and then always 48 token steps (25, 40, 80
tokens; 0.6, 0.96, 1.92 s) and a look-ahead of 3 steps (5 tokens). Unlike there, references of any
length work and everything a session holds goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SIZE, SEMANTIC_PER_GROUP
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.decoder import Decoder, FloatArray, Reference
from stepedit_core.models.decoder.flow import FlowNoise, token_rows
from stepedit_core.models.decoder.vocoder import SeededSourceNoise, SourceNoise, VocoderStream
from stepedit_core.models.lm.chat import hide_words
from stepedit_core.models.lm.framing import Rules, aligned_prompt, constraint_of, sampling_of
from stepedit_core.models.lm.generation import stream

if TYPE_CHECKING:
    from stepedit_core.models.checkpoint.load import EngineParts

__all__ = ["CHUNK_STEPS", "StreamDecoder", "first_chunk_groups", "stream_request", "stream_steps"]

CHUNK_STEPS = (15, 24, 48)
"""Token steps (40 ms each) of the first, the second and every later chunk."""

ENCODER_STEPS = 1500
"""Steps of past (60 s, the reference included) that the encoder's attention keeps."""


class StreamDecoder:
    """One streaming session.

    What it holds is bounded: the solver's attention keeps the reference and 1.92 s, the encoder's
    60 s, the vocoder eight frames. Below 60 s the result equals the public system's.

    A session belongs to one thread at a time; several sessions may share a decoder.
    """

    def __init__(
        self,
        decoder: Decoder,
        reference: Reference,
        seed: int = 0,
        *,
        n_steps: int | None = None,
        flow_noise: FlowNoise | None = None,
        source_noise: SourceNoise | None = None,
        chunk_steps: Sequence[int] = CHUNK_STEPS,
        encoder_steps: int | None = ENCODER_STEPS,
        source_map: SourceMap | None = None,
    ) -> None:
        """Open a session.

        Args:
            decoder: flow and vocoder.
            reference: the voice.
            seed: seed of both random sources.
            n_steps: Euler steps; None takes the decoder's.
            flow_noise: explicit flow noise instead of the seed.
            source_noise: explicit source noise instead of the seed.
            chunk_steps: token steps of the chunks, multiples of 3; the last one repeats.
            encoder_steps: steps of past that the encoder keeps; None keeps all.
            source_map: where all tokens that may come lie in the reference.

        Raises:
            EngineError: if the reference does not fit the checkpoint, or the checkpoint's
                look-ahead is not a whole number of groups.
            ValueError: if ``chunk_steps`` is empty or not made of multiples of 3.
        """
        if not chunk_steps or any(s <= 0 or s % SEMANTIC_PER_GROUP for s in chunk_steps):
            raise ValueError(f"chunk_steps must be positive multiples of 3, not {chunk_steps}")
        if decoder.flow.lookahead % SEMANTIC_PER_GROUP:
            raise EngineError(
                f"stream: this checkpoint looks {decoder.flow.lookahead} steps ahead, "
                f"which is not a whole number of token groups; decode without streaming"
            )
        self._decoder = decoder
        self._rows, self._mel, self._speaker = decoder.prepare(reference)
        self._n_steps = decoder.n_steps if n_steps is None else n_steps
        self._noise = flow_noise or FlowNoise(seed, decoder.flow.bins)
        self._chunks = [_tokens_in(steps) for steps in chunk_steps]
        self._lookahead = _tokens_in(decoder.flow.lookahead)
        self._encoder_steps, self._source_map = encoder_steps, source_map
        self._waiting: list[int] = []
        self._spoken_rows = 0
        self._cache: Any = None
        source = source_noise or SeededSourceNoise(seed)
        self._voice: VocoderStream | None = decoder.vocoder.stream(source)

    @property
    def tokens_needed(self) -> int:
        """Tokens that must wait before the next push gives audio (0: it gives some now)."""
        needed = self._lookahead if self._cache is None else self._chunks[0] + self._lookahead
        return max(needed - len(self._waiting), 0)

    def push(
        self, tokens: Sequence[int] | npt.NDArray[np.int64] = (), last: bool = False
    ) -> FloatArray | None:
        """Take tokens and return the next audio, if a chunk is full.

        The first push that brings the look-ahead (5 tokens) prepares the reference and returns
        None even if it brought more; every later one returns at most one chunk. Push nothing to
        fetch further chunks that already wait.

        Args:
            tokens: new token indices 0..5119.
            last: whether nothing follows; all that waits is then spoken and the session closed.

        Returns:
            float32 samples, or None.

        Raises:
            EngineError: if the session is closed, a token is out of range, or the last push comes
                when no token was ever given.
        """
        if self._voice is None:
            raise EngineError("stream: the session is closed; open a new one")
        fresh = [int(token) for token in tokens]
        token_rows(fresh)  # refuses a bad token before anything has changed
        self._waiting += fresh
        if self._cache is None:
            if not last and len(self._waiting) < self._lookahead:
                return None
            self._open()
            if not last:
                return None
        if last:
            return self._finish()
        needed = self._chunks[0] + self._lookahead
        if len(self._waiting) < needed:
            return None
        chunk, self._waiting = self._waiting[:needed], self._waiting[self._chunks[0] :]
        if len(self._chunks) > 1:
            self._chunks.pop(0)
        return self._speak(chunk, last=False)

    def _open(self) -> None:
        """Run the reference through the flow."""
        if not self._waiting:
            self.close()
            raise EngineError("stream: ended before any audio token came; generate some first")
        self._cache = self._decoder.flow.open_stream(
            self._rows,
            token_rows(self._waiting[: self._lookahead]),
            self._mel,
            self._speaker,
            self._noise,
            self._n_steps,
            self._encoder_steps,
            self._source_map,
        )

    def _finish(self) -> FloatArray:
        """Speak all that waits and close."""
        try:
            return self._speak(self._waiting, last=True)
        finally:
            self.close()

    def _speak(self, tokens: list[int], last: bool) -> FloatArray:
        """Run one chunk through flow and vocoder."""
        if self._cache is None or self._voice is None:
            raise EngineError("stream: the session is closed; open a new one")
        try:
            mel = self._decoder.flow.generate_chunk(
                token_rows(tokens), self._cache, self._noise, last
            )
            flow = self._decoder.flow
            rows = mel.shape[1] // flow.factor
            unvoiced = flow.unvoiced(self._source_map, rows, self._spoken_rows)
            self._spoken_rows += rows
            return self._voice.push(mel, last, unvoiced).float().cpu().numpy()
        except BaseException:
            self.close()  # the caches may have moved on in part
            raise

    def close(self) -> None:
        """Give up everything the session holds; further pushes are refused."""
        self._cache = self._voice = None
        self._waiting = []

    def __enter__(self) -> StreamDecoder:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        self.close()


def _tokens_in(steps: int) -> int:
    """Return how many mixed tokens cover a number of steps."""
    return steps // SEMANTIC_PER_GROUP * GROUP_SIZE


def first_chunk_groups(parts: EngineParts) -> int:
    """Return the groups (120 ms each) that the first chunk waits for, its look-ahead included."""
    return (CHUNK_STEPS[0] + parts.decoder.flow.lookahead) // SEMANTIC_PER_GROUP


class _Walk:
    """Where an answer that follows its source lies in it, as far as it is said."""

    def __init__(self, request: GenerateRequest, groups: int) -> None:
        """Begin before the first group; at most ``groups`` come."""
        passage = request.passage()
        assert passage is not None
        self._passage, self._place, self._said = passage, 0, 0
        self._positions = np.full(SEMANTIC_PER_GROUP * groups, np.nan, dtype=np.float32)
        self.source_map = SourceMap(self._positions, start=request.codes.start)

    def go(self, group: Sequence[int]) -> None:
        """Take the next group's tokens; the source map then knows its place."""
        place = self._passage.place_of(group, self._place)
        here = slice(self._said, self._said + SEMANTIC_PER_GROUP)
        self._positions[here] = place + np.arange(SEMANTIC_PER_GROUP)
        self._said, self._place = here.stop, place + SEMANTIC_PER_GROUP


def stream_request(
    parts: EngineParts, rules: Rules, request: GenerateRequest, voice: Reference
) -> Iterator[FloatArray]:
    """Yield audio of one request, float32 at the decoder's rate.

    Raises:
        RouteError: if the request is confined to spans, whose joins need all of the audio, or
            keeps its codes, so that there is nothing to wait for.
        BudgetError: if prompt and output do not fit the context.
        EngineError: if the model ends its turn without a single group.
    """
    for chunk in stream_steps(parts, rules, [request], voice):
        if chunk is not None:
            yield chunk


def stream_steps(
    parts: EngineParts,
    rules: Rules,
    requests: Sequence[GenerateRequest],
    voice: Reference,
    at_pace: float | None = None,
) -> Iterator[FloatArray | None]:
    """Yield what ``stream_request`` does, and None after each token, where others may work.

    The answers to several requests, the phrases of a text, are spoken one after the other.

    Args:
        parts: of the engine.
        rules: of all edits.
        requests: in the order in which they are spoken.
        voice: the reference.
        at_pace: where the reference is the recording at the answer's slower pace
            (`Plan.retimed`), the second of it at which its codes begin; None: it is the recording.
            What is to be hurried must be there whole, so that a stream is spoken fast at once.
    """
    if any(not part.new for request in requests for part in request.free or ()):
        raise RouteError("an edit that is confined to spans cannot be streamed; use edit()")
    if any(request.plan.keeps_codes for request in requests):
        raise RouteError("an edit that keeps the codes generates nothing to stream; use edit()")
    first = requests[0]
    rules = rules.for_edit(*first.plan.rules)
    answers = [_Answer(parts, rules, request) for request in requests]
    most = sum(answer.budget for answer in answers) // GROUP_SIZE
    source_map = first.source_map(most)
    if at_pace is not None:
        source_map = source_map.at_pace(first.plan.length_ratio).counted_from(at_pace)
    walk = None
    if rules.follows_source(first.plan):
        walk = _Walk(first, most)
        source_map = walk.source_map
    base = parts.layout.audio_base
    with StreamDecoder(parts.decoder, voice, first.seed, source_map=source_map) as session:
        for answer in answers:
            group: list[int] = []
            spoken = False
            for token in answer.tokens():
                yield None
                group.append(token - base)
                if len(group) < GROUP_SIZE:
                    continue
                spoken = True
                if walk is not None:
                    walk.go(group)
                chunk = session.push(group)
                group = []
                if chunk is not None:
                    yield chunk
            if not spoken:
                raise EngineError("the language model ended its turn without any speech")
        rest = session.push(last=True)
        if rest is not None and len(rest):
            yield rest


class _Answer:
    """The answer to one request of a stream, before it is drawn."""

    def __init__(self, parts: EngineParts, rules: Rules, request: GenerateRequest) -> None:
        """Frame the prompt; raises BudgetError as ``stream_request`` does."""
        self._parts, self._rules, self._request = parts, rules, request
        self._prompt = aligned_prompt(request, parts.text, parts.encoding)
        self.budget = parts.budget(len(self._prompt.ids), rules.sampling.max_length)
        self._constraint = constraint_of(request, self._prompt.ids, self.budget, rules)

    def tokens(self) -> Iterator[int]:
        """Yield the tokens as they are drawn."""
        parts, ids = self._parts, self._prompt.ids
        drawing = sampling_of(self._rules.sampling)
        yield from stream(
            parts.network(self._rules.policy.weights),
            ids,
            layout=parts.layout,
            sampling=drawing,
            constraint=self._constraint,
            seed=self._request.seed,
            max_new_tokens=self.budget,
            alignment=self._prompt.alignment,
            against=hide_words(ids, parts.text) if drawing.guided else None,
        )
