"""Voice activity detection: the ONNX models of the silero-vad package, without torch.

Model: Silero Team, "Silero VAD: pre-trained enterprise-grade Voice Activity Detector", 2021-,
https://github.com/snakers4/silero-vad (MIT). It hears 16 kHz or 8 kHz and gives one speech
probability for each frame of 32 ms.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import without_offset
from stepedit_core.errors import AudioError, MissingDependencyError
from stepedit_core.utterance import Span, Utterance

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "FRAME_SECONDS",
    "gaps",
    "overlap_seconds",
    "speech_probabilities",
    "speech_spans",
    "total_seconds",
]

FRAME_SECONDS = 0.032
"""Length of the frame that one probability stands for."""

FloatArray = npt.NDArray[np.float32]

# The network sees each frame with the end of the one before it: 64 samples at 16 kHz, 32 at 8.
_CONTEXT = {16_000: 64, 8_000: 32}
_STREAMING, _SEQUENCE = "silero_vad.onnx", "silero_vad_16k_sequence.onnx"
# Frames in one call of the sequence model: 16 s, which bounds its memory on long recordings.
_BLOCK = 512
_HYSTERESIS = 0.15
# A chain asks several times where speech is in the same sound: an edit whether it fits, then for
# its work, the next one for its own.
_KEPT = 4
_heard: OrderedDict[str, FloatArray] = OrderedDict()
_heard_lock = Lock()


def speech_probabilities(utterance: Utterance) -> FloatArray:
    """Return the probability of speech in each 32 ms frame.

    Recordings of 16 kHz and more are heard at 16 kHz, others by the model for 8 kHz.

    Args:
        utterance: any rate and level; it is resampled here.

    Returns:
        float32, shape ``(ceil(seconds / 0.032),)``, read-only; the last frame is filled up with
        zeros.

    Raises:
        MissingDependencyError: if onnxruntime or silero-vad is not installed.
    """
    key = utterance.digest
    with _heard_lock:
        if key in _heard:
            _heard.move_to_end(key)
            return _heard[key]
    found = _probabilities(utterance)
    found.flags.writeable = False
    with _heard_lock:
        _heard[key] = found
        while len(_heard) > _KEPT:
            _heard.popitem(last=False)
    return found


def _probabilities(utterance: Utterance) -> FloatArray:
    """Run the model that suits the rate."""
    rate = 16_000 if utterance.sample_rate >= 16_000 else 8_000
    frames = _frames(without_offset(utterance).resample(rate).samples, rate)
    if rate == 16_000 and _model_file(_SEQUENCE).is_file():
        return _run_sequence(frames)
    return _run_streaming(frames, rate)


def speech_spans(
    utterance: Utterance,
    *,
    threshold: float = 0.5,
    min_speech: float = 0.25,
    min_silence: float = 0.1,
    pad: float = 0.03,
) -> list[Span]:
    """Return the spans of speech, in order and without overlap; empty where there is none.

    The defaults and the rules are those of Silero's own ``get_speech_timestamps``: speech
    begins at ``threshold`` and ends where the probability stays 0.15 below it.

    Args:
        utterance: what to look at.
        threshold: probability 0..1 from which a frame is speech.
        min_speech: shorter stretches of speech are dropped, in seconds.
        min_silence: shorter pauses are bridged, in seconds.
        pad: added on both sides, in seconds; half of the pause at most.

    Returns:
        Spans in seconds of the utterance.

    Raises:
        AudioError: if a parameter is out of range.
        MissingDependencyError: if onnxruntime or silero-vad is not installed.
    """
    if not 0 < threshold < 1:
        raise AudioError(f"the speech threshold is between 0 and 1, got {threshold:g}")
    if min(min_speech, min_silence, pad) < 0:
        raise AudioError("min_speech, min_silence and pad are seconds, 0 or more")
    rough = _hysteresis(speech_probabilities(utterance), threshold, min_silence)
    kept = [
        Span(start, min(end, utterance.seconds))
        for start, end in rough
        if min(end, utterance.seconds) - start > min_speech
    ]
    return _padded(kept, pad, utterance.seconds)


def gaps(spans: Sequence[tuple[float, float]], seconds: float) -> list[Span]:
    """Return the gaps between spans in an utterance of so many seconds, in order."""
    free, at = [], 0.0
    for start, end in sorted(spans):
        if start > at:
            free.append(Span(at, start))
        at = max(at, end)
    if at < seconds:
        free.append(Span(at, seconds))
    return free


def total_seconds(spans: Sequence[tuple[float, float]]) -> float:
    """Return the summed length of spans that do not overlap, in seconds."""
    return sum(end - start for start, end in spans)


def overlap_seconds(
    first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]
) -> float:
    """Return the overlap of two lists of spans, in seconds; neither overlaps within itself."""
    return sum(
        max(0.0, min(end, other_end) - max(start, other_start))
        for start, end in first
        for other_start, other_end in second
    )


def _model_file(name: str) -> Path:
    """Return the path of a model in the silero-vad package, without importing it (and torch)."""
    from importlib.util import find_spec

    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("finding speech needs silero-vad: pip install silero-vad")
    return Path(spec.origin).parent / "data" / name


@cache
def _session(name: str) -> onnxruntime.InferenceSession:
    """Load a model once, on one thread: recurrent frames of 32 ms gain nothing from more."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "finding speech needs onnxruntime: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    path = _model_file(name)
    if not path.is_file():
        raise MissingDependencyError(f"{path} is missing: pip install --upgrade silero-vad")
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )


