"""Read uploads in a process of their own, whose memory and time are bounded.

A sound file is a program for a decoder. What a damaged or hostile one makes a decoder do ends with
that process; the service gets samples, or one line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_core import Utterance
from stepedit_serve.decoder import Bounds, decode
from stepedit_serve.errors import ApiError, no_space
from stepedit_serve.processes import CONTEXT, without_main

__all__ = ["Bounds", "decode_long", "decode_utterance"]


_PATIENCE = 3
"""How much longer than its bound of processor time a decoder may take on a busy machine."""


def decode_utterance(source: Path, bounds: Bounds) -> Utterance:
    """Return an upload as an utterance without words.

    Raises:
        ApiError: (400, 413) if it is no recording, too long, or takes more than the bounds allow;
            (503) if the machine had no time for it; (507) if its disk is full.
    """
    target = source.with_suffix(".samples.npy")
    try:
        facts = _run("utterance", source, target, bounds)
        samples = np.load(target, allow_pickle=False)
    finally:
        target.unlink(missing_ok=True)
    return Utterance(
        samples,
        facts["rate"],
        channels=facts["channels"],
        subtype=facts["subtype"],
        notes=tuple(facts["notes"]),
    )


def decode_long(source: Path, target: Path, bounds: Bounds) -> dict[str, Any]:
    """Write a long upload as a mono WAV file; return its seconds, rate and notes.

    Raises:
        ApiError: as `decode_utterance` does.
    """
    try:
        return _run("long", source, target, bounds)
    except ApiError:
        target.unlink(missing_ok=True)
        raise


def _run(kind: str, source: Path, target: Path, bounds: Bounds) -> dict[str, Any]:
    """Run a decoder and return the facts that it sends; raises ApiError."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(
        target=decode, args=(theirs, kind, os.fspath(source), os.fspath(target), bounds)
    )
    with without_main():
        process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(_PATIENCE * bounds.time) else None
    except EOFError:
        answer = ("died", "")
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
    if answer is None:
        # The decoder bounds its processor time: what takes longer had to wait for a processor.
        text = "the machine is too busy to read the recording; try again"
        raise ApiError(503, "busy", text, retry_after=10)
    outcome, value = answer
    if outcome == "done":
        return dict(value)
    if outcome == "too_long":
        raise ApiError(413, "too_long", value, param="file")
    if outcome == "no_space":
        raise no_space()
    if outcome == "refused":
        raise ApiError(400, "invalid_audio", value, param="file")
    raise ApiError(
        400,
        "invalid_audio",
        f"reading the recording took more than {bounds.memory >> 20} MB or {bounds.time:g} s, or "
        "its decoder failed; send WAV or FLAC",
        param="file",
    )
