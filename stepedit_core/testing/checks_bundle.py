"""Contract checks of what comes with an edit: its pair builder and its scorer."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from stepedit_core.errors import AudioError
from stepedit_core.pairs import BuildContext, CorpusItem, EditPair, PairBuilder, Rejected
from stepedit_core.scoring import Case, Measures, Prepared, Score, Scorer
from stepedit_core.testing.cheats import WORDLESS
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.fake_measures import FailingMeasures
from stepedit_core.testing.subject import Subject, load_case_audio, require, skip

__all__ = ["BUNDLE_CHECKS", "build_pairs"]

_MAX_JOBS, _ENOUGH_PAIRS = 12, 12
_REPEATED_JOBS, _REPEATED_PAIRS = 3, 3
_MAX_CASES = 6


def build_pairs(
    subject: Subject,
    builder: PairBuilder,
    items: list[CorpusItem],
    limit: int = _MAX_JOBS,
    enough: int = _ENOUGH_PAIRS,
) -> list[EditPair | Rejected]:
    """Run the first jobs of a builder over a corpus, each from its own seed.

    Args:
        subject: the edit.
        builder: its builder.
        items: the corpus.
        limit: most jobs that run.
        enough: pairs after which no further job runs; one job may give many.
    """
    built: list[EditPair | Rejected] = []
    options = subject.builder_options
    scorers = subject.registry.named("stepedit_margin_scorers", lambda scorer: scorer.name)
    keys = set()
    for number, job in enumerate(builder.jobs(list(items), options)):
        require(job.key not in keys, f"{subject.name}: two jobs have the key {job.key!r}")
        keys.add(job.key)
        if number >= limit or sum(isinstance(one, EditPair) for one in built) >= enough:
            continue
        context = BuildContext(
            np.random.default_rng([0, number]),
            options,
            FakeEngine(),
            scorers.get(builder.default_margin or ""),
            lambda rng, n: [items[int(i)] for i in rng.integers(0, len(items), n)],
        )
        try:
            built += [_known(subject, item) for item in builder.build(job, context)]
        except AudioError as error:
            built.append(Rejected(str(error)))
    return built


def _known(subject: Subject, item: object) -> EditPair | Rejected:
    """Return what a builder yielded if it is a pair or a rejection; fail otherwise."""
    kind = type(item).__name__
    require(isinstance(item, EditPair | Rejected), f"{subject.name}: build() yielded {kind}")
    assert isinstance(item, EditPair | Rejected)
    return item


def _builder(subject: Subject) -> PairBuilder:
    """Return the edit's pair builder, or skip."""
    builder = subject.bundled("pair_builder")
    if builder is None:
        skip("brings no pair builder")
    require(isinstance(builder, PairBuilder), f"{type(builder).__name__} is no PairBuilder")
    assert isinstance(builder, PairBuilder)
    return builder


def _marks(built: list[EditPair | Rejected]) -> list[object]:
    """Return the identity of each pair or rejection."""
    return [
        (item.source.digest, item.target.digest, item.edit, item.margin)
        if isinstance(item, EditPair)
        else item.reason
        for item in built
    ]


def builds_good_pairs(subject: Subject) -> None:
    """Check a builder on a small corpus: seeded, roles, margins, words, rejections."""
    builder = _builder(subject)
    version = type(builder).version
    require(isinstance(version, int) and version >= 1, f"{subject.name}: version is {version!r}")
    with tempfile.TemporaryDirectory() as folder:
        items = subject.corpus(Path(folder))
        built = build_pairs(subject, builder, items)
        again = _marks(build_pairs(subject, builder, items, _REPEATED_JOBS, _REPEATED_PAIRS))
        require(
            _marks(built)[: len(again)] == again,
            f"{subject.name}: same corpus and seed, other pairs",
        )
    pairs = [item for item in built if isinstance(item, EditPair)]
    if not pairs:
        reasons = Counter(item.reason for item in built if isinstance(item, Rejected))
        skip(f"no pair from the contract corpus ({dict(reasons) or 'no job'}); set corpus")
    for pair in pairs:
        _check_pair(subject, builder, pair)


def _check_pair(subject: Subject, builder: PairBuilder, pair: EditPair) -> None:
    """Hold the rules of one pair."""
    what = f"{subject.name}: pair for {pair.edit}"
    require(isinstance(pair.edit, subject.edit_class), f"{what} is of another class")
    require(pair.source.digest != pair.target.digest, f"{what}: source and target are the same")
    for role, side in (("source", pair.source), ("target", pair.target)):
        require(side.problem() is None, f"{what}: {role}: {side.problem()}")
    require(pair.margin >= builder.min_margin, f"{what}: margin {pair.margin} is below its minimum")
    if type(builder).transcript_kept:
        require(
            pair.source.transcript == pair.target.transcript,
            f"{what}: the words change, but transcript_kept is True",
        )


