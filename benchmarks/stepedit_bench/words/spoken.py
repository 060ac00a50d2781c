"""What a recogniser hears where a synthesiser says a sentence without a word: a ceiling for cuts.

A sentence that lacks a word is often none ("we have how quietly"), and a recogniser hears another
one that is. How often it hears all words of such a sentence where nothing was cut tells what its
judgement of cuts is worth: a synthesiser says the sentence with the word and without it, and the
word is cut out of the first.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stepedit_core.alignment import Alignment, Ear
from stepedit_core.dsp.cutting import cut_out, plan_cut
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.listening import Listener
from stepedit_core.plan import Replacement
from stepedit_core.recording.hearing import align
from stepedit_core.utterance import Span, Utterance

__all__ = ["Around", "Spoken", "around", "said", "spoken_both_ways"]

_BESIDE, _AROUND = 6, 0.1
"""Words on either side of a cut that are listened to, and seconds beside these."""
_MOST_SECONDS = 60.0
"""Longest time that a synthesiser may take for a sentence."""


@dataclass(frozen=True)
class Around:
    """A word that goes, and what is listened to around it.

    Attributes:
        before: the words with it.
        change: of these words.
        span: where they are said, in seconds of the recording.
    """

    before: str
    change: Replacement
    span: Span

    def is_gone(self, ear: Ear, speech: Utterance, part: Utterance) -> bool:
        """Say whether the word is gone, and its neighbours are heard as in the source.

        Args:
            ear: who hears.
            speech: the recording with the word.
            part: what is said around it without the word.
        """
        return (
            Listener([ear], self.before, self.change, speech.slice(self.span)).hear(part).is_right
        )


@dataclass(frozen=True)
class Spoken:
    """A sentence that a synthesiser said.

    Attributes:
        without: by recogniser, whether the sentence said without a word is heard so.
        cut: whether it is where the word was cut out of the sentence said with it.
    """

    without: Mapping[str, bool]
    cut: Mapping[str, bool]


def around(known: Alignment, word: int, seconds: float) -> Around:
    """Return what is listened to around a word of a recording of so many seconds."""
    low, high = max(0, word - _BESIDE), min(len(known.words), word + 1 + _BESIDE)
    texts = [one.text for one in known.words[low:high]]
    place = word - low
    after = " ".join(texts[:place] + texts[place + 1 :])
    start = max(0.0, known.words[low].start - _AROUND)
    end = min(seconds, known.words[high - 1].end + _AROUND)
    return Around(" ".join(texts), Replacement(place, place + 1, "", after), Span(start, end))


def said(command: str, text: str, language: str | None) -> Utterance:
    """Return a text as a synthesiser says it.

    Args:
        command: words of a command line with ``{text}`` and ``{out}``, which becomes a WAV file;
            no shell reads it.
        text: what is said.
        language: of the text, BCP 47.

    Raises:
        StepeditError: if the command lacks either, is not found, or fails.
    """
    if "{text}" not in command or "{out}" not in command:
        raise StepeditError("a command that speaks has {text} and {out} in it")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "said.wav"
        given = [
            part.replace("{text}", text).replace("{out}", str(out)) for part in shlex.split(command)
        ]
        try:
            done = subprocess.run(given, capture_output=True, timeout=_MOST_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StepeditError(f"{given[0]} cannot speak: {error}") from error
        if done.returncode or not out.is_file():
            why = done.stderr.decode(errors="replace").strip().splitlines()
            raise StepeditError(f"{given[0]} spoke nothing: {why[-1] if why else 'no file'}")
        return Utterance.read(out, text, language)


def spoken_both_ways(
    command: str, known: Alignment, word: int, language: str | None, ears: Mapping[str, Ear]
) -> Spoken | None:
    """Return what is heard where a synthesiser says a sentence without a word, and where it is cut.

    Args:
        command: as `said` takes it.
        known: the sentence.
        word: index of the word, neither the first nor the last.
        language: of the sentence, BCP 47.
        ears: who hear, by name.

    Returns:
        What they hear; None where the words are not found in what was said.
    """
    words = [one.text for one in known.words]
    whole = said(command, " ".join(words), language)
    less = said(command, " ".join(words[:word] + words[word + 1 :]), language)
    try:
        timed, left = align(whole), align(less)
    except StepeditError:
        return None
    asked = around(timed, word, whole.seconds)
    low, high = max(0, word - _BESIDE), min(len(left.words), word + _BESIDE)
    start = max(0.0, left.words[low].start - _AROUND)
    part = less.slice((start, min(less.seconds, left.words[high - 1].end + _AROUND)))
    cut = plan_cut(whole, timed, word, word + 1)
    made = cut_out(whole, cut).slice((asked.span.start, asked.span.end - cut.seconds))
    return Spoken(
        {name: asked.is_gone(ear, whole, part) for name, ear in ears.items()},
        {name: asked.is_gone(ear, whole, made) for name, ear in ears.items()},
    )
