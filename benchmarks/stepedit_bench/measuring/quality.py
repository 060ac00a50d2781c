"""DNSMOS P.835 (Reddy et al. 2022) with the models that pip ``speechmos`` carries."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["dnsmos", "one_window"]

RATE = 16_000
WINDOW_SECONDS = 9.01
"""What the network hears at a time; shorter recordings are doubled until they fill it."""


@cache
def _model() -> tuple[Any, Any]:
    """Return speechmos' class, for its polynomials, and its P.835 network on one thread.

    The class itself also runs the P.808 network, whose answer nobody asks for here.
    """
    library = need("speechmos.dnsmos", "speechmos and requests", "DNSMOS")
    runtime = need("onnxruntime", "onnxruntime", "DNSMOS")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(library.__file__).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    session = runtime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return library.DNSMOS, session


def one_window(utterance: Utterance) -> Utterance:
    """Return a recording repeated up to one window of DNSMOS; longer ones stay."""
    heard = utterance.resample(RATE)
    window = int(WINDOW_SECONDS * RATE)
    if len(heard.samples) >= window:
        return utterance
    return heard.replace(samples=np.resize(heard.samples, window))


def dnsmos(utterance: Utterance) -> dict[str, float]:
    """Return ``sig``, ``bak`` and ``ovrl``, 1..5, averaged over windows that move by 1 s.

    Raises:
        StepeditError: if the recording is empty or silent.
    """
    samples = np.clip(utterance.resample(RATE).samples, -1, 1)
    if not samples.any():
        raise StepeditError("DNSMOS: the recording is silent")
    window = int(WINDOW_SECONDS * RATE)
    while len(samples) < window:
        samples = np.concatenate([samples, samples])
    library, session = _model()
    hops = int(len(samples) // RATE - WINDOW_SECONDS) + 1
    ratings = []
    for start in range(0, hops * RATE, RATE):
        piece = samples[start : start + window]
        if len(piece) < window:
            continue
        raw = session.run(None, {"input_1": piece[np.newaxis, :]})[0][0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ratings.append(library.get_polyfit_val(None, *raw, False))
    return dict(zip(("sig", "bak", "ovrl"), map(float, np.mean(ratings, axis=0)), strict=True))
