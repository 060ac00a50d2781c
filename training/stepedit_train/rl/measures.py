"""Measurements for scorers that reward answers while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch.nn.functional as F

from stepedit_core.alignment import Recogniser
from stepedit_core.dsp import frames, vad
from stepedit_core.dsp.words import without_tags, word_error
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.recording.hearing import load_recogniser
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Judge
from stepedit_core.utterance import Utterance

__all__ = ["Tools", "TrainingMeasures"]

NONE = "none"


class TrainingMeasures:
    """Measurements by what core and the installed plugins have; nothing is downloaded.

    Args:
        engine: its speaker encoder compares voices.
        recogniser: hears words, by its name; ``none`` leaves words unmeasured, which is faster.
    """

    def __init__(self, engine: SpeechEngine, recogniser: str = NONE) -> None:
        self.engine, self.recogniser = engine, recogniser

    @cached_property
    def _loaded(self) -> Recogniser:
        if self.recogniser == NONE:
            raise StepeditError("this run hears no words (recogniser = 'none')")
        return load_recogniser(self.recogniser)

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words that the run's recogniser hears."""
        return self._loaded.transcribe(utterance).text

    def word_error(self, expected: str, utterance: Utterance) -> float:
        """Return the word (or character) error rate of what is heard, 0..."""
        return word_error(without_tags(expected), without_tags(self.transcribe(utterance)))

    def speaker_similarity(self, first: Utterance, second: Utterance) -> float:
        """Return the cosine similarity of the embeddings of the engine's own speaker encoder."""
        parts: Any = getattr(self.engine, "parts", None)
        if parts is None:
            raise StepeditError("this engine has no speaker encoder to compare voices with")
        one, two = (
            parts.reference.speaker.embed(sound.samples, sound.sample_rate)
            for sound in (first, second)
        )
        return float(F.cosine_similarity(one, two, dim=-1).mean())

    def dnsmos(self, utterance: Utterance) -> Mapping[str, float]:
        """Return DNSMOS P.835, where speechmos is installed."""
        try:
            from speechmos import dnsmos
        except ImportError as error:
            raise StepeditError("DNSMOS needs speechmos: pip install 'stepedit[bench]'") from error
        heard = np.clip(utterance.resample(16_000).samples, -1, 1)
        made = dnsmos.run(heard, 16_000)
        return {name: float(made[f"{name}_mos"]) for name in ("sig", "bak", "ovrl")}

    def speech_spans(self, utterance: Utterance) -> list[tuple[float, float]]:
        """Return the spans of speech, in seconds (Silero VAD)."""
        return [(span[0], span[1]) for span in vad.speech_spans(utterance)]

    def median_f0(self, utterance: Utterance) -> float | None:
        """Return the median fundamental frequency of voiced frames in Hz, or None."""
        samples = utterance.resample(frames.RATE).samples.astype(np.float64)
        cut = frames.cut(samples, window=0.025)
        if cut is None:
            return None
        f0, periodicity = frames.pitch(samples, len(frames.level(cut)))
        voiced = f0[(f0 > 0) & (periodicity > frames.VOICING)]
        return float(np.median(voiced)) if len(voiced) else None

    def judge(self, task: str) -> Judge:
        """Return the registered judge of a task; of several, the first by name.

        Raises:
            StepeditError: if none judges it.
        """
        kinds = get_registry().named("stepedit_judges", lambda kind: str(kind.name))
        for kind in kinds.values():
            judge: Judge = kind()
            if task in judge.tasks():
                return judge
        raise StepeditError(f"no installed judge knows the task {task!r}")


@dataclass(frozen=True)
class Tools:
    """Engine and measurements for rewards (`RewardTools`).

    Attributes:
        engine: whose language model is trained.
        measures: as scorers get them.
    """

    engine: SpeechEngine
    measures: TrainingMeasures
