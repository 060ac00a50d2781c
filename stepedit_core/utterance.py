"""Utterances: mono speech with its transcript, read from and written to audio files."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile as sf

from stepedit_core.atomic import replace_file
from stepedit_core.dsp.channels import NO_SOUND
from stepedit_core.errors import AudioError, StepeditError
from stepedit_core.storage.blocks import encoded_sound, output_format, target_rate
from stepedit_core.storage.sound import MAX_RATE, MIN_RATE, Sound, read_sound

if TYPE_CHECKING:
    from stepedit_core.alignment import Alignment

__all__ = ["MAX_SECONDS", "MIN_SECONDS", "Span", "Utterance"]

MIN_SECONDS = 0.02
MAX_SECONDS = 300.0
"""Longest file that ``Utterance.read`` takes by default, in seconds."""
FloatArray = npt.NDArray[np.float32]


class Span(NamedTuple):
    """A stretch of an utterance, in seconds of the utterance that the edit receives."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Length of the span in seconds."""
        return self.end - self.start


def _is_unicode(text: str) -> bool:
    """Return whether a text has no halves of characters, as Python reads foreign bytes."""
    return text.isascii() or not any("\ud800" <= mark <= "\udfff" for mark in text)


def _check_rate(rate: object) -> None:
    """Refuse a sample rate that no utterance has."""
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise AudioError(f"a sample rate is a whole number of Hz, got {rate!r}")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"sample rate {rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz; resample the recording"
        )


