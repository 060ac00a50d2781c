"""Say a text of an edit's own as an engine says it well: phrase by phrase, in a short voice prompt.

Small models leave words out of texts, and lose them beside voice prompts, that are longer than
those they were taught by. Where an engine says how much it says at once (``spoken_at_once``), a
longer text is cut into phrases; each is drawn by itself, with a choice of its own. Phrases that
follow each other without a pause are decoded in one pass, the others are joined by silence. All are
decoded from the whole recording.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import DualCodes
from stepedit_core.dsp.room_tone import extend, quietest_stretch
from stepedit_core.dsp.silences import find_silences, find_speech, frame_levels
from stepedit_core.dsp.words import read_seconds, split_words
from stepedit_core.edit import Edit
from stepedit_core.engine import GenerateRequest, Latent, SpeechEngine, spoken_at_once
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.phrasing import Phrase, cut_phrases
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.progress import counting_on
from stepedit_core.llm_route.stretches import joined_codes, stretch_seed
from stepedit_core.llm_route.voice_prompt import voice_stretch
from stepedit_core.utterance import Utterance

__all__ = ["Run", "Saying", "saying_of", "spoken"]

FloatArray = npt.NDArray[np.float32]
Decoded = tuple[Utterance, Latent | None]

PHRASE = "phrase"
"""Rules of sampling that hold for phrases beside those of their edit."""
AT_ONCE = 3
"""Phrases that are drawn in one call: with sixteen draws each they fill a batch."""
LONGEST_RUN = 20.0
"""Seconds from which on what is decoded in one pass ends with the next phrase."""
SHORTEST_PAUSE = 0.06
"""Seconds of silence between passes where the text has no pause."""
LONGEST_SILENCE = 0.5
"""Seconds of the longest silence inside of a pass."""
_BELOW_SPEECH_DB = 30.0
"""How far silence lies below speech: what voice activity detection misses is louder."""
_KEPT = 0.1
"""Seconds of silence that are kept at the ends of a pass."""
_FADE = 0.01
"""Seconds over which speech fades into silence and out of it."""
_PACE_WORDS = 12
"""Words whose plan tells the pace: that of a whole long text may be bounded."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Phrases that are decoded in one pass.

    Attributes:
        requests: of each phrase.
        pause: seconds of silence that come after the last one.
    """

    requests: tuple[GenerateRequest, ...]
    pause: float


@dataclass(frozen=True)
class Saying:
    """What an engine is asked, to say a text.

    Attributes:
        runs: in order.
        voice: what the language model is shown of the recording.
        notes: what a user should know of it, one line each.
    """

    runs: tuple[Run, ...]
    voice: Utterance
    notes: tuple[str, ...] = ()

    @property
    def requests(self) -> list[GenerateRequest]:
        """One for each phrase, in order."""
        return [request for run in self.runs for request in run.requests]


def saying_of(edit: Edit, request: GenerateRequest, engine: SpeechEngine) -> Saying | None:
    """Return what is asked for a text, or None where it is asked for as it is.

    So are edits without a text of their own, engines that say any text at once, and texts and
    voices that are short enough.

    Args:
        edit: what is asked.
        request: for the whole text, with the whole recording.
        engine: says how much it says at once.
    """
    text = request.words
    if text is None or not split_words(text) or edit.saying(text) is None:
        return None
    longest, shown = spoken_at_once(engine, request.plan.rules)
    pace = _pace(edit, request, text)
    is_short = longest is None or pace * read_seconds(text) <= longest
    if is_short and (shown is None or request.codes.seconds <= shown):
        return None
    voice, codes = request.utterance, request.codes
    notes: tuple[str, ...] = ()
    if shown is not None:
        voice, codes = voice_stretch(voice, codes, shown)
        notes = _notes(edit, codes, shown)
    whole = Phrase(text, pace * read_seconds(text), 0.0)
    phrases = [whole] if longest is None or is_short else cut_phrases(text, longest, pace)
    requests = []
    for place, phrase in enumerate(phrases):
        part = edit.saying(phrase.text)
        assert part is not None
        plan = part.plan(voice)
        ratio, rules = phrase.seconds / codes.seconds, (*plan.rules, PHRASE)
        plan = plan.but(length_ratio=ratio, rules=rules)
        seed = request.seed if place == 0 else stretch_seed(request.seed, place)
        requests.append(request_for(part, voice, codes, seed, plan=plan))
    return Saying(_runs(requests, phrases), voice, notes)


def _pace(edit: Edit, request: GenerateRequest, text: str) -> float:
    """Return how much longer than on average the speaker takes, by the edit's own plan."""
    words = split_words(text)
    sample = text[: words[min(_PACE_WORDS, len(words)) - 1].end]
    part = edit.saying(sample)
    assert part is not None
    seconds = request.codes.seconds * part.plan(request.utterance).length_ratio
    return seconds / max(0.1, read_seconds(sample))


def _notes(edit: Edit, codes: DualCodes, shown: float) -> tuple[str, ...]:
    """Say that the voice could not be cut."""
    if codes.seconds <= 1.5 * shown:
        return ()
    line = (
        f"the words of the voice could not be timed, so that the model was shown all "
        f"{codes.seconds:.1f} s of it; it does best with {shown:g} s"
    )
    _log.warning("%s: %s", edit.name, line)
    return (line,)


