"""Pairs along a label of speech, such as an emotion or a style: one base for their builders.

Three ways lead to them: renditions of the same words by one speaker (``parallel``), the same
words spoken by an engine with a neutral and a labelled voice prompt of one speaker (``clone``,
the way of the Step-Audio-EditX authors), and the edit's own dsp route on neutral recordings
(``render``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stepedit_core.dsp.words import nominal_seconds
from stepedit_core.edit import Edit
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.errors import StepeditError
from stepedit_core.labels.spelling import by_spelling, plain
from stepedit_core.pairs import (
    BuildContext,
    CorpusItem,
    EditPair,
    PairBuilder,
    PairJob,
    PairOptions,
    Rejected,
)
from stepedit_core.plan import Plan
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.labels.profile import Profile

__all__ = ["MODES", "NEUTRAL", "LabelledPairs"]

MODES = ("parallel", "clone", "render")
DIRECTIONS = ("to", "remove", "between")
NEUTRAL = "neutral"
_NEUTRAL_NAMES = frozenset({"neutral", "normal", "default", "none", "plain", "reading", "regular"})
_MAX_DURATION_RATIO = 3.0
_MAX_CLONED_SECONDS = 30.0


class LabelledPairs(PairBuilder):
    """Pair neutral speech with labelled speech, in the directions asked for."""

    attribute: ClassVar[str]
    """Key of ``CorpusItem.labels`` that holds the label."""
    known: ClassVar[tuple[str, ...]]
    """Labels that the edit takes, without ``remove``."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Labels of corpora that the edit does not have, to the nearest one that it has."""
    spellings: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Label to how corpora and judges spell it besides, lower case with underscores; labels that
    the edit does not take may be among them."""
    thresholds: ClassVar[Mapping[str, float]] = {}
    """Least margin by label, where it is not ``min_margin``."""
    profiles: ClassVar[Mapping[str, Profile]] = {}
    """Usual acoustic shift of each label, for the margin where no scorer is given."""
    default_margin: ClassVar[str | None] = "acoustic"
    options: ClassVar[Mapping[str, str]] = {
        "mode": "parallel (default), clone (needs an engine) or render (the dsp route)",
        "directions": "to, remove, between, joined by +; default to+remove, and all for parallel",
        "labels": "labels to build, joined by +; default all that the corpus or route has",
        "threshold": "least margin for every label; default 6",
        "unlabelled": "neutral: take items without a label as neutral; default: skip them",
    }

    @abstractmethod
    def edit_to(self, label: str) -> Edit:
        """Return the request for a label, or for ``remove``."""

    # Which items meet ------------------------------------------------------------------

    def jobs(self, items: Iterable[CorpusItem], options: Mapping[str, str]) -> Iterator[PairJob]:
        """Yield one job per labelled item (parallel, clone) or neutral item and label (render)."""
        settings = self.settings(options)
        if settings["mode"] == "render":
            yield from self._render_jobs(items, settings)
            return
        by_key: dict[str, dict[str, list[CorpusItem]]] = {}
        for item in items:
            label = self.label_of(item, settings)
            key = _group(item) if settings["mode"] == "parallel" else item.speaker
            if label is not None and key is not None:
                by_key.setdefault(key, {}).setdefault(label, []).append(item)
        meet = _renditions if settings["mode"] == "parallel" else _prompts
        for labelled in by_key.values():
            for label, first, second, text in meet(labelled, settings):
                params = {"label": label, **text}
                key = f"{settings['mode']}:{first.id}>{second.id}"
                yield PairJob(key, (first, second), {**settings, **params})

    def _render_jobs(
        self, items: Iterable[CorpusItem], settings: Mapping[str, Any]
    ) -> Iterator[PairJob]:
        """Yield a job for each neutral item and label that has a dsp route."""
        labels = [x for x in settings["labels"] if self.edit_to(x).route_problem("dsp") is None]
        for item in items:
            if self.label_of(item, settings) == NEUTRAL:
                for label in labels:
                    yield PairJob(
                        f"render:{item.id}>{label}", (item,), {**settings, "label": label}
                    )

    def label_of(self, item: CorpusItem, settings: Mapping[str, Any]) -> str | None:
        """Return an item's label by the names of the edit, ``neutral``, or None for others."""
        named = item.labels.get(self.attribute)
        if not named:
            return NEUTRAL if settings["unlabelled"] else None
        name = plain(named)
        if name in _NEUTRAL_NAMES:
            return NEUTRAL
        name = by_spelling(self.spellings).get(name, name)
        label = self.aliases.get(name, name)
        return label if label in settings["labels"] else None

    # What becomes of them --------------------------------------------------------------

    def build(self, job: PairJob, context: BuildContext) -> Iterator[EditPair | Rejected]:
        """Yield the pairs of one job, in each direction asked for."""
        settings = job.params
        facts = {"mode": settings["mode"], "label": settings["label"]}
        if not (job.items[0].transcript or "").strip():
            yield Rejected("no transcript", facts)
            return
        plain, marked, details = self._utterances(job, context)
        facts.update(details)
        ratio = max(plain.seconds, marked.seconds) / max(0.01, min(plain.seconds, marked.seconds))
        if ratio > _MAX_DURATION_RATIO:
            yield Rejected(
                "durations differ too much for the same words", {**facts, "ratio": ratio}
            )
            return
        marked = marked.replace(transcript=plain.transcript, language=plain.language)
        if settings.get("between"):
            yield self._pair(plain, marked, settings["label"], settings["label"], facts, context)
            return
        if "to" in settings["directions"]:
            yield self._pair(plain, marked, settings["label"], settings["label"], facts, context)
        if "remove" in settings["directions"]:
            yield self._pair(marked, plain, "remove", settings["label"], facts, context)

    def _utterances(
        self, job: PairJob, context: BuildContext
    ) -> tuple[Utterance, Utterance, dict[str, Any]]:
        """Return the two utterances of a job and how they came about."""
        if job.params["mode"] == "render":
            neutral = job.items[0].read()
            made = self.edit_to(job.params["label"]).render(neutral, context.rng)
            return neutral, made.utterance, {"render": dict(made.details)}
        first, second = (item.read() for item in job.items)
        origin = {"from": job.params["between"]} if job.params.get("between") else {}
        if job.params["mode"] == "parallel":
            return first, second, origin
        text = job.params["text"]
        seed = int(context.rng.integers(2**31))
        plain, marked = (_clone(prompt, text, context, seed) for prompt in (first, second))
        assert context.engine is not None
        return plain, marked, {"engine": context.engine.name, "seed": seed}

    def _pair(
        self,
        source: Utterance,
        target: Utterance,
        to: str,
        label: str,
        facts: Mapping[str, Any],
        context: BuildContext,
    ) -> EditPair | Rejected:
        """Return the pair where its margin reaches the label's threshold."""
        ends = (target, source) if to == "remove" else (source, target)
        if context.margin is not None:
            by, margin = context.margin.name, context.margin.margin(*ends, self.edit_to(label))
        else:
            by, margin = "profile", self._profile_margin(*ends, label)
        found = {**facts, "direction": f"to {to}", "margin_by": by}
        if margin is None:
            return Rejected(f"margin of {label} could not be measured", found)
        threshold = self.threshold(label, context.options)
        if margin < threshold:
            return Rejected(
                f"margin of {label} below {threshold:g}", {**found, "margin": round(margin, 2)}
            )
        return EditPair(source, target, self.edit_to(to), margin, found)

    def _profile_margin(self, neutral: Utterance, marked: Utterance, label: str) -> float | None:
        """Measure the margin along the label's usual shift from neutral."""
        from stepedit_core.dsp.acoustics import difference, margin

        profile = self.profiles.get(label)
        return None if profile is None else margin(difference(neutral, marked), profile)

    def threshold(self, label: str, options: Mapping[str, str]) -> float:
        """Return the least margin of a label."""
        given = options.get("threshold")
        return float(given) if given else self.thresholds.get(label, self.min_margin)

    def settings(self, options: Mapping[str, str]) -> dict[str, Any]:
        """Parse the user's options.

        Raises:
            StepeditError: naming the option that is wrong and what it may be.
        """
        asked = PairOptions(options)
        mode = asked.word("mode", MODES)
        every = "to+remove+between" if mode == "parallel" else "to+remove"
        directions = list(asked.words("directions", DIRECTIONS, every))
        labels = list(asked.words("labels", self.known))
        try:
            float(options.get("threshold") or 6)
        except ValueError as error:
            raise StepeditError(
                f"threshold: a number 1..10, got {options['threshold']!r}"
            ) from error
        plain = options.get("unlabelled", "") == NEUTRAL
        return {"mode": mode, "directions": directions, "labels": labels, "unlabelled": plain}


