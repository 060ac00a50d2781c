"""The methods of the pair builder: clone, remove, insert and render an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    BuildContext,
    DecodeRequest,
    EditPair,
    GenerateRequest,
    PairJob,
    Patch,
    Plan,
    Prompt,
    Rejected,
    Span,
    StepeditError,
    Utterance,
    splice,
)
from stepedit_core.dsp.words import nominal_seconds, split_words, without_tags
from stepedit_paralinguistic.alignment import Alignment, align
from stepedit_paralinguistic.edit import SYNTHESISED, Backend, Paralinguistic
from stepedit_paralinguistic.insertion import Event, hold_own_words, put_in
from stepedit_paralinguistic.material import (
    audibility,
    in_version,
    known_tags,
    tagged_text,
    trimmed,
)
from stepedit_paralinguistic.recorded import LEVEL, LEVELS, RECORDED, loud_level
from stepedit_paralinguistic.tags import TagSet, event_tag, tags_of, with_spelling
from stepedit_paralinguistic.voice import analyse, room_tone

__all__ = ["PAIR_METHODS", "clone", "insert", "remove", "render"]

FloatArray = npt.NDArray[np.float64]

_PAUSE = 0.08


def clone(job: PairJob, context: BuildContext, tags: TagSet) -> EditPair | Rejected:
    """Let the engine say the words without tags in the voice of a tagged recording."""
    if context.engine is None:
        return Rejected("cloning needs an engine", {"item": job.items[0].id})
    target = job.items[0].read()
    tagged = known_tags(target.transcript or "")
    try:
        edit = Paralinguistic(text=with_spelling(tagged, tags), tags=tags)
    except ValueError as error:
        return Rejected("tags unknown to the model version", {"error": str(error)})
    words = without_tags(tagged)
    (codes,) = context.engine.encode([target])
    seed = int(context.rng.integers(2**63))
    spoken = nominal_seconds(words)
    events = sum(SYNTHESISED.get(tag.tag, 0.6) for tag in tags_of(tagged))
    ratio = max(0.2, 1 - events / max(target.seconds, events + spoken))
    prompt = Prompt.clone(tagged, words)
    request = GenerateRequest(prompt, codes, target, seed, Plan(length_ratio=ratio))
    (made,) = context.engine.generate([request])
    source_map = request.source_map(made.groups)
    (source,) = context.engine.decode([DecodeRequest(made, target, seed, source_map)])
    source = source.replace(transcript=words, language=target.language)
    details = {
        "method": "clone",
        "engine": dict(context.engine.describe()),
        "seed": seed,
        "margin_of": "the corpus's own tag, not measured",
    }
    target = target.replace(transcript=edit.text)
    margin = None if context.margin is None else context.margin.margin(source, target, edit)
    return EditPair(source, target, edit, 8.0 if margin is None else margin, details)


def remove(job: PairJob, context: BuildContext, tags: TagSet) -> EditPair | Rejected:
    """Cut a labelled event out of a recording; the recording itself is the target."""
    item = job.items[0]
    target = item.read()
    try:
        span = Span(float(item.labels["event_start"]), float(item.labels["event_end"]))
    except ValueError:
        return Rejected("event times are not numbers", dict(item.labels))
    if not 0 <= span.start < span.end <= target.seconds + 1e-3 or span.seconds < 0.05:
        return Rejected("event times are not in the recording", dict(item.labels))
    span = Span(span.start, min(span.end, target.seconds))
    words = without_tags(item.transcript or "")
    tone = room_tone(target, round(0.08 * target.sample_rate), context.rng)
    source, _ = splice(target, [Patch(span, tone.astype(np.float32))])
    source = source.replace(transcript=words)
    details: dict[str, Any] = {"method": "remove", "event_span": list(span)}
    if tags_of(item.transcript or ""):
        text = known_tags(item.transcript or "")
    else:
        tag = event_tag(item.labels.get("event", ""))
        if tag is None:
            return Rejected("event without a tag", dict(item.labels))
        hold_own_words(source)
        alignment = align(source, split_words(words), words)
        before = sum(word.start + word.end < 2 * (span.start + 0.02) for word in alignment.words)
        text = tagged_text(words, before, tag)
        details |= {"aligner": alignment.aligner, "after_word": before}
    return _pair(source, target, text, tags, span, details)


def insert(job: PairJob, context: BuildContext, tags: TagSet) -> EditPair | Rejected:
    """Put an event recording into a pause of speech, or at its end."""
    item, recorded = job.items
    source = item.read()
    tag = event_tag(recorded.labels["event"])
    if tag is None:
        return Rejected("event without a tag", dict(recorded.labels))
    sound = trimmed(recorded.read().resample(source.sample_rate))
    if sound is None:
        return Rejected("event is not 0.1..3 s long", {"event": recorded.id})
    words = without_tags(item.transcript or "")
    hold_own_words(source.replace(transcript=words))
    alignment = align(source, split_words(words), words)
    word = _free_gap(alignment, context.rng)
    wanted = analyse(source).level * 10 ** (LEVELS.get(tag, LEVEL) / 20)
    sound = sound * (wanted / loud_level(sound))
    target, (report,) = put_in(source, [Event(tag, word, sound)], alignment, context.rng)
    same = recorded.speaker is not None and recorded.speaker == item.speaker
    details = {
        "method": "insert",
        "aligner": alignment.aligner,
        "event": recorded.id,
        "event_licence": recorded.licence,
        "same_speaker": same,
        **report,
    }
    text = tagged_text(words, word, tag)
    span = Span(*report["output_span"])
    return _pair(source.replace(transcript=words), target, text, tags, span, details)


def render(job: PairJob, context: BuildContext, tags: TagSet) -> EditPair | Rejected:
    """Let the dsp route make an event of a random kind at a random place."""
    source = job.items[0].read()
    backend = _backend(context.options)
    known = _drawn(context.options.get("only", ""), tags, backend)
    tag = known[int(context.rng.integers(len(known)))]
    words = without_tags(source.transcript or "")
    source = source.replace(transcript=words)
    hold_own_words(source)
    alignment = align(source, split_words(words), words)
    text = tagged_text(words, _free_gap(alignment, context.rng), tag)
    rendered = Paralinguistic(text=text, backend=backend).render(source, context.rng)
    (report,) = rendered.details["events"]
    details = {"method": "render", "aligner": alignment.aligner, **report}
    target, span = rendered.utterance, Span(*report["output_span"])
    return _pair(source, target, text, tags, span, details)


PAIR_METHODS: Mapping[str, Callable[[PairJob, BuildContext, TagSet], EditPair | Rejected]] = {
    "clone": clone,
    "remove": remove,
    "insert": insert,
    "render": render,
}
"""Method of the builder, as its option names it."""


def _backend(options: Mapping[str, str]) -> Backend:
    """Return where sounds are taken from; raises StepeditError for an unknown backend."""
    backend = options.get("backend", "auto")
    if backend not in get_args(Backend):
        raise StepeditError(f"backend={backend}: there is {', '.join(get_args(Backend))}")
    return cast(Backend, backend)


def _drawn(only: str, tags: TagSet, backend: Backend) -> list[str]:
    """Return the tags to draw from; raises StepeditError for one that cannot be made."""
    sources = {"recorded": RECORDED, "synthesised": SYNTHESISED}
    made = sources.get(backend, {**SYNTHESISED, **RECORDED})
    known = [tag for tag in made if in_version(tag, tags)]
    wanted = [name.strip() for name in only.split("+") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise StepeditError(f"only={only}: cannot make {unknown[0]}; {', '.join(known)}")
    return wanted or known


def _pair(
    source: Utterance,
    target: Utterance,
    text: str,
    tags: TagSet,
    span: Span,
    details: dict[str, Any],
) -> EditPair | Rejected:
    """Return a pair with the margin of its event."""
    try:
        edit = Paralinguistic(text=with_spelling(text, tags), tags=tags)
    except ValueError as error:
        return Rejected("tag unknown to the model version", {"error": str(error)})
    margin, level = audibility(target, span)
    details = {**details, "event_over_quiet_db": round(level, 1)}
    return EditPair(source, target.replace(transcript=edit.text), edit, margin, details)


def _free_gap(alignment: Alignment, rng: np.random.Generator) -> int:
    """Draw a place for an event: one of the pauses between words, or the end."""
    count = len(alignment.words)
    paused = [word for word in range(1, count) if alignment.gap(word).seconds >= _PAUSE]
    return int(rng.choice([*paused, count]))
