"""Preservation: what an edit changed besides its target, measured and judged by thresholds.

An edit answers only for its own delta. Each check therefore compares the output with the
source *and* with the engine's identity edit (tokenize, decode), and takes the laxer of both: what
coding alone destroys is not the edit's fault, and is printed beside. Without an engine the
source alone is the yardstick. Where the ideal output is known, such as the clean recording
under added noise, it is a yardstick too, and the voice is compared with it.

==========  ============================================================================
check       passes where
==========  ============================================================================
words       at most ``max(1 word, 10 %)`` more errors than source and identity have
            (characters: ``max(2, 10 %)``; phones, for languages that the recogniser does not
            know: ``max(3, 25 %)``)
speaker     cosine similarity is 0.70 or more, or at most 0.05 below that of the identity edit
            (with an ideal output: of the source, which may be buried in noise)
quality     DNSMOS OVRL falls by at most 0.5
loudness    changes by at most 6 LU
level       the level of active speech changes by at most 2 dB; compared with the source and the
            ideal output alone: that coding lowers a hot recording is not excused
clipping    the clipped share grows by at most 0.1 %
duration    within 5 % or 0.12 s of the source where the scorer expects the same duration;
            otherwise at most double of what the edit itself announces: what is too short
            lacks words, unless it was silence
==========  ============================================================================

A measurement that fails leaves its check open, and an open check leaves ``preserved`` open
unless another one has failed already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from stepedit_bench.measuring.text_error import TextErrors, normalise
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Measures
from stepedit_core.utterance import Utterance

__all__ = [
    "CHECKS",
    "BenchMeasures",
    "SpeechMeasurements",
    "Thresholds",
    "check",
    "measure",
    "verdict",
]

CHECKS = ("words", "speaker", "quality", "loudness", "level", "clipping", "duration")
T = TypeVar("T")


class BenchMeasures(Measures, Protocol):
    """Measurements of the bench, besides those that scorers share."""

    labels: tuple[str, ...] | None
    """Classes that judges choose from, instead of the ones that the scorer offers."""

    def hears(self, language: str | None) -> bool:
        """Return whether the recogniser knows a language."""

    def heard_by(self, language: str | None) -> str:
        """Return the recogniser of a language's words, or phones, with its version."""

    def text_errors(self, expected: str, utterance: Utterance) -> TextErrors:
        """Count the errors of what is heard against a text."""

    def second_text(self, utterance: Utterance) -> str:
        """Return the words that the second recogniser hears."""

    def phone_errors(self, reference: Utterance, utterance: Utterance) -> TextErrors:
        """Count the phones that are heard otherwise than in the reference."""

    def loudness(self, utterance: Utterance) -> float:
        """Return the integrated loudness in LUFS."""

    def active_level(self, utterance: Utterance) -> float:
        """Return the level of active speech in dB of full scale."""

    def clipped_share(self, utterance: Utterance) -> float:
        """Return the share of clipped samples, 0..1."""

    def take_verdicts(self) -> list[dict[str, Any]]:
        """Return the judges' verdicts since the last call."""


@dataclass(frozen=True)
class Thresholds:
    """Limits of what may change; the defaults are the module's table."""

    word_share: float = 0.10
    word_least: int = 1
    character_least: int = 2
    phone_share: float = 0.25
    phone_least: int = 3
    speaker: float = 0.70
    speaker_slack: float = 0.05
    quality_drop: float = 0.5
    loudness_lu: float = 6.0
    level_db: float = 2.0
    clipped_share: float = 0.001
    duration_share: float = 0.05
    duration_seconds: float = 0.12
    runaway: float = 2.0

    def describe(self) -> dict[str, float]:
        """Return the thresholds as JSON data."""
        return asdict(self)

    def extra_errors(self, length: int, unit: str) -> float:
        """Return the number of additional errors that are accepted in a text of some length."""
        least = {"word": self.word_least, "character": self.character_least}
        share = self.phone_share if unit == "phone" else self.word_share
        return max(least.get(unit, self.phone_least), share * length)


@dataclass(frozen=True)
class SpeechMeasurements:
    """Measurements of one recording besides the edit's target.

    Attributes:
        text: errors in words, characters or phones, or None.
        values: metric to value; None for one that failed.
        failures: metric to the reason.
    """

    text: TextErrors | None
    values: Mapping[str, float | None]
    failures: Mapping[str, str] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return the measurements as JSON data."""
        text = None
        if self.text is not None:
            text = {**asdict(self.text), "rate": round(self.text.rate, 6)}
        rounded = {k: None if v is None else round(v, 6) for k, v in self.values.items()}
        return {"text": text, **rounded}


class _Attempts:
    """Collects values and the reasons of those that failed."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}

    def __call__(self, name: str, make: Callable[[], T]) -> T | None:
        """Return the value of ``make``, or note why it failed."""
        try:
            return make()
        except StepeditError as error:
            self.failures[name] = str(error)
        except Exception as error:  # a backend may raise anything
            self.failures[name] = f"{type(error).__name__}: {error}"
        return None