@dataclass(frozen=True, eq=False)
class Utterance:
    """One piece of speech: immutable mono samples and what is known about them.

    Attributes:
        samples: float32, shape ``(n,)``, nominal range -1..1, read-only.
        sample_rate: in Hz, 4000..192000.
        transcript: the words spoken, or None where they are not known.
        language: BCP 47 tag such as ``en`` or ``zh``, or None.
        channels: channels of the file that the samples were mixed down from.
        subtype: soundfile subtype of that file (``PCM_16``, ``FLOAT`` ...), reused on writing.
        notes: what was done to read the file (channels mixed down, header repaired), one line each.
        alignment: when each word is said; it goes when the samples or the words are changed.
    """

    samples: FloatArray
    sample_rate: int
    transcript: str | None = None
    language: str | None = None
    channels: int = field(default=1, kw_only=True)
    subtype: str | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    alignment: Alignment | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Freeze a float32 copy of the samples; refuse what is not mono, finite speech."""
        raw = np.asarray(self.samples)
        if raw.dtype.kind != "f":
            raise AudioError(
                f"samples are floating point numbers in -1..1, got {raw.dtype}; "
                "divide integers by their full scale"
            )
        samples = np.array(raw, dtype=np.float32)
        if samples.ndim != 1:
            raise AudioError(f"an utterance is mono, got an array of shape {samples.shape}")
        _check_rate(self.sample_rate)
        if not np.isfinite(samples).all():
            raise AudioError("the samples contain NaN or infinite values; repair the recording")
        for what in ("transcript", "language"):
            value = getattr(self, what)
            if value is not None and not isinstance(value, str):
                kind = type(value).__name__
                raise AudioError(f"a {what} is text, got {kind}; pass a string or None")
            if value is not None and not _is_unicode(value):
                raise AudioError(f"the {what} is no Unicode; write it in UTF-8")
        samples.setflags(write=False)
        object.__setattr__(self, "samples", samples)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes of a pickle or a deep copy, whose arrays could be written to."""
        self.__dict__.update(state)
        self.samples.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        """Compare samples, rate, transcript and language."""
        if not isinstance(other, Utterance):
            return NotImplemented
        return (
            self.sample_rate == other.sample_rate
            and self.transcript == other.transcript
            and self.language == other.language
            and np.array_equal(self.samples, other.samples)
        )

    def __hash__(self) -> int:
        """Hash what ``==`` compares."""
        return hash((self.samples.tobytes(), self.sample_rate, self.transcript, self.language))

    def __repr__(self) -> str:
        """Show length and rate instead of the samples."""
        text = f", {self.transcript!r}" if self.transcript else ""
        return f"Utterance({self.seconds:.2f} s at {self.sample_rate} Hz{text})"

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the samples and their rate, in hexadecimal."""
        return hashlib.sha256(self.samples.tobytes() + str(self.sample_rate).encode()).hexdigest()

    def replace(self, **changes: object) -> Utterance:
        """Return a copy with some attributes changed."""
        if {"samples", "sample_rate", "transcript"} & changes.keys():
            changes.setdefault("alignment", None)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def slice(self, span: Span | tuple[float, float]) -> Utterance:
        """Return the samples of a span (seconds) as an utterance without transcript."""
        start, end = (round(edge * self.sample_rate) for edge in span)
        return self.replace(samples=self.samples[max(start, 0) : end], transcript=None)

    def resample(self, sample_rate: int) -> Utterance:
        """Return the utterance at another rate in Hz (soxr, very high quality).

        Raises:
            AudioError: if the rate is outside 4000..192000 Hz.
        """
        _check_rate(sample_rate)
        if sample_rate == self.sample_rate:
            return self
        import soxr

        samples = soxr.resample(self.samples, self.sample_rate, sample_rate, quality="VHQ")
        return self.replace(samples=samples, sample_rate=sample_rate, alignment=self.alignment)

    def problem(self) -> str | None:
        """Return why no edit can work on this utterance, or None."""
        if len(self.samples) == 0:
            return "the recording holds no samples"
        if self.seconds < MIN_SECONDS:
            return f"the recording lasts {self.seconds * 1000:.1f} ms; 20 ms is the least"
        peak = float(np.abs(self.samples).max())
        if peak > NO_SOUND:
            return f"the samples reach {peak:.0e}, where 1 is full scale; repair the recording"
        if not self.samples.any():
            read = f" ({'; '.join(self.notes)})" if self.notes else ""
            return f"the recording is digital silence: there is nothing to edit{read}"
        if float(np.ptp(self.samples)) == 0:
            return "the recording is one constant value, no sound: check the sound card"
        return None

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        transcript: str | None = None,
        language: str | None = None,
        *,
        max_seconds: float = MAX_SECONDS,
    ) -> Utterance:
        """Read a sound file: WAV, FLAC, OGG, Opus, MP3, and by FFmpeg M4A, MP4, WebM and others.

        Several channels are averaged, or what would be lost is flipped or left out; ``notes``
        say so.

        Args:
            path: the file, or ``-`` for standard input.
            transcript: the words spoken in it.
            language: BCP 47 tag.
            max_seconds: refuse longer files; edits work on utterances, not on albums.

        Raises:
            AudioError: if the file is absent, unreadable, empty, too long or not finite.
        """
        return cls._of(
            read_sound(path, max_seconds=max_seconds), os.fspath(path), transcript, language
        )

    @classmethod
    def from_bytes(
        cls,
        content: bytes,
        transcript: str | None = None,
        language: str | None = None,
        *,
        max_seconds: float = MAX_SECONDS,
        name: str = "the recording",
    ) -> Utterance:
        """Read the content of a sound file as ``read`` does; ``name`` leads messages."""
        sound = read_sound(content, max_seconds=max_seconds, name=name)
        return cls._of(sound, name, transcript, language)

    @classmethod
    def _of(
        cls, sound: Sound, name: str, transcript: str | None, language: str | None
    ) -> Utterance:
        """Make an utterance of decoded sound."""
        try:
            return cls(
                sound.samples,
                sound.rate,
                transcript,
                language,
                channels=sound.channels,
                subtype=sound.subtype,
                notes=sound.notes,
            )
        except AudioError as error:
            raise AudioError(f"{name}: {error}") from error

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        subtype: str | None = None,
        finish: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write the samples; the suffix chooses the format, the name appears when complete.

        MP3 and Opus take some rates alone: others are resampled to the next one.

        Args:
            path: target such as ``out.wav`` or ``out.flac``; ``-`` is standard output, which
                gets a WAV file, as pipes and devices do.
            subtype: soundfile subtype; by default the one that the utterance was read with if
                that is not a codec's and the format has it, otherwise the format's default.
            finish: gets the complete file before it has its name, such as to mark it.

        Raises:
            AudioError: if the folder cannot be written, the suffix is unknown, or the format
                has no such subtype.
        """
        target = Path(path)
        sound = self.resample(target_rate(target, self.sample_rate))
        kind, chosen = output_format(target, sound.sample_rate, self.subtype, subtype)

        def fill(partial: Path) -> None:
            content = encoded_sound(sound.samples, sound.sample_rate, kind, chosen)
            partial.write_bytes(content)
            if finish is not None:
                finish(partial)

        try:
            replace_file(target, fill)
        except sf.LibsndfileError as error:
            raise AudioError(f"{target}: cannot write ({error.error_string})") from error
        except StepeditError as error:
            raise AudioError(str(error)) from error
        return target
