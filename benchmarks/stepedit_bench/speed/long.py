"""Time and memory of editing a long recording."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_core.errors import EngineError, StepeditError
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.storage.blocks import SoundWriter
from stepedit_core.utterance import Utterance

__all__ = ["LongRun", "join_clips", "measure_long"]

_GAP_SECONDS = 0.4
_SAMPLED_EVERY = 0.1
_MAIN = "from stepedit_core.cli import main; main()"


@dataclass(frozen=True)
class LongRun:
    """Time and memory of one run.

    Attributes:
        seconds: of the recording.
        output_seconds: of what came out.
        wall: seconds from start to end of the command, loading included.
        cpu: seconds that its processes computed, on all cores together.
        peak: memory of all of its processes together, in MB. Where the system tells, a page that
            several of them share counts once (PSS); otherwise in each (RSS).
        processes: most processes at a time.
    """

    seconds: float
    output_seconds: float
    wall: float
    cpu: float
    peak: float
    processes: int

    @property
    def times_real_time(self) -> float:
        """How many seconds of speech are edited in a second."""
        return self.seconds / self.wall


def join_clips(clips: Sequence[Path], target: Path, seconds: float, rate: int) -> int:
    """Write clips one after the other until there are so many seconds; return how many there are.

    Args:
        clips: sound files; the packaged recordings where there are none. They come again from
            the first one on where they do not suffice.
        target: a WAV file of 16 bits.
        seconds: duration of the recording.
        rate: in Hz.
    """
    names = [str(clip) for clip in clips] or sorted(packaged())
    read = Utterance.read if clips else packaged_speech
    wanted, written = round(seconds * rate), 0
    room = np.random.default_rng(0)
    with SoundWriter(target, rate, "WAV", "PCM_16", wanted) as sink:
        for name in itertools.cycle(names):
            clip = read(name).resample(rate).samples
            gap = room.standard_normal(round(_GAP_SECONDS * rate)).astype(np.float32) * 1e-4
            for part in (clip, gap):
                sink.write(part[: wanted - sink.written])
            written += 1
            if sink.written >= wanted:
                return written
    raise StepeditError("there are no clips to join")


def measure_long(
    recording: Path, edits: Sequence[str], workers: int, subtitles: Path | None = None
) -> LongRun:
    """Run ``stepedit edit`` on a recording in a process of its own and watch it.

    Args:
        recording: the file.
        edits: in one-line form.
        workers: processes for signal processing.
        subtitles: given to the command, or None.

    Raises:
        EngineError: if the command fails; the text is its last line.
    """
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.wav"
        command = [
            sys.executable,
            "-c",
            _MAIN,
            "edit",
            str(recording),
            "-o",
            str(out),
        ]
        for edit in edits:
            command += ["-e", edit]
        command += ["--workers", str(workers)]
        command += ["--subtitles", str(subtitles)] if subtitles else []
        before, begin = _computed(), time.perf_counter()
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        peak, most = 0, 0
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak, most
            root = psutil.Process(running.pid)
            while not ended.wait(_SAMPLED_EVERY):
                try:
                    tree = [root, *root.children(recursive=True)]
                    total = sum(map(_memory, tree))
                except psutil.Error:
                    continue
                peak, most = max(peak, total), max(most, len(tree))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        said = running.communicate()[0].decode(errors="replace")
        wall = time.perf_counter() - begin
        ended.set()
        watcher.join()
        if running.returncode:
            raise EngineError(f"stepedit edit failed: {said.strip().splitlines()[-1:]}")
        seconds = sf.info(str(recording)).duration
        return LongRun(
            seconds, sf.info(str(out)).duration, wall, _computed() - before, peak / 1e6, most
        )


def _computed() -> float:
    """Return the processor time of ended child processes in seconds, 0 where it is not told."""
    return sum(os.times()[2:4])


def _memory(process: Any) -> int:
    """Return the memory of a process in bytes."""
    facts = process.memory_full_info()
    return int(getattr(facts, "pss", facts.rss))