def _runs(requests: Sequence[GenerateRequest], phrases: Sequence[Phrase]) -> tuple[Run, ...]:
    """Join the phrases between pauses, as long as they last no longer than one pass may."""
    runs: list[Run] = []
    own: list[GenerateRequest] = []
    seconds = 0.0
    for request, phrase in zip(requests, phrases, strict=True):
        own.append(request)
        seconds += phrase.seconds
        if phrase.pause or seconds >= LONGEST_RUN or request is requests[-1]:
            runs.append(Run(tuple(own), phrase.pause or SHORTEST_PAUSE))
            own, seconds = [], 0.0
    return tuple(runs)


def spoken(
    saying: Saying,
    engine: SpeechEngine,
    decode: Callable[[DualCodes], Decoded],
    seed: int,
) -> tuple[Utterance, DualCodes | None, Latent | None, dict[str, Any]]:
    """Return a text as it is spoken, its codes and what it was made from, and facts; JSON data.

    Codes and latent are None where silence was put between passes or cut. The memory that is
    taken does not depend on the length of the text, its sound aside.

    Args:
        saying: what is asked.
        engine: draws.
        decode: returns the sound of codes, at the level of the recording.
        seed: of the silence.
    """
    requests = saying.requests
    answers: list[DualCodes] = []
    done: list[int] = []
    for begin in range(0, len(requests), AT_ONCE):
        part = requests[begin : begin + AT_ONCE]
        left = -(-(len(requests) - begin - len(part)) // AT_ONCE)
        with counting_on(done, left):
            answers += engine.generate(part)
    made = iter(answers)
    codes = [joined_codes([next(made) for _ in run.requests]) for run in saying.runs]
    decoded = [decode(own) for own in codes]
    passes = [(_without_dead_air(audio), latent) for audio, latent in decoded]
    facts: dict[str, Any] = {
        "groups": sum(own.groups for own in codes),
        "phrases": len(requests),
        "voice_shown": round(saying.voice.seconds, 2),
    }
    if len(passes) == 1 and passes[0][0] is decoded[0][0]:
        return passes[0][0], codes[0], passes[0][1], facts
    pauses = [run.pause for run in saying.runs[:-1]]
    return _joined([audio for audio, _ in passes], pauses, seed), None, None, facts


def _without_dead_air(audio: Utterance) -> Utterance:
    """Return a pass with its long silences shortened; the same object where it has none.

    A model that misses the end of a short answer goes on in silence.
    """
    rate, samples = audio.sample_rate, audio.samples
    gone: list[tuple[int, int]] = []
    speech = find_speech(audio)
    for silence in find_silences(audio, speech) if speech else ():
        begin, end = round(silence.start * rate), round(silence.end * rate)
        if begin == 0:
            end -= round(_KEPT * rate)
        elif end >= len(samples):
            begin += round(_KEPT * rate)
        else:
            over = silence.seconds - LONGEST_SILENCE
            begin += round(LONGEST_SILENCE / 2 * rate)
            end = begin + round(over * rate)
        if end - begin >= round(_FADE * rate) and _is_quiet(audio, begin, end):
            gone.append((begin, end))
    if not gone:
        return audio
    kept: list[FloatArray] = []
    at = 0
    for begin, end in gone:
        kept.append(samples[at:begin])
        at = end
    return audio.replace(samples=np.concatenate([*kept, samples[at:]]))


def _is_quiet(audio: Utterance, begin: int, end: int) -> bool:
    """Return whether samples hold nothing that is heard beside the speech around them."""
    loud = np.percentile(frame_levels(audio.samples, audio.sample_rate), 95)
    levels = frame_levels(audio.samples[begin:end], audio.sample_rate)
    return bool(levels.max() <= loud - _BELOW_SPEECH_DB)


def _joined(parts: Sequence[Utterance], pauses: Sequence[float], seed: int) -> Utterance:
    """Join passes by silence: room tone of theirs where they have any, else nothing at all."""
    rate = parts[0].sample_rate
    rng = np.random.default_rng(abs(seed))
    tone = _tone(parts)
    fade = round(_FADE * rate)
    pieces: list[FloatArray] = []
    for place, part in enumerate(parts):
        samples = part.samples.copy()
        size = min(fade, len(samples) // 2)
        ramp = np.sin(0.5 * np.pi * (np.arange(size) + 0.5) / max(1, size)).astype(np.float32)
        if place > 0:
            samples[:size] *= ramp
        if place < len(pauses):
            samples[len(samples) - size :] *= ramp[::-1]
        pieces.append(samples)
        if place < len(pauses):
            length = round(pauses[place] * rate)
            silent = np.zeros(length, np.float32)
            pieces.append(silent if tone is None else extend(tone, length, rate, rng))
    return parts[0].replace(samples=np.concatenate(pieces))


def _tone(parts: Sequence[Utterance]) -> FloatArray | None:
    """Return the quietest moment of the first passes, or None where none is quiet enough."""
    for part in parts[:AT_ONCE]:
        try:
            return quietest_stretch(part)
        except StepeditError:
            continue
    return None
