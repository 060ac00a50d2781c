"""Long recordings: read block by block, in segments from subtitles or between pauses."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import AlignmentError, AudioError, counted
from stepedit_core.recording.levels import Levels, measure_levels
from stepedit_core.recording.segments import (
    PIECE_SECONDS,
    Segment,
    Tile,
    choose,
    tiles_by_pauses,
    tiles_of_segments,
)
from stepedit_core.recording.subtitles import Cue, check_cues, read_cues
from stepedit_core.storage.blocks import SoundReader, open_sound
from stepedit_core.storage.sound import is_stream

if TYPE_CHECKING:
    from stepedit_core.chain.chain import Chain
    from stepedit_core.edit import Edit
    from stepedit_core.recording.editing import RecordingOptions, RecordingResult

__all__ = ["MAX_SECONDS", "Recording"]

MAX_SECONDS = 24 * 3600.0
"""Longest recording that is read, in seconds."""
_SILENCE = 1e-14  # power of what rounding alone makes

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording of any length up to a day; its samples stay on disk.

    Attributes:
        path: the file.
        levels: level every 10 ms, rate and length.
        tiles: stretches from pause to pause that cover the recording, with their segments.
        channels: channels that are mixed down.
        subtype: soundfile subtype of the file, kept on writing, or None.
        digest: SHA-256 of the mono samples, in hexadecimal.
        text: the words of the whole recording, where they were given without times.
        language: BCP 47 tag, or None.
        notes: what a user should know, one line each.
    """

    path: Path
    levels: Levels = field(repr=False)
    tiles: tuple[Tile, ...] = field(repr=False)
    channels: int
    subtype: str | None
    digest: str
    text: str | None = None
    language: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        subtitles: str | os.PathLike[str] | None = None,
        text: str | None = None,
        language: str | None = None,
        longest: float = PIECE_SECONDS,
    ) -> Recording:
        """Look through a sound file once, block by block; any kind that `Utterance.read` takes.

        Args:
            path: the file; standard input cannot be read twice and is refused.
            subtitles: SRT, WebVTT, ASS, TextGrid, Audacity labels or JSON: each cue is a
                segment. Without them, segments lie between pauses.
            text: the words of the whole recording; they are timed when an edit needs them.
            language: BCP 47 tag.
            longest: of segments between pauses, in seconds.

        Raises:
            AudioError: if the file is absent, unreadable, empty or longer than a day.
            AlignmentError: if the subtitles are damaged, or none lies within the recording.
        """
        if is_stream(path):
            raise AudioError(
                f"{os.fspath(path)}: a long recording is read several times; give a file"
            )
        if subtitles is not None and text is not None:
            raise AlignmentError("give subtitles or text, not both: subtitles hold the words")
        if not longest >= 1:
            raise AudioError(f"segments of at most {longest:g} s cannot be cut; 1 s is the least")
        cues = None if subtitles is None else read_cues(Path(subtitles))
        digest = hashlib.sha256()
        with open_sound(path, max_seconds=MAX_SECONDS) as sound:

            def hashed() -> Iterator[FloatArray]:
                for block in sound.blocks():
                    digest.update(block.tobytes())
                    yield block

            levels = measure_levels(hashed(), sound.layout.rate)
            if not levels.samples:
                raise AudioError(f"{os.fspath(path)}: the recording holds no samples")
            if levels.power.max() < _SILENCE:
                raise AudioError(
                    f"{os.fspath(path)}: the recording is digital silence or one constant value: "
                    "there is nothing to edit"
                )
        layout = sound.layout
        cut = layout.cut_off(levels.samples)
        notes = [*sound.notes, *([cut] if cut else [])]
        if cues is None:
            tiles = tiles_by_pauses(levels, longest)
        else:
            segments = _segments(cues, levels, str(subtitles), notes)
            tiles = tiles_of_segments(segments, levels)
        return cls(
            Path(path), levels, tuple(tiles), layout.channels, layout.subtype, digest.hexdigest(),
            text, language, tuple(notes),
        )  # fmt: skip

    @property
    def sample_rate(self) -> int:
        """Rate in Hz."""
        return self.levels.rate

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.levels.samples / self.levels.rate

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, by number."""
        found = (part for tile in self.tiles for part in tile.segments)
        return tuple(sorted(found, key=lambda part: (part.number, part.start)))

    @property
    def has_words(self) -> bool:
        """Whether the words of any segment are known."""
        return any(part.text for tile in self.tiles for part in tile.segments)

    @contextmanager
    def open(self) -> Iterator[SoundReader]:
        """Open the file to read its samples block by block; raises AudioError."""
        with open_sound(self.path, max_seconds=MAX_SECONDS) as sound:
            yield sound

    def chosen(
        self, segments: Iterable[int] | None = None, speaker: str | None = None
    ) -> frozenset[int] | None:
        """Return the numbers of segments that are meant, or None for the whole recording.

        Raises:
            AlignmentError: if there is no such segment or speaker.
        """
        return choose(self.segments, segments, speaker)

    def with_words(self, *, threads: int = 1) -> Recording:
        """Return the recording in sentences, heard and timed where they are not known yet.

        Raises:
            AlignmentError: if no words are heard.
            StepeditError: if no recogniser or aligner is installed.
        """
        from stepedit_core.recording.sentences import hear_sentences

        if self.has_words:
            return self
        segments, notes = hear_sentences(self, threads=threads)
        tiles = tiles_of_segments(segments, self.levels)
        return dataclasses.replace(self, tiles=tuple(tiles), notes=(*self.notes, *notes))

    def with_speakers(self) -> Recording:
        """Return the recording with speakers, told apart by voice (A, B, ...) if none is named.

        Raises:
            AlignmentError: if no voice is heard.
            StepeditError: if no diariser is installed.
        """
        from stepedit_core.recording.speakers import hear_speakers

        if any(part.speaker for part in self.segments):
            return self
        tiles, note = hear_speakers(self)
        return dataclasses.replace(self, tiles=tuple(tiles), notes=(*self.notes, note))

    def cut_to(self, longest: float) -> Recording:
        """Return the recording with segments of words that last longer cut between words.

        Args:
            longest: in seconds.
        """
        from stepedit_core.recording.sentences import cut_long_tiles

        tiles, notes = cut_long_tiles(self, longest)
        return dataclasses.replace(self, tiles=tuple(tiles), notes=(*self.notes, *notes))

    def edit(
        self,
        chain: Chain | Edit,
        output: str | os.PathLike[str],
        **options: Unpack[RecordingOptions],
    ) -> RecordingResult:
        """Run a chain over the recording, or over some of its segments, into a file.

        What is not edited stays as it is to the sample. The file appears when it is complete; a
        call that was killed goes on where it stopped when it is made again.

        Args:
            chain: what to do with each piece, or one edit.
            output: a sound file; formats without loss keep untouched samples to the bit.
            options: see `RecordingOptions`.

        Raises:
            TypeError: if there is no such option.
            InvalidChainError: before anything runs, or if the chain fits no piece; also where an
                edit means one place of the whole recording and there are several pieces.
            EditError: if a step fails on a piece that holds speech.
        """
        from stepedit_core.chain.chain import Chain
        from stepedit_core.edit import Edit
        from stepedit_core.recording.editing import edit_recording

        if isinstance(chain, Edit):
            chain = Chain([chain])
        return edit_recording(self, chain, Path(output), options)


def _segments(cues: tuple[Cue, ...], levels: Levels, name: str, notes: list[str]) -> list[Segment]:
    """Return cues as segments within the recording; what is wrong with them goes into notes."""
    seconds = levels.samples / levels.rate
    notes += [f"{name}: {problem}" for problem in check_cues(cues, seconds)]
    segments = [
        Segment(number, cue.start, min(cue.end, seconds), cue.text or None, cue.speaker)
        for number, cue in enumerate(cues, 1)
        if cue.start < seconds and cue.end > cue.start
    ]
    if not any(cue.end > cue.start for cue in cues):
        raise AlignmentError(f"{name}: no cue lasts any time; mend the times of their ends")
    if not segments:
        raise AlignmentError(
            f"{name}: no cue lies within the recording ({seconds:.2f} s); is it another one's?"
        )
    left_out = len(cues) - len(segments)
    if left_out:
        many = counted(left_out, "cue lasts no time or begins", "cues last no time or begin")
        notes.append(f"{name}: {many} after the end: left out")
    return segments
