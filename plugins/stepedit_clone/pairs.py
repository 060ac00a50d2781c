"""Pairs for cloning: two recordings of one speaker, one the voice prompt, one the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import ClassVar

from stepedit_clone.edit import Clone
from stepedit_clone.prompt import DIALECTS, Dialect
from stepedit_core import (
    MAX_MARGIN,
    MIN_MARGIN,
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    Rejected,
    StepeditError,
)
from stepedit_core.dsp.words import normalised, split_words

__all__ = ["ClonePairs", "novelty"]

_LANGUAGES: Mapping[str, Dialect] = {"ja": "Japanese", "ko": "Korean", "yue": "Cantonese"}


class ClonePairs(PairBuilder):
    """Pairs each recording with the one of the same speaker before it in the corpus.

    The margin says how new the target's words are: 1 for the prompt's own words, 10 for none of
    them, because a target that can be copied from the prompt teaches no speaking.
    """

    transcript_kept: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {
        "min_seconds": "shortest voice prompt, in seconds (default 1)",
        "max_seconds": "longest recording on either side, in seconds (default 30)",
    }

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield prompt and target; what has no partner is a job of one item, to be rejected."""
        previous: dict[tuple[str, str], CorpusItem] = {}
        alone: dict[tuple[str, str], CorpusItem] = {}
        for item in items:
            if item.speaker is None:
                yield PairJob(f"{item.id}/alone", (item,), {"reason": "no speaker label"})
                continue
            voice = (item.corpus, item.speaker)
            partner = previous.get(voice)
            previous[voice] = item
            if partner is None:
                alone[voice] = item
                continue
            alone.pop(voice, None)
            yield PairJob(f"{partner.id}->{item.id}", (partner, item))
        for item in alone.values():
            reason = "only recording of its speaker"
            yield PairJob(f"{item.id}/alone", (item,), {"reason": reason})

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Read both recordings and check that they can teach cloning."""
        if len(job.items) == 1:
            yield Rejected(str(job.params.get("reason", "no partner")), {"item": job.items[0].id})
            return
        prompt, target = job.items
        if not (prompt.transcript or "").strip() or not split_words(target.transcript or ""):
            yield Rejected("no transcript", {"prompt": prompt.id, "target": target.id})
            return
        shortest, longest = (
            _seconds(context, "min_seconds", 1),
            _seconds(context, "max_seconds", 30),
        )
        source, spoken = prompt.read(), target.read()
        if source.seconds < shortest or max(source.seconds, spoken.seconds) > longest:
            lengths = {"prompt_seconds": source.seconds, "target_seconds": spoken.seconds}
            yield Rejected(f"not within {shortest:g}..{longest:g} s", lengths)
            return
        new = novelty(prompt.transcript or "", target.transcript or "")
        margin = MIN_MARGIN + (MAX_MARGIN - MIN_MARGIN) * new
        if margin < self.min_margin:
            yield Rejected(f"margin below {self.min_margin:g}", {"margin": margin, "novelty": new})
            return
        edit = Clone(text=target.transcript or "", dialect=_dialect(target))
        details = {"speaker": prompt.speaker, "prompt": prompt.id, "target": target.id}
        yield EditPair(source, spoken, edit, margin, {**details, "novelty": round(new, 4)})


def novelty(known: str, new: str) -> float:
    """Return the share of a text's words that do not follow another text's, 0..1."""
    before = [normalised(word.text) for word in split_words(known)]
    after = [normalised(word.text) for word in split_words(new)]
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return 1.0 - sum(block.size for block in blocks) / max(1, len(after))


def _dialect(item: CorpusItem) -> Dialect | None:
    """Return the tag of an item's dialect label or language, if it has one."""
    named = {dialect.casefold(): dialect for dialect in DIALECTS}
    labelled = named.get(item.labels.get("dialect", "").casefold())
    return labelled or _LANGUAGES.get((item.language or "").split("-")[0].lower())


def _seconds(context: BuildContext, name: str, default: float) -> float:
    """Return a duration among the options.

    Raises:
        StepeditError: if it is not a positive number.
    """
    raw = context.options.get(name, str(default))
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise StepeditError(f"{name}={raw}: give a number of seconds above 0")
    return value
