"""Time and memory of editing a long recording.

A folder that is named by the user keeps the recording, the pieces that are finished (beside the
output, as ``stepedit edit`` keeps them) and what each attempt has taken so far, so that a call that
was cut off goes on. Times are then those of all attempts together, loading included each time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from stepedit_bench.store import write_text
from stepedit_core.atomic import replace_file
from stepedit_core.errors import EngineError, StepeditError
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.storage.blocks import SoundWriter
from stepedit_core.storage.stored_json import read_json
from stepedit_core.utterance import Utterance

__all__ = ["Attempt", "LongRun", "join_clips", "measure_long", "recording_of"]

_GAP_SECONDS = 0.4
_SAMPLED_EVERY = 0.1
_NOTED_EVERY = 2.0
"""Seconds between notes on disk of what an attempt has taken."""
_MAIN = "from stepedit_core.cli import main; main()"


@dataclass(frozen=True)
class Attempt:
    """What one call has taken: wall-clock and processor time in s, memory in MB, processes."""

    wall: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0
    processes: int = 0


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
        attempts: calls that it took; more than one where it was cut off.
    """

    seconds: float
    output_seconds: float
    wall: float
    cpu: float
    peak: float
    processes: int
    attempts: int = 1

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


def recording_of(
    folder: Path, clips: Sequence[Path], seconds: float, rate: int, edits: Sequence[str]
) -> tuple[Path, int]:
    """Return a joined recording in a folder, new or of an earlier call, and how many clips it has.

    Raises:
        StepeditError: if the folder is of other clips, another duration or other edits.
    """
    target, about = folder / "recording.wav", folder / "recording.json"
    try:
        known = [hashlib.sha256(clip.read_bytes()).hexdigest() for clip in clips]
        asked = {"clips": known, "seconds": seconds, "rate": rate, "edits": list(edits)}
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StepeditError(f"{error.filename}: cannot use it ({error.strerror})") from error
    if about.is_file():
        kept = read_json(about, "choose another --out")
        if kept.get("asked") != asked:
            raise StepeditError(f"{folder}: is of other clips, seconds or edits; choose another")
        return target, int(kept["joined"])
    counts: list[int] = []
    replace_file(target, lambda part: counts.append(join_clips(clips, part, seconds, rate)))
    write_text(about, json.dumps({"asked": asked, "joined": counts[0]}) + "\n")
    return target, counts[0]


def measure_long(
    recording: Path, edits: Sequence[str], workers: int, subtitles: Path | None = None
) -> LongRun:
    """Run ``stepedit edit`` on a recording in a process of its own and watch it.

    The output goes beside the recording. A call that was cut off left its finished pieces there
    and in ``attempts.json`` what it had taken; they are gone on with and counted.

    Args:
        recording: the file.
        edits: in one-line form.
        workers: processes for signal processing.
        subtitles: given to the command, or None.

    Raises:
        EngineError: if the command fails; the text is its last line.
    """
    out, kept = recording.with_name("out.wav"), recording.with_name("attempts.json")
    command = [sys.executable, "-c", _MAIN, "edit", str(recording), "-o", str(out)]
    for edit in edits:
        command += ["-e", edit]
    command += ["--workers", str(workers)]
    command += ["--subtitles", str(subtitles)] if subtitles else []
    attempts = _attempts(kept)

    def note(now: Attempt) -> None:
        lines = [asdict(one) for one in [*attempts, now]]
        write_text(kept, json.dumps({"attempts": lines}) + "\n")

    attempts.append(_watched(command, note))
    kept.unlink(missing_ok=True)
    return LongRun(
        sf.info(str(recording)).duration,
        sf.info(str(out)).duration,
        sum(one.wall for one in attempts),
        sum(one.cpu for one in attempts),
        max(one.peak for one in attempts),
        max(one.processes for one in attempts),
        len(attempts),
    )


def _attempts(kept: Path) -> list[Attempt]:
    """Return what earlier calls took before they were cut off."""
    if not kept.is_file():
        return []
    cure = "delete it: the times of earlier calls are lost then"
    try:
        return [Attempt(**one) for one in read_json(kept, cure)["attempts"]]
    except (KeyError, TypeError) as error:
        raise StepeditError(f"{kept}: is damaged; {cure}") from error


def _watched(command: Sequence[str], note: Callable[[Attempt], None]) -> Attempt:
    """Run a command, tell from time to time what it has taken, and return that in the end."""
    import psutil

    before, begin = _computed(), time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    ended, taken = threading.Event(), Attempt()

    def watch() -> None:
        nonlocal taken
        root, noted = psutil.Process(running.pid), 0.0
        while not ended.wait(_SAMPLED_EVERY):
            try:
                tree = [root, *root.children(recursive=True)]
                peak, cpu = sum(map(_memory, tree)) / 1e6, sum(map(_used, tree))
            except psutil.Error:
                continue
            wall = time.perf_counter() - begin
            cpu, peak = max(taken.cpu, cpu), max(taken.peak, peak)
            taken = Attempt(wall, cpu, peak, max(taken.processes, len(tree)))
            if wall - noted >= _NOTED_EVERY:
                note(taken)
                noted = wall

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        said = running.communicate()[0].decode(errors="replace")
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait()
        ended.set()
        watcher.join()
    taken = replace(taken, wall=time.perf_counter() - begin, cpu=_computed() - before)
    if running.returncode:
        note(taken)
        raise EngineError(f"stepedit edit failed: {said.strip().splitlines()[-1:]}")
    return taken


def _computed() -> float:
    """Return the processor time of ended child processes in seconds, 0 where it is not told."""
    return sum(os.times()[2:4])


def _used(process: Any) -> float:
    """Return the processor time of a process and of its ended children in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _memory(process: Any) -> int:
    """Return the memory of a process in bytes."""
    facts = process.memory_full_info()
    return int(getattr(facts, "pss", facts.rss))
