"""The words of long recordings: timed sentence by sentence, and carried along by edits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import soundfile as sf

from stepedit_core import (
    Alignment,
    AlignmentError,
    Recording,
    StepeditError,
    TimedWord,
    Utterance,
    align,
    format_alignment,
)
from stepedit_core.dsp.words import split_words

__all__ = ["after_edit", "align_long", "cues_json", "read_subtitles", "spread", "subtitles_of"]


def spread(rows: Iterable[tuple[float, float, str, str | None]], aligner: str) -> Alignment | None:
    """Return words spread over stretches of which the text is known; None without a word.

    Args:
        rows: start, end in seconds, text and speaker.
        aligner: what is said to have timed them.
    """
    texts: list[str] = []
    words: list[TimedWord] = []
    speakers: list[str | None] = []
    at = 0.0
    for start, end, text, speaker in rows:
        found = _spread_one(text, max(at, start), max(at, end))
        if not found:
            continue
        texts.append(text.strip())
        words += found
        speakers += [speaker] * len(found)
        at = found[-1].start
    return _joined(texts, words, speakers, aligner)


def _spread_one(text: str, start: float, end: float) -> list[TimedWord]:
    """Return the words of a text over a stretch, each as long as it usually is."""
    parts = split_words(text)
    total = sum(word.seconds for word in parts) or 1.0
    found, at = [], start
    for word in parts:
        stop = at + (end - start) * word.seconds / total
        found.append(TimedWord(word.text, at, stop))
        at = stop
    return found


def _joined(
    texts: Sequence[str],
    words: Sequence[TimedWord],
    speakers: Sequence[str | None],
    aligner: str,
    notes: tuple[str, ...] = (),
) -> Alignment | None:
    """Return an alignment of sentences that follow each other."""
    if not words:
        return None
    text = " ".join(texts)
    if len(split_words(text)) != len(words):
        raise AlignmentError("the words of the sentences cannot be told apart when they are joined")
    known = tuple(speakers) if any(speakers) else ()
    return Alignment(text, tuple(words), aligner, known, notes)


def read_subtitles(
    path: str, subtitles: str, language: str | None
) -> tuple[Alignment | None, list[str]]:
    """Return the words of a subtitle file beside a recording, and what is to be known of them.

    Raises:
        StepeditError: if the subtitles are damaged or not this recording's.
    """
    found = Recording.read(path, subtitles=subtitles, language=language)
    rows = [(part.start, part.end, part.text or "", part.speaker) for part in found.segments]
    return spread(sorted(rows), "subtitles"), list(found.notes)


def align_long(
    path: str, transcript: str | None, language: str | None
) -> tuple[Alignment, str | None]:
    """Return when each word of a long recording is said; heard where no words are given.

    Raises:
        StepeditError: if no words are heard, or nothing that is installed hears or times them.
    """
    heard = Recording.read(path, text=transcript or None, language=language).with_words()
    texts: list[str] = []
    words: list[TimedWord] = []
    aligners: dict[str, None] = {}
    with sf.SoundFile(path) as sound:
        for part in heard.segments:
            if not (part.text or "").strip():
                continue
            one = _segment_words(sound, part.start, part.end, str(part.text), language)
            texts.append(str(part.text).strip())
            words += one.words
            aligners[one.aligner] = None
    words = _in_order(words)
    found = _joined(texts, words, [], "+".join(aligners), tuple(heard.notes))
    if found is None:
        raise AlignmentError("the recording holds no words to time")
    return found, language


def _segment_words(
    sound: sf.SoundFile, start: float, end: float, text: str, language: str | None
) -> Alignment:
    """Return the words of one sentence, in seconds of the recording."""
    rate = sound.samplerate
    sound.seek(round(start * rate))
    samples = sound.read(max(1, round((end - start) * rate)), dtype="float32")
    try:
        found = align(Utterance(samples, rate, text, language))
    except StepeditError:
        return Alignment(text, tuple(_spread_one(text, start, end)), "spread")
    return found.moved(lambda second: second + start)


def _in_order(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Return words none of which begins before the one ahead of it."""
    found: list[TimedWord] = []
    at = 0.0
    for word in words:
        at = max(at, word.start)
        found.append(dataclasses.replace(word, start=at, end=max(at, word.end)))
    return found


def cues_json(known: Alignment, target: Path) -> None:
    """Write the sentences of an alignment as the segments that `Recording.read` takes."""
    rows: list[dict[str, Any]] = [
        {"start": one.start, "end": max(one.end, one.start + 0.01), "text": one.text}
        | ({"speaker": one.speaker} if one.speaker else {})
        for one in known.sentences
    ]
    target.write_text(json.dumps({"segments": rows}, ensure_ascii=False), encoding="utf-8")


def after_edit(before: Alignment, segments: Sequence[Any]) -> Alignment | None:
    """Return the words of a recording of which some sentences were edited.

    Args:
        before: its words before.
        segments: its sentences at their new times, with their new texts, in order.
    """
    texts: list[str] = []
    words: list[TimedWord] = []
    speakers: list[str | None] = []
    for old, new in zip(before.sentences, segments, strict=True):
        text = (new.text or "").strip()
        if not split_words(text):
            continue
        if text == old.text:
            inside = before.words[old.first : old.stop]
            scale = (new.end - new.start) / max(1e-6, old.end - old.start)
            made = [
                dataclasses.replace(
                    word,
                    start=max(0.0, new.start + (word.start - old.start) * scale),
                    end=max(0.0, new.start + (word.end - old.start) * scale),
                )
                for word in inside
            ]
        else:
            made = _spread_one(text, new.start, new.end)
        texts.append(text)
        words += made
        speakers += [old.speaker] * len(made)
    return _joined(texts, _in_order(words), speakers, before.aligner, before.notes)


def subtitles_of(segments: str, kind: str) -> str:
    """Return segments as the text of a subtitle file.

    Args:
        segments: JSON with start, end and text of each under ``segments``.
        kind: ``srt``, ``vtt``, ``textgrid`` or ``audacity``.
    """
    rows = [
        (float(row["start"]), float(row["end"]), str(row["text"]), row.get("speaker"))
        for row in json.loads(segments)["segments"]
    ]
    known = spread(rows, "segments")
    if known is None:
        raise AlignmentError("the recording holds no words")
    return format_alignment(known, cast(Any, kind), max(row[1] for row in rows))