Meeting = tuple[str, CorpusItem, CorpusItem, dict[str, Any]]


def _group(item: CorpusItem) -> str | None:
    """Return the key of renditions of the same words by one speaker."""
    if item.group:
        return item.group
    if item.speaker and item.transcript:
        return f"{item.speaker}|{' '.join(item.transcript.lower().split())}"
    return None


def _renditions(
    labelled: Mapping[str, list[CorpusItem]], settings: Mapping[str, Any]
) -> Iterator[Meeting]:
    """Meet each labelled rendition with a neutral one, and with one of the next label."""
    neutral = labelled.get(NEUTRAL, [])
    others = sorted(label for label in labelled if label != NEUTRAL)
    for label in others:
        for number, item in enumerate(labelled[label]):
            if neutral and {"to", "remove"} & set(settings["directions"]):
                yield label, neutral[number % len(neutral)], item, {}
    if "between" in settings["directions"] and len(others) > 1:
        for place, label in enumerate(others):
            origin = others[place - 1]
            for number, item in enumerate(labelled[label]):
                other = labelled[origin][number % len(labelled[origin])]
                yield label, other, item, {"between": origin}


def _prompts(
    labelled: Mapping[str, list[CorpusItem]], settings: Mapping[str, Any]
) -> Iterator[Meeting]:
    """Meet each labelled prompt of a speaker with a neutral one and words of another item."""
    neutral = [item for item in labelled.get(NEUTRAL, []) if item.transcript]
    texts = list(dict.fromkeys(item.transcript for item in neutral))
    for label in sorted(label for label in labelled if label != NEUTRAL):
        for number, item in enumerate(labelled[label]):
            if neutral and item.transcript:
                spoken = [text for text in texts if text != item.transcript] or texts
                text = {"text": spoken[number % len(spoken)]}
                yield label, neutral[number % len(neutral)], item, text


def _clone(prompt: Utterance, text: str, context: BuildContext, seed: int) -> Utterance:
    """Speak a text in the voice and manner of a prompt.

    Raises:
        StepeditError: if the user gave no engine.
    """
    engine = context.engine
    if engine is None:
        raise StepeditError("mode=clone needs an engine; give one with --engine")
    codes = engine.encode([prompt])[0]
    spoken = (prompt.transcript or "").strip()
    expected = nominal_seconds(text) / max(0.1, nominal_seconds(spoken))
    ratio = min(expected, _MAX_CLONED_SECONDS / max(0.1, prompt.seconds))
    plan = Plan(length_ratio=ratio)
    request = GenerateRequest(Prompt.clone(spoken, text), codes, prompt, seed, plan)
    (answer,) = engine.generate([request])
    decoding = DecodeRequest(answer, prompt, seed, request.source_map(answer.groups))
    made = engine.decode([decoding])[0]
    return made.replace(transcript=text, language=prompt.language)
