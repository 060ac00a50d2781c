"""The engine: a loaded audio tokenizer, language model and decoder on one device."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.config import EngineConfig, engine_config
from stepedit_core.edit import Edit, Route
from stepedit_core.engine import DecodeRequest, GenerateRequest, Infilled, InfillRequest, Latent
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.llm_route.editing import Editing
from stepedit_core.llm_route.inflight import InflightBatch, StreamRequest
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.saying import saying_of
from stepedit_core.llm_route.shown import drawn_out_source, source_shown
from stepedit_core.models.checkpoint.load import EngineParts, load_parts
from stepedit_core.models.decoder.excerpts import CONTEXT, speak_excerpts
from stepedit_core.models.lm.framing import Rules
from stepedit_core.models.references import ReferenceCache
from stepedit_core.models.stage_clock import StageClock, StageTimes
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = ["Engine"]

FloatArray = npt.NDArray[np.float32]


class Engine(Editing):
    """Encodes speech to codes, generates codes, and decodes them to speech.

    One engine may be used from several threads; the model's work is done one call at a time.
    Codes and reference features of recent utterances are kept, so that a chain of edits never
    encodes the same audio twice.
    """

    def __init__(self, parts: EngineParts, config: EngineConfig) -> None:
        """Join loaded parts; ``Engine.load`` is the usual way to get here."""
        self.parts = parts
        sampling = config.sampling.filled(parts.sampling)
        policy = config.generation.filled(parts.generation)
        self.config = config.model_copy(update={"sampling": sampling, "generation": policy})
        self._rules = Rules(sampling, policy)
        self._lock = threading.RLock()
        self._clock = StageClock()
        self._references = ReferenceCache(parts, self._clock, config.cache_size)

    # Loading -----------------------------------------------------------------------------

    @classmethod
    def load(cls, name_or_path: str | None = None, **options: Any) -> Engine:
        """Load an engine by folder, hub id or name.

        Args:
            name_or_path: a folder with the public layout, a Hugging Face or ModelScope id, or
                a shipped engine's name; None takes the embedded model.
            options: fields of ``EngineConfig``: ``device``, ``dtype``, ``quantize``,
                ``sampling`` ...

        Raises:
            CheckpointError: if a file is missing, damaged or foreign; the text names it.
            EngineError: if the name, the device or an option does not exist.
        """
        if name_or_path is not None:
            options["name_or_path"] = str(name_or_path)
        return cls.from_config(engine_config(**options))

    @classmethod
    def from_config(cls, config: EngineConfig) -> Engine:
        """Load what a configuration names; raises as ``load`` does."""
        return cls(load_parts(config), config)

    # Facts -------------------------------------------------------------------------------

    inflight_kinds = ("generate", "infill", "stream")
    """What joins a generation in flight; see `InflightBatch`."""

    @property
    def name(self) -> str:
        """Name of the model's folder or id."""
        return self.parts.name

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio, in Hz."""
        return self.parts.decoder.sample_rate

    @property
    def languages(self) -> tuple[str, ...] | None:
        """Codes of the languages that the model was taught; None where its files do not say."""
        return self.parts.languages

    @property
    def times(self) -> StageTimes:
        """Seconds of work and of audio per stage since loading."""
        return self._clock.times()

    def describe(self) -> Mapping[str, Any]:
        """Return name, device, dtype, quantisation, encoding and a fingerprint of the weights."""
        return {
            "name": self.name,
            "device": str(self.parts.device),
            "dtype": str(self.parts.model.lm_head.weight.dtype).removeprefix("torch."),
            "quantize": self.config.quantize,
            "prompt_encoding": self.parts.encoding,
            "weights": self.parts.fingerprint,
            "sampling": self.config.sampling.model_dump(),
            "generation": self.config.generation.model_dump(),
        }

    def token_ids(self, codes: DualCodes) -> list[int]:
        """Return whole groups of codes as the interleaved ids that the language model reads."""
        return [int(token) + self.parts.layout.audio_base for token in codes.interleave()]

    # Encode, generate, decode ------------------------------------------------------------

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance; those seen recently are not encoded again.

        Raises:
            AudioError: if an utterance is too short for one group of codes, or empty.
        """
        with self._lock:
            return self._references.codes(utterances)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the output codes of each request, all in one batch.

        Each item gives what it would give alone with the same seed.

        Raises:
            BudgetError: if a prompt and its output do not fit the context.
            EngineError: if the model ends its turn without a single group.
        """
        return [found[0] for found in self.generate_several(requests, draws=1, keep=1)]

    def generate_several(
        self, requests: Sequence[GenerateRequest], draws: int, keep: int
    ) -> list[list[DualCodes]]:
        """Return several answers to each request, those that read best as its words first.

        Args:
            requests: all in one batch.
            draws: answers to each that are drawn at least; the model's rules may say more.
            keep: answers to each that are returned at most.

        Returns:
            At least one for each request; one alone where ``chooses`` says no.

        Raises:
            BudgetError, EngineError: as of ``generate``.
        """
        batches: list[tuple[Rules, list[int]]] = []
        for at, request in enumerate(requests):
            rules = self._rules.for_edit(*request.plan.rules)
            places = next((places for known, places in batches if known == rules), None)
            if places is None:
                batches.append((rules, [at]))
            else:
                places.append(at)
        codes: dict[int, list[DualCodes]] = {}
        with self._lock, self._clock.stage("generate") as note:
            for rules, places in batches:
                asked = [requests[at] for at in places]
                answers = self._best_answers(asked, rules, draws, keep)
                codes.update(zip(places, answers, strict=True))
            note.audio_seconds = sum(found[0].seconds for found in codes.values())
        return [codes[at] for at in range(len(requests))]

    def draws(self, plan: Plan) -> int:
        """Return how many answers to an edit ``generate`` draws, and chooses from."""
        rules = self._rules.for_edit(*plan.rules)
        return 1 if rules.follows_source(plan) else rules.policy.best_of

    def _best_answers(
        self, requests: Sequence[GenerateRequest], rules: Rules, draws: int, keep: int
    ) -> list[list[DualCodes]]:
        """Return the answers to requests under rules that they share."""
        from stepedit_core.models.lm.best_of_n import best_answers

        graphs = None if self.config.compile else False
        return best_answers(self.parts, rules, requests, draws=draws, keep=keep, graphs=graphs)

    def inflight_batch(self) -> InflightBatch:
        """Return a batch that takes requests while others are generated.

        Other calls of the engine are carried out between its steps.
        """
        from stepedit_core.models.lm.inflight import LoopBatch

        graphs = None if self.config.compile else False
        return LoopBatch(
            self.parts, self._rules, self._lock, self._clock, graphs, self._stream_steps
        )

    def infill(self, request: InfillRequest) -> Infilled:
        """Return the codes of a recording with other words in one place.

        Raises:
            BudgetError: if prompt and answer do not fit the context.
        """
        from stepedit_core.models.lm.infilling import infill

        with self._lock, self._clock.stage("generate") as note:
            made = infill(self.parts, self._rules.for_edit(*request.rules), request)
            note.audio_seconds = GROUP_SECONDS * made.length
        return made

    def infill_context(self, rules: tuple[str, ...]) -> float | None:
        """Return how many seconds around changed words are given to the language model.

        None gives it the whole recording: ``GenerationPolicy.infill_context``.
        """
        return self._rules.policy.for_edit(*rules).infill_context

    def spoken_at_once(self, rules: tuple[str, ...]) -> tuple[float | None, float | None]:
        """Return how many seconds of a text are said at once, and of a voice are shown.

        None stands for all: ``GenerationPolicy.phrase_seconds`` and ``voice_seconds``.
        """
        policy = self._rules.policy.for_edit(*rules)
        return policy.phrase_seconds, policy.voice_seconds

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Return audio for the codes of each request, in the voice of its reference.

        Codes and features of references are taken from the cache where they are known. A request
        with a source map is decoded with it; its positions are counted in the reference's codes.
        """
        return [audio for audio, _ in self.decode_keeping(requests)]

    def decode_keeping(self, requests: Sequence[DecodeRequest]) -> list[tuple[Utterance, Latent]]:
        """Return audio as ``decode`` does, and the codes and the mel that it was made from."""
        with self._lock:
            inputs = self._references.inputs(requests)
            with self._clock.stage("decode", sum(item.codes.seconds for item in requests)):
                spoken = self.parts.decoder.speak(inputs)
        made = []
        for (wave, mel), request in zip(spoken, requests, strict=True):
            gain = self._references.gain(request)
            mel.setflags(write=False)
            audio = Utterance(wave, self.sample_rate)
            by = self.parts.fingerprint
            made.append((audio, Latent(request.codes, mel, by, audio.digest, gain)))
        return made

    @property
    def excerpt_context(self) -> float:
        """Seconds before and after an excerpt that ``decode_excerpts`` decodes with it."""
        return CONTEXT * GROUP_SECONDS

    def decode_excerpts(
        self, requests: Sequence[DecodeRequest], excerpts: Sequence[tuple[int, int]]
    ) -> list[Utterance]:
        """Return the sound of some groups of each request, near to what ``decode`` gives there.

        Args:
            requests: as of ``decode``.
            excerpts: first group of each, and the group after its last one.
        """
        with self._lock:
            inputs = self._references.inputs(requests)
            seconds = GROUP_SECONDS * sum(stop - first for first, stop in excerpts)
            with self._clock.stage("decode", seconds):
                waves = speak_excerpts(self.parts.decoder, inputs, excerpts)
        gains = [np.float32(self._references.gain(request)) for request in requests]
        made = zip(waves, gains, strict=True)
        return [Utterance(wave * gain, self.sample_rate) for wave, gain in made]

    def accepts(self, latent: Latent) -> bool:
        """Whether these weights made a recording and can go on from what they made it from.

        Decoders whose reference need not lie on its codes' grid, as the public one, take the
        recording's own sound instead.
        """
        return self._references.accepts(latent)

    def aligns_references(self) -> bool:
        """Whether the decoder's reference lies on its codes' grid, as the public one's does not."""
        return self.parts.decoder.flow.aligned_reference

    def reading(self, codes: DualCodes, words: str) -> float | None:
        """Return how well codes read as words, by the model's phone reader; higher is better.

        None where the model has no reader, or does not know the words.
        """
        reader = self.parts.reader
        if reader is None or not reader.reads(words):
            return None
        return reader.score(codes, words)

    def chooses(self, words: str) -> bool:
        """Return whether the model can say which of several answers reads best as words."""
        return self.parts.reader is not None and self.parts.reader.reads(words)

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Return the cosine similarity of two utterances' speaker vectors, -1..1."""
        with self._lock:
            one, two = self._references.voice(first), self._references.voice(second)
        return float(np.dot(one, two) / (np.linalg.norm(one) * np.linalg.norm(two)))

    def forget(self) -> None:
        """Forget the recordings met lately, so that the next one costs what a first one does."""
        with self._lock:
            self._references.clear()
            self.parts.reference.forget()
            self.parts.decoder.forget()

    # Edits -------------------------------------------------------------------------------

    def preferred_route(self, edit: Edit) -> Route | None:
        """Return the route that ``auto`` should take: what was measured for these weights.

        None, for edits that the model's ``routes.json`` does not list, leaves it to the rule.
        """
        return self.parts.routes.preferred(edit)

    def knows(self, edit: Edit) -> bool:
        """Whether the model was taught this kind of edit, and the one inside it.

        What it was taught is what its ``routes.json`` lists and what its decoder is conditioned
        on. Models that say neither, as the public ones, are taken to know every edit.
        """
        return self.parts.knows(edit)

    def longest_seconds(self, edit: Edit) -> float | None:
        """Return the longest piece for an edit, in seconds, where ``routes.json`` has it."""
        return self.parts.routes.longest.get(edit.name)

    def regenerates_insertions_only(self, plan: Plan) -> bool:
        """Whether all but a plan's insertions is copied: ``GenerationPolicy.regenerate``."""
        return self._rules.policy.for_edit(*plan.rules).regenerate == "insertions"

    def answers_with_own_codes(self, plan: Plan) -> bool:
        """Whether the source's own codes are the answer: ``GenerationPolicy.own_codes``.

        For what the decoder carries out by itself, and edits of one tempo that it is conditioned
        on; not for codes in spans that have what is to go (`Plan.as_reference`), such as noise.
        """
        flow, policy = self.parts.decoder.flow, self._rules.policy.for_edit(*plan.rules)
        is_even = plan.uniform_tempo if plan.spans is None else plan.uniform_tempo_in_spans
        done_by_decoder = plan.label in flow.moved_labels
        placed = is_even and plan.label in getattr(flow, "edit_labels", ())
        is_spoilt = plan.as_reference is not None and bool(plan.spans)
        return policy.own_codes and (done_by_decoder or placed) and not is_spoilt

    def follows_source(self, plan: Plan) -> bool:
        """Whether the answer is the source's codes without silence: ``follow_source``."""
        return self._rules.for_edit(*plan.rules).follows_source(plan)

    def stream(self, utterance: Utterance, edit: Edit, *, seed: int = 0) -> Iterator[FloatArray]:
        """Yield edited audio while the model is still generating.

        Chunks are float32 at ``sample_rate``; the first comes after about one second's worth of
        tokens. Edits that are confined to spans cannot be streamed. Where insertions alone are
        generated, the codes around them are the source's, though their sound is decoded, too.

        Raises:
            RouteError: if the edit has no prompt, is confined to spans, or names a strength.
            EngineError: if the model ends its turn without a single group.
        """
        with self._lock:
            for chunk in self._stream_steps(StreamRequest(utterance, edit, seed)):
                if chunk is not None:
                    yield chunk

    def _stream_steps(self, asked: StreamRequest) -> Iterator[FloatArray | None]:
        """Yield the chunks of a stream, and None where others may work; the lock is held."""
        from stepedit_core.models.decoder.streaming import stream_steps

        utterance, edit = asked.utterance, asked.edit
        plan = edit.plan(utterance)
        shown, slow = source_shown(plan, utterance, self), drawn_out_source(plan, utterance, self)
        (codes,) = self.encode([shown])
        if plan.strength != 1.0:
            raise RouteError(f"{edit.name}: a stream knows one strength; leave strength= out")
        alone = self.regenerates_insertions_only(plan)
        request = request_for(edit, utterance, codes, asked.seed, plan=plan, insertions_only=alone)
        ((voice, start),) = self._references.voices([DecodeRequest(codes, slow or shown)])
        saying = saying_of(edit, request, self)
        if saying is None:
            begin = start if slow else None
            yield from stream_steps(self.parts, self._rules, [request], voice, begin)
            return
        for place, run in enumerate(saying.runs, 1):
            yield from stream_steps(self.parts, self._rules, run.requests, voice)
            if place < len(saying.runs):
                yield np.zeros(round(run.pause * self.sample_rate), np.float32)

    def seconds_to_first_chunk(self) -> float:
        """Return how much generated audio the first streamed chunk waits for, in seconds."""
        from stepedit_core.models.decoder.streaming import first_chunk_groups

        return first_chunk_groups(self.parts) * GROUP_SECONDS

    # End ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Give up caches, graphs and weights; the engine cannot be used afterwards."""
        from stepedit_core.models.lm.kept_graphs import release_graphs

        with self._lock:
            if isinstance(self.parts, _Closed):
                return
            for network in self.parts.networks():
                release_graphs(network)
            self._references.clear()
            self.parts = self._references.parts = _Closed()  # type: ignore[assignment]
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def __enter__(self) -> Engine:
        """Return the engine."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engine."""
        self.close()

    def __repr__(self) -> str:
        """Show name and device."""
        return f"Engine({self.name!r} on {self.parts.device})"


class _Closed:
    """Stands for the parts of a closed engine; any use says so."""

    device = "closed"
    name = "closed"

    def __getattr__(self, name: str) -> Any:
        raise EngineError("the engine is closed; load it again")