def measure(
    output: Utterance,
    source: Utterance,
    expected: str | None,
    measures: BenchMeasures,
    voice: Utterance | None = None,
) -> SpeechMeasurements:
    """Measure a recording against its source.

    Args:
        output: what to measure; the source itself gives the floor.
        source: what the first edit received.
        expected: the words that ``output`` ought to say, or None where they are not known.
        measures: the backends.
        voice: whose voice is to be kept; the source's by default.
    """
    attempt = _Attempts()
    text = attempt("text", lambda: _text(output, source, expected, measures))
    rating = attempt("dnsmos", lambda: dict(measures.dnsmos(output))) or {}
    values: dict[str, float | None] = {
        "speaker_similarity": attempt(
            "speaker_similarity", lambda: measures.speaker_similarity(voice or source, output)
        ),
        "dnsmos_ovrl": rating.get("ovrl"),
        "dnsmos_sig": rating.get("sig"),
        "dnsmos_bak": rating.get("bak"),
        "loudness_lufs": attempt("loudness_lufs", lambda: measures.loudness(output)),
        "active_level": attempt("active_level", lambda: measures.active_level(output)),
        "clipped_share": attempt("clipped_share", lambda: measures.clipped_share(output)),
        "seconds": output.seconds,
    }
    return SpeechMeasurements(text, values, attempt.failures)


def _text(
    output: Utterance, source: Utterance, expected: str | None, measures: BenchMeasures
) -> TextErrors:
    """Count text errors where the recogniser knows the language, phone errors where not."""
    if expected and expected.strip() and measures.hears(output.language):
        return measures.text_errors(expected, output)
    before = source.transcript
    if expected and before:
        same = normalise(expected, source.language) == normalise(before, source.language)
        if not same:
            raise StepeditError(
                f"the words change and the recogniser does not know {output.language!r}; "
                "name another with --asr"
            )
    return measures.phone_errors(source, output)


def check(
    output: SpeechMeasurements,
    source: SpeechMeasurements,
    identity: SpeechMeasurements | None,
    *,
    reference: SpeechMeasurements | None = None,
    length_ratio: float = 1.0,
    same_duration: bool = False,
    waived: frozenset[str] = frozenset(),
    thresholds: Thresholds | None = None,
) -> dict[str, bool | None]:
    """Compare an output with its source and the identity edit.

    Args:
        output: measured on the output.
        source: measured on the source.
        identity: measured on the identity edit, or None where there is no engine.
        reference: measured on the ideal output, where one exists.
        length_ratio: duration after over duration before, as the edit announces it.
        same_duration: whether a changed duration counts as damage.
        waived: checks that the scorer does not ask for.
        thresholds: the limits.

    Returns:
        Check to True, False, or None where it could not be measured; waived checks are absent.
    """
    limits = thresholds or Thresholds()
    unedited = [source] if identity is None else [source, identity]
    yardsticks = unedited if reference is None else [*unedited, reference]
    checks: dict[str, bool | None] = {
        "words": _words(output, yardsticks, limits),
        "speaker": _speaker(output, unedited, limits),
        "quality": _compare(
            output, yardsticks, "dnsmos_ovrl", lambda new, old: new >= old - limits.quality_drop
        ),
        "loudness": _compare(
            output,
            yardsticks,
            "loudness_lufs",
            lambda new, old: abs(new - old) <= limits.loudness_lu,
        ),
        "level": _compare(
            output,
            [source] if reference is None else [source, reference],
            "active_level",
            lambda new, old: abs(new - old) <= limits.level_db,
        ),
        "clipping": _compare(
            output, yardsticks, "clipped_share", lambda new, old: new <= old + limits.clipped_share
        ),
        "duration": _compare(
            output,
            yardsticks,
            "seconds",
            lambda new, old: _duration(new, old, length_ratio, same_duration, limits),
        ),
    }
    absent = frozenset() if "active_level" in output.values else frozenset({"level"})
    return {name: checks[name] for name in CHECKS if name not in waived | absent}


def verdict(checks: Mapping[str, bool | None]) -> bool | None:
    """Return False where a check failed, None where one is open, True otherwise."""
    if any(value is False for value in checks.values()):
        return False
    return None if any(value is None for value in checks.values()) else True


def _words(
    output: SpeechMeasurements, yardsticks: list[SpeechMeasurements], limits: Thresholds
) -> bool | None:
    new = output.text
    if new is None:
        return None
    known = [item.text.errors for item in yardsticks if item.text and item.text.unit == new.unit]
    if not known:
        return None
    return new.errors - max(known) <= limits.extra_errors(new.length, new.unit)


def _speaker(
    output: SpeechMeasurements, unedited: list[SpeechMeasurements], limits: Thresholds
) -> bool | None:
    """Compare with the limit, or with what the voice had lost before the edit."""
    value = output.values["speaker_similarity"]
    if value is None:
        return None
    known = [old for item in unedited if (old := item.values["speaker_similarity"]) is not None]
    return value >= min([limits.speaker, *(old - limits.speaker_slack for old in known)])


def _compare(
    output: SpeechMeasurements,
    yardsticks: list[SpeechMeasurements],
    metric: str,
    fits: Callable[[float, float], bool],
) -> bool | None:
    """Return whether a metric fits any yardstick, or None where it was not measured."""
    new = output.values.get(metric)
    known = [old for item in yardsticks if (old := item.values.get(metric)) is not None]
    if new is None or not known:
        return None
    return any(fits(new, old) for old in known)


def _duration(new: float, old: float, ratio: float, same: bool, limits: Thresholds) -> bool:
    if same:
        return abs(new - old) <= max(limits.duration_share * old, limits.duration_seconds)
    return new <= old * ratio * limits.runaway
