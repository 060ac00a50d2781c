"""Hear what kind of sound was put in, to choose among sounds that a language model drew.

A small network of convolutions in time over log mels, taught with sounds put into the speech of
training speakers (``render`` of the pair builder), and with speech, as they are before any codec.
It shares neither features nor recordings of speech with the benchmark's judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt

from stepedit_core import Outcome, Span, Utterance
from stepedit_paralinguistic.recorded import LEVEL, LEVELS
from stepedit_paralinguistic.voice import analyse

__all__ = ["KINDS", "fit_of", "kind_of", "log_mels", "log_probabilities"]

FloatArray = npt.NDArray[np.float32]

KINDS = ("laugh", "breath", "cough", "voice", "speech")
"""Classes of the network; ``voice`` is hesitations and interjections, ``speech`` is words."""
_KIND: Mapping[str, str] = {
    **dict.fromkeys(("laugh", "chuckle", "giggle"), "laugh"),
    **dict.fromkeys(("sigh", "breath", "inhale", "exhale"), "breath"),
    **dict.fromkeys(("cough", "clears throat"), "cough"),
}
_RATE, _HOP, _WINDOW, _BANDS = 16_000, 320, 512, 40
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7600.0
_LOWEST_DB, _HIGHEST_DB, _SCALE_DB = -55.0, 15.0, 20.0
_LEVEL_COST, _SOFTER_DB, _LOUDER_DB = 0.1, 6.0, 10.0
"""Cost of each dB by which a sound is softer or louder than it is put in from recordings, beyond
what is let pass."""
_EDGE = 0.06
"""Seconds of a generated part at either side that still belong to the words."""


def kind_of(tag: str) -> str:
    """Return the class of a tag's sound."""
    return _KIND.get(tag, "voice")


def log_mels(utterance: Utterance, span: Span, level: float) -> FloatArray:
    """Return a stretch as log mels against the level of speech, dB, shape ``(frames, 40)``.

    Args:
        utterance: any rate.
        span: the stretch, in seconds; one below 64 ms is padded.
        level: root mean square of the speaker's active speech, linear.
    """
    import librosa

    samples = utterance.resample(_RATE).samples
    begin, end = (min(max(0, round(second * _RATE)), len(samples)) for second in span)
    part = samples[begin:end].astype(np.float32)
    part = np.pad(part, (0, max(0, 2 * _WINDOW - len(part))))
    mels = librosa.feature.melspectrogram(
        y=part, sr=_RATE, n_fft=_WINDOW, hop_length=_HOP, n_mels=_BANDS,
        fmin=_LOWEST_HZ, fmax=_HIGHEST_HZ, power=2.0,
    )  # fmt: skip
    return np.asarray(10 * np.log10(mels.T / _WINDOW + 1e-10) - 20 * np.log10(level), np.float32)


@cache
def _weights() -> Mapping[str, FloatArray]:
    from safetensors.numpy import load_file

    with as_file(files(__package__).joinpath("ear.safetensors")) as path:
        return {name: value.astype(np.float32) for name, value in load_file(path).items()}


def log_probabilities(mels: FloatArray) -> FloatArray:
    """Return the log probability of each of ``KINDS``, shape ``(5,)``.

    Args:
        mels: of `log_mels`.
    """
    known = _weights()
    scaled = np.clip(mels, _LOWEST_DB, _HIGHEST_DB) / _SCALE_DB + 1.0
    hidden = scaled.T.astype(np.float32)
    for name, dilation in (("a", 1), ("b", 1), ("c", 2)):
        hidden = np.maximum(_convolved(hidden, known, name, dilation), 0.0)
    pooled = np.concatenate([hidden.mean(axis=1), hidden.max(axis=1)])
    scores = known["out.weight"] @ pooled + known["out.bias"]
    scores = scores - scores.max()
    return np.asarray(scores - np.log(np.exp(scores).sum()), np.float32)


def _convolved(
    hidden: FloatArray, known: Mapping[str, FloatArray], name: str, dilation: int
) -> FloatArray:
    """Return a convolution in time of ``(channels, frames)``, as long as it."""
    weight = known[f"{name}.weight"]
    width, frames = weight.shape[2], hidden.shape[1]
    padded = np.pad(hidden, ((0, 0), (dilation * (width // 2),) * 2))
    taps = [padded[:, dilation * tap : dilation * tap + frames] for tap in range(width)]
    return np.asarray(
        np.einsum("oit,itf->of", weight, np.stack(taps, axis=1), optimize=True)
        + known[f"{name}.bias"][:, None]
    )


def fit_of(source: Utterance, outcome: Outcome, tags: Sequence[str]) -> float:
    """Return how much the sounds that were put in are what their tags ask for, mean over tags.

    That is the log probability of the tag's kind, less what its level is off: a breath that is
    drawn as silence is no breath.

    Args:
        source: speech before the edit.
        outcome: of the llm route; its details say where new sound is (``output_spans``).
        tags: of the sounds, in order; several may share one stretch.
    """
    spans = [Span(*span) for span in outcome.details.get("output_spans", [])]
    if not spans or not tags:
        return 0.0
    level = _level(source)
    return float(
        np.mean(
            [
                _fit(outcome.utterance, spans[min(number, len(spans) - 1)], tag, level)
                for number, tag in enumerate(tags)
            ]
        )
    )


@lru_cache(maxsize=2)  # the draws of one edit have the same source
def _level(source: Utterance) -> float:
    """Return the root mean square of the speaker's active speech."""
    return analyse(source).level


def _fit(output: Utterance, span: Span, tag: str, level: float) -> float:
    """Return how much the sound in a stretch is what a tag asks for."""
    inner = Span(span.start + _EDGE, max(span.start + _EDGE, span.end - _EDGE))
    mels = log_mels(output, inner, level)
    sure = float(log_probabilities(mels)[KINDS.index(kind_of(tag))])
    power = np.sort((10 ** (mels / 10)).sum(axis=1))
    loud = float(10 * np.log10(power[len(power) // 2 :].mean()))
    off = loud - LEVELS.get(tag, LEVEL)
    return sure - _LEVEL_COST * (max(0.0, off - _LOUDER_DB) + max(0.0, -off - _SOFTER_DB))
