"""Times of given words by Whisper's cross-attention.

The model is shown the transcript, not asked for its own words: dynamic time warping over the
attention heads that follow time (Radford et al. 2023, ICML, as CTranslate2 implements it) says when
each token is looked at. Words that Whisper would mishear or spell in other letters are found, too,
and stops in the text take the pauses that would otherwise be part of a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from stepedit_core import Span, StepeditError, TimedWord, Utterance
from stepedit_core.dsp.words import Word
from stepedit_listen.failures import first_line

__all__ = ["LONGEST", "attended", "plain_text", "windows"]

RATE, _TOKEN_SECONDS, _FRAMES = 16_000, 0.02, 3000
LONGEST = 30.0
"""What the model sees at once, in seconds."""
_MOST_TOKENS = 440
_SHORTEST = 0.2
"""Less has fewer frames than the median filter of the attention takes, in seconds."""
_STOPS = frozenset(",.;:!?…，。；：！？、।؟،")


def plain_text(transcript: str, words: Sequence[Word]) -> tuple[str, list[Word]]:
    """Return the words with the stops and blanks between them, and where they lie in this text.

    Nothing else of a transcript is left, so that no text becomes a control token.
    """
    parts: list[str] = []
    placed: list[Word] = []
    at, last = 0, words[0].start if words else 0
    for word in words:
        between = transcript[last : word.start]
        kept = "".join(sign if sign in _STOPS else " " for sign in between if _is_kept(sign))
        gap = kept or ("" if placed else " ")  # Whisper's own texts begin with a blank
        parts += [gap, word.text]
        at += len(gap)
        placed.append(Word(word.text, at, at + len(word.text)))
        at, last = at + len(word.text), word.end
    tail = "".join(sign for sign in transcript[last : last + 1] if sign in _STOPS)
    return "".join([*parts, tail]), placed


def _is_kept(sign: str) -> bool:
    return sign in _STOPS or sign.isspace()


def attended(
    model: Any, utterance: Utterance, words: Sequence[Word], language: str | None
) -> list[TimedWord] | None:
    """Return when each word is said, with the model's probability of it as confidence.

    Args:
        model: a `stepedit_listen.encoding.EncodingOnce`.
        utterance: at most 30 s, with the transcript that the words lie in.
        words: of the transcript, or a run of them.
        language: Whisper's code, or None to let it tell.

    Returns:
        One timed word for each word, or None where there are too many for one pass, or too little
        sound.

    Raises:
        StepeditError: if the model does not know the language.
    """
    from faster_whisper.audio import pad_or_trim
    from faster_whisper.tokenizer import Tokenizer

    text, places = plain_text(utterance.transcript or "", words)
    encoded = model.text_tokenizer().encode(text, add_special_tokens=False)
    if not words or len(encoded.ids) > _MOST_TOKENS or utterance.seconds < _SHORTEST:
        return None
    features = model.feature_extractor(np.ascontiguousarray(utterance.resample(RATE).samples))
    seen = model.encode(pad_or_trim(features[:, :_FRAMES]))
    many = model.model.is_multilingual
    if many and language is None:
        language = model.model.detect_language(seen)[0][0][0].strip("<|>")
    try:
        prompt = Tokenizer(model.hf_tokenizer, many, "transcribe", language).sot_sequence
    except ValueError as error:
        raise StepeditError(f"whisper: {first_line(error)}") from error
    frames = min(_FRAMES, features.shape[-1])
    found = model.model.align(seen, prompt, [encoded.ids], frames)[0]
    begins = _begins(found.alignments, len(encoded.ids))
    return _timed(places, encoded.offsets, begins, found.text_token_probs, utterance.seconds)


def _begins(path: Sequence[tuple[int, int]], count: int) -> list[float]:
    """Return when each token, and the end after them, is first looked at, in seconds."""
    first: dict[int, int] = {}
    for token, frame in path:
        first.setdefault(token, frame)
    begins: list[float] = []
    for token in range(count + 1):
        begins.append(first[token] * _TOKEN_SECONDS if token in first else begins[-1])
    return begins


def _timed(
    places: Sequence[Word],
    offsets: Sequence[tuple[int, int]],
    begins: Sequence[float],
    sure: Sequence[float],
    seconds: float,
) -> list[TimedWord]:
    """Return words with the times of the tokens that they are written in."""
    stops = np.array([stop for _, stop in offsets])
    starts = np.array([start for start, _ in offsets])
    tokens = []
    for word in places:
        first = int(np.searchsorted(stops, word.start, side="right"))
        tokens.append((first, max(first + 1, int(np.searchsorted(starts, word.end, side="left")))))
    timed = []
    for n, (word, (first, after)) in enumerate(zip(places, tokens, strict=True)):
        start, end = min(begins[first], seconds), min(begins[after], seconds)
        # One token may write several characters, which then share its time.
        sharing = [m for m, other in enumerate(tokens) if other == (first, after)]
        step, place = max(0.0, end - start) / len(sharing), sharing.index(n)
        start = start + place * step
        confidence = float(np.mean(sure[first:after])) if len(sure) else None
        timed.append(TimedWord(word.text, start, start + step, confidence))
    return timed


def windows(pauses: Sequence[Span], seconds: float, longest: float = LONGEST - 1) -> list[Span]:
    """Return stretches of at most so many seconds, cut in the longest pause of their second half.

    Args:
        pauses: in order.
        seconds: to be covered.
        longest: of a stretch, in seconds.
    """
    edges = [0.0]
    while seconds - edges[-1] > longest:
        low, high = edges[-1] + longest / 2, edges[-1] + longest
        inside = [p for p in pauses if low <= (p.start + p.end) / 2 <= high]
        best = max(inside, key=lambda p: p.seconds, default=Span(high, high))
        edges.append((best.start + best.end) / 2)
    return [Span(a, b) for a, b in pairwise([*edges, seconds])]
