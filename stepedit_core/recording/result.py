"""What running a chain over a long recording gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import AlignmentError
from stepedit_core.recording.journal import Made
from stepedit_core.recording.pieces import Piece
from stepedit_core.recording.segments import Segment
from stepedit_core.recording.sentences import share_words
from stepedit_core.recording.subtitles import format_cues, label_format

if TYPE_CHECKING:
    from stepedit_core.recording.recording import Recording

__all__ = ["PieceRecord", "RecordingResult", "retimed"]


@dataclass(frozen=True)
class PieceRecord:
    """What was done with one piece.

    Attributes:
        number: from 1.
        start: in seconds of the source.
        end: in seconds of the source.
        output_start: in seconds of the output.
        output_end: in seconds of the output.
        segments: numbers of the segments in it.
        is_edited: whether the chain ran on it.
        left: why it was left as it is although it was chosen, or None.
        details: facts of the run; JSON data.
    """

    number: int
    start: float
    end: float
    output_start: float
    output_end: float
    segments: tuple[int, ...]
    is_edited: bool
    left: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordingResult:
    """The file that came out, and one record per piece.

    Attributes:
        source: what went in.
        path: the file written.
        seconds: its duration.
        segments: of the source, at their new times and with their new words.
        pieces: in order of time.
        spliced: seams that were quiet enough to be spliced.
        faded: seams that were cross-faded.
        clipped: samples above full scale that the format clipped.
        resumed: pieces that an earlier call had finished.
        wall_seconds: how long it took.
        notes: what a user should know, one line each.
    """

    source: Recording = field(repr=False)
    path: Path
    seconds: float
    segments: tuple[Segment, ...] = field(repr=False)
    pieces: tuple[PieceRecord, ...] = field(repr=False)
    spliced: int = 0
    faded: int = 0
    clipped: int = 0
    resumed: int = 0
    wall_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[PieceRecord, ...]:
        """Pieces that hold speech and on which a step failed."""
        return tuple(piece for piece in self.pieces if piece.details.get("failed"))

    def write_subtitles(self, path: str | Path) -> Path:
        """Write the segments at their new times: ``.srt``, ``.vtt``, ``.json``, ``.txt`` (labels).

        Raises:
            AlignmentError: if no words are known, or the suffix is unknown.
            StepeditError: if the file cannot be written.
        """
        target = Path(path)
        kind = label_format(target)
        cues = [part.cue for part in self.segments if part.text]
        if not cues:
            raise AlignmentError(f"{target}: no words are known; give --subtitles or --text")
        write_atomically(target, format_cues(cues, kind))
        return target

    def report(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {
            "schema_version": 1,
            "source": {
                "sha256": self.source.digest,
                "audio_seconds": round(self.source.seconds, 4),
                "sample_rate": self.source.sample_rate,
                "channels": self.source.channels,
            },
            "output": str(self.path),
            "audio_seconds": round(self.seconds, 4),
            "wall_seconds": round(self.wall_seconds, 3),
            "seams": {"spliced": self.spliced, "faded": self.faded},
            "clipped": self.clipped,
            "resumed": self.resumed,
            "notes": list(self.notes),
            "segments": [dataclasses.asdict(part) for part in self.segments],
            "pieces": [dataclasses.asdict(piece) for piece in self.pieces],
        }


def retimed(
    segments: Sequence[Segment],
    pieces: Sequence[Piece],
    made: Sequence[Made | None],
    starts: Sequence[int],
    rate: int,
) -> tuple[Segment, ...]:
    """Return segments at their times in the output, with the words that are said then.

    Args:
        segments: of the source, by number.
        pieces: in order.
        made: of each piece, None where it was left as it is.
        starts: first sample of each piece in the output, and the number of samples after all.
        rate: in Hz.
    """
    old: list[float] = []
    new: list[float] = []
    texts: dict[tuple[int, float], str] = {}
    for n, (piece, one) in enumerate(zip(pieces, made, strict=True)):
        begin, at = piece.start / rate, starts[n] / rate
        last = (piece.stop / rate, starts[n + 1] / rate)
        inner = [] if one is None else one.anchors
        for before, after in [(0.0, 0.0), *inner]:
            moment = (begin + before, min(at + after, last[1]))
            if moment[0] < last[0] and (not old or moment[0] > old[-1]):
                old.append(moment[0])
                new.append(max(moment[1], new[-1] if new else 0.0))
        old.append(last[0])
        new.append(last[1])
        if one is not None and one.text is not None and one.text != piece.text:
            parts = share_words([part.text or "" for part in piece.segments], one.text)
            texts.update(
                {
                    (part.number, part.start): text
                    for part, text in zip(piece.segments, parts, strict=True)
                }
            )
    moved = []
    for part in segments:
        start, end = np.interp([part.start, part.end], old, new).tolist()
        text = texts.get((part.number, part.start), part.text)
        moved.append(dataclasses.replace(part, start=start, end=max(start, end), text=text))
    return tuple(moved)
