"""Choose the judge of each task, and record its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepedit_core.errors import PluginError, StepeditError, suggest
from stepedit_core.labels.profile import profiles_of
from stepedit_core.registry.registry import get_registry
from stepedit_core.scoring import Judge, Verdict
from stepedit_core.utterance import Utterance

__all__ = ["JudgeChoice", "RecordingJudge", "default_judge", "judge_classes", "parse_judges"]

_BY_PROFILES = "acoustic"
"""Asked about edits whose labels have profiles, where neither user nor scorer names a judge."""

TakeNote = Callable[[str, tuple[str, ...], Utterance, Verdict], None]
"""Takes the task, the labels offered, the utterance judged, and the answer."""


def judge_classes() -> Mapping[str, type[Judge]]:
    """Return the judges of all plugins by name."""
    return get_registry().named("stepedit_judges", lambda judge: str(judge.name))


def parse_judges(texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME`` (for every task) or ``TASK=NAME`` from ``--judge``.

    Raises:
        StepeditError: if a judge does not exist, or a task is given two.
    """
    chosen: dict[str, str] = {}
    known = judge_classes()
    for text in texts:
        task, _, name = text.rpartition("=")
        if name not in known:
            there = ", ".join(known) or "none is installed"
            raise StepeditError(f"no judge {name!r}{suggest(name, known)} (there is: {there})")
        if chosen.setdefault(task or "*", name) != name:
            raise StepeditError(f"--judge: two judges for {task or 'every task'}; give one")
    return chosen


def default_judge(task: str) -> str | None:
    """Return the judge that a task's scorer names, or the acoustic one where profiles exist.

    Args:
        task: name of an edit; any other has no default.
    """
    registry = get_registry()
    info = registry.edits().get(task)
    for pick in () if info is None else (info.plugin.name, None):
        assert info is not None
        try:
            named = registry.scorer(info.edit_class, pick).judge
        except PluginError:
            continue
        return named or (_BY_PROFILES if profiles_of(registry, task) else None)
    return None


class JudgeChoice:
    """The judge of each task, made on first use."""

    def __init__(
        self,
        names: Mapping[str, str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Hold task to judge name (``*`` for every task) and judge name to its arguments."""
        self.names = dict(names or {})
        self.options = {name: dict(values) for name, values in (options or {}).items()}
        self._made: dict[str, Judge] = {}

    def name_for(self, task: str) -> str | None:
        """Return the name of the judge asked for a task, or None."""
        return self.names.get(task) or self.names.get("*") or default_judge(task)

    def for_task(self, task: str) -> Judge:
        """Return the judge of a task.

        Raises:
            StepeditError: if none is chosen, it does not exist, or it cannot judge the task.
        """
        name = self.name_for(task)
        if name is None:
            raise StepeditError(f"no judge for {task!r}; choose one with --judge {task}=NAME")
        if name not in self._made:
            classes = judge_classes()
            if name not in classes:
                raise PluginError(f"no judge {name!r}, which {task!r} needs; see --judge")
            try:
                self._made[name] = classes[name](**self.options.get(name, {}))
            except TypeError as error:
                raise StepeditError(f"judge {name!r}: {error}") from error
        judge = self._made[name]
        if task not in judge.tasks():
            can = ", ".join(judge.tasks())
            raise StepeditError(f"judge {name!r} cannot judge {task!r}, only {can}")
        return judge

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return name, version and model of every judge that may be asked; JSON data.

        A judge that asks a model by name states its default as ``default_model``.
        """
        classes = judge_classes()
        judged = (task for task in get_registry().edits() if default_judge(task))
        tasks = sorted({*judged, *self.names})
        described: dict[str, dict[str, Any]] = {}
        for task in tasks:
            name = self.name_for(task)
            found = classes.get(name or "")
            options = self.options.get(name or "", {})
            described[task] = {
                "name": name,
                "version": None if found is None else found.version,
                "model": options.get("model", getattr(found, "default_model", None)),
                "options": options,
            }
        return described


class RecordingJudge(Judge):
    """Passes questions on to a judge and notes the answers."""

    def __init__(self, judge: Judge, note: TakeNote, labels: tuple[str, ...] | None = None) -> None:
        """Wrap a judge.

        Args:
            judge: who answers.
            note: told of every answer.
            labels: the classes of the benchmark, instead of the ones that the scorer offers.
        """
        self._judge, self._note, self._labels = judge, note, labels
        self.name = judge.name  # type: ignore[misc]
        self.version = judge.version  # type: ignore[misc]
        self.validation = judge.validation  # type: ignore[misc]

    def tasks(self) -> Sequence[str]:
        """Return the tasks of the wrapped judge."""
        return self._judge.tasks()

    def judge(
        self,
        task: str,
        utterance: Utterance,
        *,
        reference: Utterance | None = None,
        labels: Sequence[str] = (),
        question: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Ask the wrapped judge and note its answer."""
        offered = self._labels or tuple(labels)
        verdict = self._judge.judge(
            task, utterance, reference=reference, labels=offered, question=question
        )
        self._note(task, offered, utterance, verdict)
        return verdict
