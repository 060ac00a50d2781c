"""Every hook that a plugin may implement: this file is the plugin reference.

A plugin is a module, class or object with methods marked by ``stepedit_core.hookimpl``. It is
found by an entry point in the group ``stepedit``, by ``stepedit -p FILE.py``, or through
``registry.register(obj)``. An implementation may leave out arguments that it does not need.
Keep heavy imports inside the bodies: listing edits must not load them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import click
    import numpy as np

    from stepedit_core.alignment import Aligner, Listener, Recogniser
    from stepedit_core.chain.chain import ChainResult
    from stepedit_core.codes import DualCodes
    from stepedit_core.config import EngineConfig
    from stepedit_core.edit import Edit, Outcome, Route
    from stepedit_core.engine import SpeechEngine
    from stepedit_core.interpretation import Interpreter
    from stepedit_core.marks.mark import Mark
    from stepedit_core.pairs import CorpusReader, MarginScorer, PairBuilder
    from stepedit_core.phrases import Phrases
    from stepedit_core.recording.speakers import Diariser
    from stepedit_core.reward import Reward
    from stepedit_core.scoring import Case, Judge, Measures, Scorer
    from stepedit_core.utterance import Utterance

__all__ = ["PROJECT", "Proceed", "hookimpl", "hookspec"]

PROJECT = "stepedit"


class Proceed(Protocol):
    """Callable by which ``stepedit_apply`` has the rest carried out."""

    def __call__(self, utterance: Utterance = ..., rng: np.random.Generator = ...) -> Outcome:
        """Return the outcome of the rest, of the same utterance or of another one."""


hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def stepedit_edits() -> Sequence[type[Edit]]:  # type: ignore[empty-body]
    """Return the edit classes that the plugin brings.

    Called whenever the registry lists or looks up edits; answers are collected. A name that
    two plugins bring is refused, naming both distributions.
    """


@hookspec
def stepedit_pair_builder(edit: type[Edit]) -> PairBuilder | None:
    """Return the builder of large-margin pairs for an edit class, or None for other classes.

    Called by ``stepedit pairs``. Exactly one plugin may answer; the user picks with
    ``--builder PLUGIN`` where several do.
    """


@hookspec
def stepedit_scorer(edit: type[Edit]) -> Scorer | None:
    """Return the benchmark scorer for an edit class, or None for other classes.

    Called by ``stepedit bench``. Exactly one plugin may answer, so that installing a package
    never changes a figure in silence; the user picks with ``--scorer PLUGIN``.
    """


@hookspec
def stepedit_cases(edit: type[Edit], suite: str) -> Iterable[Case] | None:
    """Return the benchmark items of a suite for an edit class, or None.

    Called by ``stepedit bench`` with ``suite="default"`` or the name that the user gave.
    Exactly one plugin may answer for one edit and suite.
    """


@hookspec
def stepedit_corpora() -> Sequence[CorpusReader]:  # type: ignore[empty-body]
    """Return readers of corpus layouts; answers are collected, names must differ."""


@hookspec
def stepedit_margin_scorers() -> Sequence[MarginScorer]:  # type: ignore[empty-body]
    """Return scorers of the margin between source and target, collected by name."""


@hookspec
def stepedit_judges() -> Sequence[type[Judge]]:  # type: ignore[empty-body]
    """Return judge classes that scorers may ask, collected by name."""


@hookspec(firstresult=True)
def stepedit_measures() -> Measures | None:
    """Return the measurements that scorers are given when an edit is to be accepted, or None.

    Called once for each chain that has limits (`Accept`); the first answer wins. Backends load on
    first use, and one that is not installed raises `StepeditError`, which the chain's notes say.
    """


@hookspec
def stepedit_recognisers() -> Sequence[type[Recogniser]]:  # type: ignore[empty-body]
    """Return classes that hear words, collected by ``name``; names must differ.

    Called when words are needed and nobody gave them, and by ``stepedit transcribe``. ``auto``
    takes the one of lowest ``rank`` that is installed and knows the language.
    """


@hookspec
def stepedit_aligners() -> Sequence[type[Aligner]]:  # type: ignore[empty-body]
    """Return classes that time the words of a transcript, collected by ``name``.

    Called when an edit or a region needs word times, and by ``stepedit align``; chosen as
    recognisers are.
    """


@hookspec
def stepedit_diarisers() -> Sequence[type[Diariser]]:  # type: ignore[empty-body]
    """Return classes that tell speakers apart, collected by ``name``; names must differ.

    Called when a speaker is asked for and no subtitles say who speaks; chosen as recognisers are.
    """


@hookspec(firstresult=True)
def stepedit_load_listener(
    kind: type[Listener], model: str | None, threads: int
) -> Listener | None:
    """Return a recogniser, aligner or diariser of a class, loaded elsewhere, or None.

    Called whenever one is needed; the first answer wins, and without one ``kind(model,
    threads=threads)`` is loaded here. A service has them in processes of their own. The same
    arguments give the same object.
    """


@hookspec
def stepedit_rewards() -> Sequence[type[Reward]]:  # type: ignore[empty-body]
    """Return classes that reward answers in training, collected by ``name``; names must differ.

    Called by ``stepedit train grpo`` and ``ppo``, whose settings name rewards and weigh them. The
    scorer of every edit is one already, under the name ``scorer``.
    """


@hookspec
def stepedit_phrases(edit: type[Edit]) -> Phrases | None:
    """Return the phrases that ask for an edit class, in English and Mandarin, or None for others.

    Called when a sentence is read. Exactly one plugin may answer. Ship a ``phrases.toml`` and
    return ``read_phrases(text, edit.name)``.
    """


@hookspec
def stepedit_interpreters() -> Sequence[type[Interpreter]]:  # type: ignore[empty-body]
    """Return classes that turn a sentence into a chain, collected by ``name``."""


@hookspec
def stepedit_marks() -> Sequence[type[Mark]]:  # type: ignore[empty-body]
    """Return classes that mark audio as edited, collected by ``name``; names must differ.

    Called by ``stepedit edit --mark NAME``, ``write_marked`` and ``stepedit verify``.
    """


@hookspec(firstresult=True)
def stepedit_load_engine(config: EngineConfig) -> SpeechEngine | None:
    """Load the engine that a configuration names, or decline with None.

    The first answer wins; core's own loader comes last. Other kinds of engines plug in here.
    """


@hookspec(firstresult=True)
def stepedit_apply(
    edit: Edit,
    utterance: Utterance,
    engine: SpeechEngine | None,
    rng: np.random.Generator,
    route: Route,
    codes: DualCodes | None,
    proceed: Proceed,
) -> Outcome | None:
    """Carry out one edit by one route, or wrap what carries it out: this hook is middleware.

    Implementations are nested, those of plugins registered last outermost (pluggy's
    ``tryfirst`` and ``trylast`` hold), core's own innermost. ``proceed()`` calls the rest and
    returns its outcome. An implementation may call it once and look at or replace the outcome
    (watermark, timing), not at all and answer by itself (cache, other ways of carrying out), or
    several times and choose (retry, gate, best of N); without having called it, None declines.
    Leave ``proceed`` out of the arguments where you only answer or decline.

    ``proceed`` takes another ``utterance`` or ``rng`` by keyword. Every call draws on from the
    same ``rng``, so a second one is a new attempt, and the whole stays repeatable. What the rest
    raises comes out of ``proceed`` and may be caught; what an implementation raises itself is
    reported as its own plugin's error.

    Core sets what the step says of its route and its engine, and records each plugin that
    answered by itself, called the rest more than once, or replaced its outcome.

    ``@hookimpl(wrapper=True)``, which yields once and cannot repeat, keeps working.

    Example:
        A cache, keyed by what the outcome depends on::

            @hookimpl
            def stepedit_apply(self, edit, utterance, rng, route, proceed):
                key = (edit, utterance.digest, route, repr(rng.bit_generator.state))
                if key not in self.kept:
                    self.kept[key] = proceed()
                return self.kept[key]

    Args:
        edit: the request.
        utterance: what to edit.
        engine: the engine; never None where ``route`` is ``llm``.
        rng: the only source of randomness.
        route: ``llm`` or ``dsp``, as validated before the chain began.
        codes: codes of ``utterance`` carried over from the step before, if any.
        proceed: carries out the rest.
    """


@hookspec
def stepedit_chain_finished(result: ChainResult) -> None:
    """Receive the result of a chain that has finished; what is returned is ignored."""


@hookspec
def stepedit_commands(cli: click.Group) -> None:
    """Add commands to the command line group ``cli``; called once, when it is built."""
