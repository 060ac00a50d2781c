"""What runs in a decoder's process: read one sound file under limits, and say what became of it.

Nothing of the service is imported here, so that a decoder starts fast and small.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_core import AudioError, Recording, SoundWriter, StepeditError, Utterance

__all__ = ["FULL", "Bounds", "decode"]

_NICENESS = 5
"""Less than that of the engine and of workers: a request waits for it before it can begin."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the system's errors that say that a file cannot grow."""
_PAGE = resource.getpagesize()
_EXACT = ("PCM_16", "FLOAT", "PCM_24")


@dataclass(frozen=True)
class Bounds:
    """What reading one upload may take.

    Attributes:
        seconds: of sound.
        memory: bytes beyond those of the empty decoder.
        time: seconds of processor time.
    """

    seconds: float
    memory: int
    time: float


def decode(answer: Connection, kind: str, source: str, target: str, bounds: Bounds) -> None:
    """Read a sound file under limits and send what became of it; the process's own function."""
    _limit(bounds)
    try:
        facts = (_samples if kind == "utterance" else _rewritten)(source, target, bounds)
        answer.send(("done", facts))
    except _TooLong as error:
        answer.send(("too_long", str(error)))
    except StepeditError as error:
        text = str(error).replace(source, "the recording")
        # Core bounds utterances by itself and says so in these words.
        answer.send(("too_long" if "more than the limit of" in text else "refused", text))
    except OSError as error:
        # NumPy's own error of a file that takes no more has no number.
        answer.send(("no_space" if error.errno in (None, *FULL) else "died", ""))
    except MemoryError:
        answer.send(("died", ""))
    finally:
        answer.close()


class _TooLong(AudioError):
    """The recording is longer than it may be."""


def _limit(bounds: Bounds) -> None:
    """Bound this process's memory, processor time and files; keep it quiet."""
    own = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE if _has_proc() else 1 << 30
    for what, most in (
        (resource.RLIMIT_AS, own + bounds.memory),
        (resource.RLIMIT_CPU, math.ceil(bounds.time)),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    os.nice(_NICENESS)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stderr.fileno() if sys.stderr else 2)


def _has_proc() -> bool:
    """Say whether the system shows how much memory a process has."""
    return Path("/proc/self/statm").exists()


def _samples(source: str, target: str, bounds: Bounds) -> dict[str, Any]:
    """Write an utterance's samples as a NumPy file."""
    found = Utterance.read(source, max_seconds=bounds.seconds)
    trouble = found.problem()
    if trouble:
        raise AudioError(trouble)
    with open(target, "wb") as file:
        np.save(file, found.samples, allow_pickle=False)
    return {
        "rate": found.sample_rate,
        "channels": found.channels,
        "subtype": found.subtype,
        "notes": list(found.notes),
    }


def _rewritten(source: str, target: str, bounds: Bounds) -> dict[str, Any]:
    """Write a long recording as a mono WAV file, block by block."""
    found = Recording.read(source)
    if found.seconds > bounds.seconds:
        raise _TooLong(f"the recording lasts {found.seconds:.0f} s; {bounds.seconds:.0f} s is most")
    subtype = found.subtype if found.subtype in _EXACT else "PCM_24"
    if found.channels > 1 and subtype == "PCM_16":
        subtype = "PCM_24"  # a mean of channels needs a finer step
    with (
        found.open() as sound,
        SoundWriter(Path(target), found.sample_rate, "WAV", subtype, found.levels.samples) as out,
    ):
        for block in sound.blocks():
            out.write(block)
    return {
        "rate": found.sample_rate,
        "seconds": found.seconds,
        "subtype": subtype,
        "notes": list(found.notes),
    }
