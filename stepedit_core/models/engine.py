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
from stepedit_core.config import EngineConfig, SamplingConfig, engine_config
from stepedit_core.decoded import Decoded
from stepedit_core.edit import Edit, Route
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.carrying_out import Editing
from stepedit_core.llm_route.source_map import Origin
from stepedit_core.models.checkpoint.load import EngineParts, load_parts
from stepedit_core.models.decoder.decoder import DecodeInput
from stepedit_core.models.stages import StageClock, StageTimes
from stepedit_core.models.tokenizer.reference_cache import Sources
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
        own = config.sampling.filled(parts.sampling)
        self.config = config.model_copy(update={"sampling": own})
        self._lock = threading.RLock()
        self._clock = StageClock()
        self._sources = Sources(parts, self._clock, config.cache_size, reuse=config.reuse_decoded)

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

    @property
    def name(self) -> str:
        """Name of the model's folder or id."""
        return self.parts.name

    @property
    def sample_rate(self) -> int:
        """Rate of decoded audio, in Hz."""
        return self.parts.decoder.sample_rate

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
            "reuse_decoded": self.config.reuse_decoded,
            "sampling": self.config.sampling.model_dump(),
        }

    def token_ids(self, codes: DualCodes) -> list[int]:
        """Return whole groups of codes as the interleaved ids that the language model reads."""
        return [int(token) + self.parts.layout.audio_base for token in codes.interleave()]

    # Encode, generate, decode ------------------------------------------------------------

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance; those seen recently are not encoded again.

        What these weights decoded has the codes that it was decoded from, as long as its samples
        are untouched; see ``EngineConfig.reuse_decoded``.

        Raises:
            AudioError: if an utterance is too short for one group of codes, or empty.
        """
        with self._lock:
            return self._sources.codes(utterances)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Return the output codes of each request, all in one batch.

        Each item gives what it would give alone with the same seed.

        Raises:
            BudgetError: if a prompt and its output do not fit the context.
            EngineError: if the model ends its turn without a single group.
        """
        from stepedit_core.models.lm.best_of_n import answer_by_choice

        together: dict[str, list[int]] = {}
        for at, request in enumerate(requests):
            rules = self.config.sampling.for_edit(*request.sampled_as)
            together.setdefault(rules.model_dump_json(), []).append(at)
        codes: dict[int, DualCodes] = {}
        with self._lock, self._clock.stage("generate") as note:
            for text, places in together.items():
                answers = answer_by_choice(
                    self.parts,
                    SamplingConfig.model_validate_json(text),
                    [requests[at] for at in places],
                    graphs=None if self.config.compile else False,
                )
                codes.update(zip(places, answers, strict=True))
            note.audio_seconds = sum(item.seconds for item in codes.values())
        return [codes[at] for at in range(len(requests))]

    def decode(
        self, codes: Sequence[DualCodes], references: Sequence[Utterance], seeds: Sequence[int]
    ) -> list[Utterance]:
        """Return audio for codes, in the voice of the reference beside each.

        Args:
            codes: what to speak.
            references: whose voice; their codes are taken from the cache where they are known.
            seeds: of the flow's noise and the vocoder's source, one for each.

        Codes that know their origin are decoded with it where the reference is their source. What
        is returned knows what it was decoded from; see ``EngineConfig.reuse_decoded``.
        """
        with self._lock:
            voices = self._sources.voices(references)
            origins = [
                _origin(item, reference, own)
                for item, reference, own in zip(
                    codes, references, self.encode(references), strict=True
                )
            ]
            with self._clock.stage("decode", sum(item.seconds for item in codes)):
                spoken = self.parts.decoder.speak(
                    [
                        DecodeInput(item.interleave(), voice, seed % 2**63, origin=origin)
                        for item, voice, origin, seed in zip(
                            codes, voices, origins, seeds, strict=True
                        )
                    ]
                )
        by = self.parts.fingerprint
        return [
            Utterance(wave, self.sample_rate, decoded=Decoded(item, mel, by))
            for (wave, mel), item in zip(spoken, codes, strict=True)
        ]

    # Edits -------------------------------------------------------------------------------

    def preferred_route(self, edit: Edit) -> Route | None:
        """Return the route that ``auto`` should take: what was measured for these weights.

        None, for edits that the model's ``routes.json`` does not list, leaves it to the rule.
        """
        return self.parts.routes.preferred(edit)

    def keeps_rest(self, edit: Edit) -> bool:
        """Whether all but the insertions of this edit is copied: ``SamplingConfig.keep_rest``."""
        return self.config.sampling.for_edit(*edit.sampled_as()).keep_rest

    def stream(self, utterance: Utterance, edit: Edit, *, seed: int = 0) -> Iterator[FloatArray]:
        """Yield edited audio while the model is still generating.

        Chunks are float32 at ``sample_rate``; the first comes after about one second's worth of
        tokens. Edits that are confined to spans cannot be streamed. Where `keeps_rest` holds, the
        codes around what is put in are the source's, though their sound is decoded, too.

        Raises:
            RouteError: if the edit has no prompt, or is confined to spans.
            EngineError: if the model ends its turn without a single group.
        """
        from stepedit_core.llm_route.planning import request_for
        from stepedit_core.models.decoder.streamed import stream_request

        codes = self.encode([utterance])[0]
        request = request_for(edit, utterance, codes, seed, keep_rest=self.keeps_rest(edit))
        with self._lock:
            voice = self._sources.voices([utterance])[0]
            yield from stream_request(self.parts, self.config.sampling, request, voice)

    def seconds_to_first_chunk(self) -> float:
        """Return how much generated audio the first streamed chunk waits for, in seconds."""
        from stepedit_core.models.decoder.streamed import first_chunk_groups

        return first_chunk_groups(self.parts) * GROUP_SECONDS

    # End ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Give up caches, graphs and weights; the engine cannot be used afterwards."""
        from stepedit_core.models.lm.generation import release_graphs

        with self._lock:
            if isinstance(self.parts, _Closed):
                return
            release_graphs(self.parts.model)
            self._sources.clear()
            self.parts = self._sources.parts = _Closed()  # type: ignore[assignment]
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


def _origin(codes: DualCodes, reference: Utterance, own: DualCodes) -> Origin | None:
    """Return the origin of codes in a reference's own, or None where it is not their source."""
    origin = codes.origin
    if origin is None or origin.source != reference.digest:
        return None
    return origin.counted_from(own.start)


class _Closed:
    """Stands for the parts of a closed engine; any use says so."""

    device = "closed"
    name = "closed"

    def __getattr__(self, name: str) -> Any:
        raise EngineError("the engine is closed; load it again")
