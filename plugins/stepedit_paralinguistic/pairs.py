"""Pairs of the same words without and with a non-verbal sound."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Literal, cast, get_args

from stepedit_core import (
    BuildContext,
    CorpusItem,
    EditPair,
    ForeignWordsError,
    PairBuilder,
    PairJob,
    Rejected,
    StepeditError,
)
from stepedit_core.dsp.words import split_words
from stepedit_paralinguistic.tags import TagSet, event_tag, tags_of

__all__ = ["Method", "ParalinguisticPairs"]

Method = Literal["clone", "remove", "insert", "render"]
METHODS: tuple[Method, ...] = get_args(Method)
_EVENTS_KEPT, _WAITING = 2048, 4096


class ParalinguisticPairs(PairBuilder):
    """Makes a source without and a target with an event, in the way that an item allows.

    ``clone``: the transcript has tags; the engine speaks the words without them in the same
    voice (the quadruplets of the Step-Audio-EditX authors). ``remove``: labels ``event_start``
    and ``event_end`` (seconds) say where the event is, and it is cut out. ``insert``: an event
    recording of the corpus (label ``event``) is put into a pause of plain speech. ``render``:
    the dsp route makes one, only where asked for.
    """

    version: ClassVar[int] = 3
    transcript_kept: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {
        "method": "auto (default: clone, remove or insert, as each item allows), "
        "or one of clone, remove, insert, render",
        "tags": "spelling of tags in the texts, 2025 or 2026 (default)",
        "only": "tags that render draws from, joined by + (default: all that can be made)",
        "backend": "where render takes sounds from: auto (default: recorded, else synthesised), "
        "recorded, synthesised",
    }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield one job for each item of speech; event recordings wait to be inserted.

        Speech is held back, up to 4096 items of metadata, so that events further on in the
        corpus are met; up to 2048 events are kept.
        """
        wanted = _method(options)
        events: list[CorpusItem] = []
        waiting: deque[CorpusItem] = deque()
        for item in items:
            kind = _kind(item)
            if kind == "event":
                if event_tag(item.labels["event"]) is None:
                    yield PairJob(f"{item.id}/event", (item,), {"reject": "event without a tag"})
                elif len(events) < _EVENTS_KEPT:
                    events.append(item)
                continue
            if kind == "insert" and wanted != "render":
                waiting.append(item)
                if len(waiting) > _WAITING:
                    yield _meeting(waiting.popleft(), events, wanted)
                continue
            yield _job(item, "render" if wanted == "render" else kind, wanted)
        for item in waiting:
            yield _meeting(item, events, wanted)

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Carry out the method that ``jobs`` chose for an item."""
        reason = job.params.get("reject")
        if reason is not None:
            labels = dict(job.items[0].labels)
            yield Rejected(str(reason), {"item": job.items[0].id, "labels": labels})
            return
        from stepedit_paralinguistic.pair_methods import PAIR_METHODS

        _method(context.options)
        method = PAIR_METHODS[job.params["method"]]
        try:
            made = method(job, context, _tag_set(context.options))
        except ForeignWordsError as error:
            yield Rejected.not_aligned(job.items[0], error)
            return
        if isinstance(made, EditPair) and made.margin < self.min_margin:
            yield Rejected(f"margin below {self.min_margin:g}", dict(made.details))
            return
        yield made


def _kind(item: CorpusItem) -> str:
    """Return the kind of pair that an item serves, or why it serves none."""
    has_words = bool(split_words(item.transcript or ""))
    labels = item.labels
    if not has_words:
        return "event" if labels.get("event") else "no transcript"
    if labels.get("event_start") and labels.get("event_end"):
        return "remove"
    if tags_of(item.transcript or ""):
        return "clone"
    return "insert" if not labels.get("event") else "the event's place is not labelled"


def _job(item: CorpusItem, kind: str, wanted: str) -> PairJob:
    """Return the job of one item by a method, or one that rejects it with the reason."""
    if kind not in METHODS:
        return PairJob(item.id, (item,), {"reject": kind})
    if wanted not in ("auto", kind):
        return PairJob(item.id, (item,), {"reject": f"not fit for method={wanted}"})
    if kind == "render" and _kind(item) != "insert":
        return PairJob(item.id, (item,), {"reject": "not plain speech with a transcript"})
    return PairJob(item.id, (item,), {"method": kind})


def _meeting(item: CorpusItem, events: list[CorpusItem], wanted: str) -> PairJob:
    """Return a job that joins speech with an event: of its speaker if possible, same split."""
    fitting = [event for event in events if event.split == item.split]
    own = [event for event in fitting if event.speaker and event.speaker == item.speaker]
    choice = own or fitting
    if wanted not in ("auto", "insert"):
        return _job(item, "insert", wanted)
    if not choice:
        reason = "no event recordings to insert (label event); method=render makes some"
        return PairJob(item.id, (item,), {"reject": reason})
    event = choice[zlib.crc32(item.id.encode()) % len(choice)]
    return PairJob(f"{item.id}+{event.id}", (item, event), {"method": "insert"})


def _method(options: Mapping[str, str]) -> str:
    """Return the method asked for; raises StepeditError for an unknown one."""
    method = options.get("method", "auto")
    if method not in ("auto", *METHODS):
        raise StepeditError(f"method={method}: there is auto, {', '.join(METHODS)}")
    return method


def _tag_set(options: Mapping[str, str]) -> TagSet:
    """Return the spelling asked for; raises StepeditError for an unknown one."""
    tags = options.get("tags", "2026")
    if tags not in get_args(TagSet):
        raise StepeditError(f"tags={tags}: there is {', '.join(get_args(TagSet))}")
    return cast(TagSet, tags)