def _scorer(subject: Subject) -> Scorer:
    """Return the edit's scorer, or skip."""
    scorer = subject.bundled("scorer")
    if scorer is None:
        skip("brings no scorer")
    require(isinstance(scorer, Scorer), f"{type(scorer).__name__} is no Scorer")
    assert isinstance(scorer, Scorer)
    return scorer


def _prepared(subject: Subject, scorer: Scorer) -> list[tuple[Case, Prepared]]:
    """Prepare the first cases, or skip where there are none."""
    cases = subject.cases()[:_MAX_CASES]
    if not cases:
        skip("brings no cases to score")
    ready = []
    for number, case in enumerate(cases):
        clean = load_case_audio(case, subject.folder)
        first, again = (
            scorer.prepare(case, clean, np.random.default_rng(number)) for _ in range(2)
        )
        require(first.source == again.source, f"case {case.id}: prepare() ignores its rng's seed")
        ready.append((case, first))
    return ready


def _score(
    scorer: Scorer, case: Case, prepared: Prepared, measures: Measures, *, reference: bool = False
) -> Score:
    """Score the untouched input, or the ideal output, and hold what every score keeps."""
    output = prepared.reference if reference and prepared.reference else prepared.source
    score = scorer.score(case, prepared, output, measures)
    require(isinstance(score, Score), f"case {case.id}: score() gave {type(score).__name__}")
    for metric, value in score.values.items():
        fine = value is None or math.isfinite(value)
        require(fine, f"case {case.id}: {metric} is {value}; give None where it failed")
    return score


def scores_untouched_input_low(subject: Subject) -> None:
    """Check that handing the input back does not reach the target in every case."""
    scorer = _scorer(subject)
    require(type(scorer).version >= 1, f"{subject.name}: the scorer's version is a number from 1")
    scores = [
        _score(scorer, case, ready, subject.measures) for case, ready in _prepared(subject, scorer)
    ]
    if all(score.reached is None for score in scores):
        skip("every case needs a judge or a model")
    require(
        not all(score.reached for score in scores),
        f"{subject.name}: the untouched input reaches the target in every case",
    )


def scores_the_reference_higher(subject: Subject) -> None:
    """Check that the ideal output, where one is known, beats the untouched input."""
    scorer = _scorer(subject)
    judged = [
        (
            case,
            _score(scorer, case, ready, subject.measures, reference=True),
            _score(scorer, case, ready, subject.measures),
        )
        for case, ready in _prepared(subject, scorer)
        if ready.reference is not None
    ]
    measured = [row for row in judged if row[1].reached is not None and row[2].reached is not None]
    if not measured:
        skip("no case has a reference that scores without a model")
    for case, ideal, plain in measured:
        require(
            ideal.reached or not plain.reached,
            f"case {case.id}: the input scores higher than the reference",
        )
    require(any(row[1].reached for row in measured), f"{subject.name}: no reference is reached")


def leaves_failures_unscored(subject: Subject) -> None:
    """Check that a failed measurement or judge gives an unscored case, never a 0."""
    scorer = _scorer(subject)
    for case, ready in _prepared(subject, scorer):
        failed = _score(scorer, case, ready, FailingMeasures())
        if failed.reached is None:
            continue
        normal = _score(scorer, case, ready, subject.measures)
        require(
            failed.reached == normal.reached,
            f"case {case.id}: a failed measurement changes the verdict to {failed.reached}",
        )


def refuses_what_says_nothing(subject: Subject) -> None:
    """Check that silence, tones and noise are not taken for the edit; see ``testing.cheats``."""
    scorer = _scorer(subject)
    case, ready = _prepared(subject, scorer)[0]
    fooled = []
    for name, cheat in WORDLESS.items():
        output = cheat(ready.source).replace(transcript="")
        score = scorer.score(case, ready, output, subject.measures)
        if score.reached:
            fooled.append(name)
    require(
        not fooled,
        f"case {case.id}: {', '.join(fooled)} reached the target; ask words_kept() of "
        "stepedit_core.scoring, or measure what only the edit does",
    )


BUNDLE_CHECKS = (
    builds_good_pairs,
    scores_untouched_input_low,
    scores_the_reference_higher,
    leaves_failures_unscored,
    refuses_what_says_nothing,
)
"""Checks of the pair builder and the scorer."""