def _frames(samples: FloatArray, rate: int) -> FloatArray:
    """Cut samples into frames, each led by the end of the frame before it."""
    length, context = round(rate * FRAME_SECONDS), _CONTEXT[rate]
    count = -(-len(samples) // length)
    padded = np.zeros(context + count * length, dtype=np.float32)
    padded[context : context + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, context + length)[::length]
    return np.ascontiguousarray(windows)


def _run_sequence(frames: FloatArray) -> FloatArray:
    """Run the model that takes many frames in one call."""
    session = _session(_SEQUENCE)
    hidden = cell = np.zeros((1, 1, 128), dtype=np.float32)
    blocks = [np.zeros(0, dtype=np.float32)]
    for at in range(0, len(frames), _BLOCK):
        feeds = {"input": frames[at : at + _BLOCK], "h": hidden, "c": cell}
        block, hidden, cell = session.run(["speech_probs", "hn", "cn"], feeds)
        blocks.append(block.reshape(-1))
    return np.concatenate(blocks)


def _run_streaming(frames: FloatArray, rate: int) -> FloatArray:
    """Run the model that takes one frame a call and hands its state on."""
    session = _session(_STREAMING)
    state = np.zeros((2, 1, 128), dtype=np.float32)
    probabilities = np.zeros(len(frames), dtype=np.float32)
    for index, frame in enumerate(frames):
        feeds = {"input": frame[None], "state": state, "sr": np.array(rate, dtype=np.int64)}
        value, state = session.run(["output", "stateN"], feeds)
        probabilities[index] = value.item()
    return probabilities


def _hysteresis(
    probabilities: FloatArray, threshold: float, min_silence: float
) -> list[tuple[float, float]]:
    """Return stretches of speech in seconds; an end counts once silence lasted long enough."""
    release = max(threshold - _HYSTERESIS, 0.01)
    spans: list[tuple[float, float]] = []
    start: float | None = None
    end: float | None = None
    for index, probability in enumerate(probabilities):
        now = index * FRAME_SECONDS
        if probability >= threshold:
            start = now if start is None else start
            end = None
        elif start is not None and probability < release:
            end = now if end is None else end
            if now - end >= min_silence - 1e-9:
                spans.append((start, end))
                start = end = None
    if start is not None:
        spans.append((start, len(probabilities) * FRAME_SECONDS))
    return spans


def _padded(spans: list[Span], pad: float, seconds: float) -> list[Span]:
    """Widen spans, sharing pauses that are too short for two pads."""
    edges: list[list[float]] = [[span.start, span.end] for span in spans]
    for left, right in pairwise(edges):
        share = min(pad, (right[0] - left[1]) / 2)
        left[1] += share
        right[0] -= share
    if edges:
        edges[0][0] = max(0.0, edges[0][0] - pad)
        edges[-1][1] = min(seconds, edges[-1][1] + pad)
    return [Span(start, end) for start, end in edges]
