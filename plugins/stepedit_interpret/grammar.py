"""The offline interpreter: what a sentence asks for, one interpretation or a choice."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from stepedit_core import (
    Interpretation,
    InterpretationError,
    Interpreter,
    Reading,
    Setting,
    StepeditError,
    sentence_places,
)
from stepedit_core.dsp.words import normalised, split_words
from stepedit_interpret.complaints import refuse_questions, remedied
from stepedit_interpret.confining import confined
from stepedit_interpret.context import Context, Effort, Exhausted, Origin, Unread
from stepedit_interpret.corrections import choice_of, corrected, is_undo
from stepedit_interpret.keeping import refuse_touched, spared
from stepedit_interpret.lexicon import is_chinese
from stepedit_interpret.parting import Done, Parting
from stepedit_interpret.patterns import Vocabulary, vocabulary
from stepedit_interpret.rewording import reworded
from stepedit_interpret.spelling import respelled
from stepedit_interpret.wording import Wording

__all__ = ["Grammar"]

MOST_ALTERNATIVES = 6
MOST_REWORDED = 500
"""Longest sentence that is tried in other words than its own."""

_TEXTS = frozenset({"insert", "replace", "delete", "rewrite", "clone", "remove_fillers"})
_GOES_ON = re.compile(r"\s*(?:and|also|plus|as\s+well\s+as|还有|以及|也)")
_ORDERED = re.compile(r"then|after|before|next|finally|第二步|然后|接着|再|之后")


class Grammar(Interpreter):
    """Reads English and Mandarin by the phrases of the installed edits: no model, no network."""

    name: ClassVar[str] = "grammar"

    def read(
        self, sentence: str, setting: Setting, before: Interpretation | None
    ) -> Interpretation:
        """Return what a sentence asks for; see `Interpreter.read`."""
        words = Wording.of(sentence)
        known = vocabulary(self.registry)
        failure: InterpretationError | None = None
        effort = Effort()
        for one in _wordings(words, known, setting):
            try:
                return self._read(one, Context(known, setting, effort=effort), before)
            except Exhausted as error:
                raise failure or InterpretationError(str(error)) from error
            except InterpretationError as error:
                if failure is None or (error.alternatives and not failure.alternatives):
                    failure = error
        assert failure is not None
        raise failure

    def _read(
        self, words: Wording, context: Context, before: Interpretation | None
    ) -> Interpretation:
        """Read a sentence in one of its wordings."""
        known, setting = context.vocabulary, context.setting
        if before is not None and before.alternatives:
            return replace(choice_of(words, before), earlier=before.earlier)
        if before is not None:
            last = before.readings[-1].region if before.readings else None
            origin = before.readings[-1].origin if before.readings else None
            verb = origin.pattern.ask.verb if isinstance(origin, Origin) else None
            goes_on = _GOES_ON.match(words.low) is not None
            context = replace(context, region=last, verb=verb if goes_on else None)
            answer = corrected(words, context, before)
            if answer is not None:
                past = before.earlier if is_undo(words) and before.earlier else before
                earlier = past.earlier if is_undo(words) else before
                return replace(self._given(answer, setting), earlier=earlier)
        refuse_questions(words)
        try:
            done = Parting(words).all(context)
        except Exhausted:
            raise
        except StepeditError as error:
            if isinstance(error, Unread) and not error.specific:
                raise _refusal(words, known, str(error)) from error
            if isinstance(error, InterpretationError):
                raise InterpretationError(str(error)) from error
            raise InterpretationError(str(error)) from error
        asked = before.readings if before is not None else ()
        return replace(self._joined(done, setting, asked, words), earlier=before)

    def _given(self, readings: tuple[Reading, ...], setting: Setting) -> Interpretation:
        return Interpretation(readings, setting, confine=confined)

    def _joined(
        self, done: Done, setting: Setting, earlier: tuple[Reading, ...], words: Wording
    ) -> Interpretation:
        """Return one interpretation, or the alternatives."""
        choices = [
            [tuple((reading, one.complains) for reading in way) for way in one.ways]
            for one in done.ways
        ]
        every = []
        for chosen in itertools.islice(itertools.product(*choices), MOST_ALTERNATIVES):
            readings = tuple(_without_echoes(_mended(chosen)))
            if not readings and done.kept:
                readings, earlier = earlier, ()
            readings = tuple(spared(one, done.kept, setting) for one in readings)
            _refuse_contradictions(readings, words)
            refuse_touched(readings, done.untouched)
            _refuse_shifted((*earlier, *readings), setting.text)
            every.append(self._given((*earlier, *readings), setting))
        if len(every) == 1:
            if not every[0].readings:
                raise InterpretationError(f"{words.brief()!r} asks for no edit")
            return every[0]
        question = next(one.question for one in done.ways if one.question not in ("", "waits"))
        return Interpretation((), setting, tuple(every), question, confine=confined)


def _wordings(words: Wording, known: Vocabulary, setting: Setting) -> Iterator[Wording]:
    """Yield a sentence as it stands, without courtesies and hesitations, and spelled right."""
    yield words
    if len(words.low) > MOST_REWORDED:
        return
    shorter = reworded(words)
    if shorter is not None:
        yield shorter
    spelled = respelled(words, known, setting.text)
    if spelled is not None:
        yield spelled
        again = reworded(spelled)
        if again is not None:
            yield again


def _mended(
    chosen: tuple[tuple[tuple[Reading, bool], ...], ...],
) -> tuple[tuple[Reading, ...], ...]:
    """Return the readings of each request; a complaint that the next one mends is left out."""
    kept = list(remedied(pair for way in chosen for pair in way))
    if len(kept) == sum(map(len, chosen)):
        return tuple(tuple(reading for reading, _ in way) for way in chosen)
    return tuple((one,) for one in kept)


def _without_echoes(ways: tuple[tuple[Reading, ...], ...]) -> Iterator[Reading]:
    """Yield the readings; "the ums and the uhs" asks once for what takes out both."""
    last: Reading | None = None
    for way in ways:
        if last is None or any(one.edit != last.edit or one.region != last.region for one in way):
            yield from way
        last = way[-1] if way else last


def _refuse_shifted(readings: tuple[Reading, ...], text: str | None) -> None:
    """Refuse places of the transcript as it was, behind an edit that changes it.

    A sound's place is written into the whole text, and a sentence is known by its number.
    """
    for n, one in enumerate(readings):
        changed = [x for x in readings[:n] if x.edit.name in _TEXTS]
        if changed and one.edit.name == "paralinguistic":
            raise InterpretationError(
                f"{one.source!r} after {changed[0].source!r}: the text is another one by then; "
                "ask for the sound in a step of its own"
            )
        gone = [x for x in changed if _counts_anew(x, text or "")]
        if gone and one.region is not None and one.region.sentences:
            raise InterpretationError(
                f"{one.source!r} after {gone[0].source!r}: sentences are counted anew by then; "
                "ask for it the other way round"
            )


def _counts_anew(one: Reading, text: str) -> bool:
    """Return whether an edit changes how many sentences there are."""
    if one.edit.name in ("rewrite", "clone"):
        return True
    data = one.edit.to_data()
    words = [str(data[name]) for name in ("find", "by", "text") if data.get(name)]
    if any(re.search(r"[.!?。！？]\s*\S", some) for some in words):
        return True
    sentences = {_plain(text[start:end]) for start, end in sentence_places(text)}
    return one.edit.name == "delete" and _plain(words[0]) in sentences


def _plain(text: str) -> tuple[str, ...]:
    """Return the words of a text as they are compared."""
    return tuple(normalised(word.text) for word in split_words(text))


def _refuse_contradictions(readings: tuple[Reading, ...], words: Wording) -> None:
    """Refuse two values of one parameter in the same place, unless they are asked for in turn."""
    if _ORDERED.search(words.low):
        return
    for left, right in itertools.combinations(readings, 2):
        same = type(left.edit) is type(right.edit) and left.region == right.region
        origin = left.origin
        if not same or left.edit == right.edit or not isinstance(origin, Origin):
            continue
        slots = origin.pattern.known.phrases.slots
        has_file = any(slots[name].kind == "file" for name in origin.pattern.slots)
        if (origin.pattern.has_words and not has_file) or origin.pattern.ask.place is not None:
            continue
        raise InterpretationError(
            f'{left.source!r} and {right.source!r} contradict each other; say "then" if both are '
            "meant in turn"
        )


def _refusal(words: Wording, known: Vocabulary, why: str) -> InterpretationError:
    """Return the refusal of what no edit does, with the nearest thing that can be done."""
    low = words.shown().lower()
    for one in known.known:
        for regex, because in one.never:
            if regex.search(words.low):
                return InterpretationError(f"{words.brief()!r}: {because}")
    best, nearest = 0.0, None
    asked = set(re.findall(r"[a-z]{3,}|[\u3400-\u9fff]", low))
    chinese = is_chinese(low)
    for one in known.known:
        for example in one.phrases.example if one.phrases.ask else ():
            if is_chinese(example.say) != chinese:
                continue
            shared = asked & set(re.findall(r"[a-z]{3,}|[\u3400-\u9fff]", example.say.lower()))
            near = difflib.SequenceMatcher(None, low[:80], example.say.lower(), autojunk=False)
            score = near.real_quick_ratio() * 0.01 + len(shared) / max(1, len(asked))
            if score > best:
                best, nearest = score, (one, example)
    if nearest is None:
        return InterpretationError(f"{why}; `stepedit edits` lists what can be done")
    one, example = nearest
    return InterpretationError(
        f"{why}; no installed edit does that. The nearest is {one.name} ({one.phrases.does.en}), "
        f"as in {example.say!r}"
    )
