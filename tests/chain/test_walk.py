"""The way from calling a chain to the engine: how often a reader has to change the file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

import stepedit_core
from stepedit_core import Chain, Edit, Prompt, Utterance, get_edit, packaged_speech
from stepedit_core.chain.result import RouteChoice
from stepedit_core.testing import FakeEngine

CORE = Path(stepedit_core.__file__).parent
PLUGINS = CORE.parent / "plugins"
Call = tuple[Path, Path, int]
"""Files of the caller and of what is called, and how many methods of an edit are on the stack."""


def own_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of core and the plugins; pluggy and pydantic are passed over."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(CORE) or file.is_relative_to(PLUGINS):
            yield frame
        frame = frame.f_back


def is_of_an_edit(frame: FrameType) -> bool:
    """Say whether a frame is a method of an edit, or of its class."""
    owner = frame.f_locals.get("self", frame.f_locals.get("cls"))
    return isinstance(owner, Edit) or (isinstance(owner, type) and issubclass(owner, Edit))


def changes_of_file(run: Callable[[], object], stop: CodeType) -> list[Call]:
    """Return the calls that lead from one file to another, until a function is called."""
    calls: list[Call] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        stack = list(own_frames(frame))
        if len(stack) > 1 and stack[0] is frame:
            to, source = (Path(one.f_code.co_filename) for one in stack[:2])
            if source != to:
                calls.append((source, to, sum(map(is_of_an_edit, stack))))
        if frame.f_code is stop:
            sys.setprofile(None)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


class Plain(Edit):
    """An edit that answers all questions by the base class."""

    def prompt(self, utterance: Utterance) -> Prompt:
        return Prompt.edit("Say it again.\n")


@pytest.mark.parametrize(
    ("edit", "route", "core", "total"),
    [
        (Plain(), "llm", 6, 8),
        (get_edit("speed")(rate="faster"), "llm", 6, 11),
        (get_edit("emotion")(to="happy"), "llm", 6, 15),
        # The engine is asked what it knows, and in which languages.
        (get_edit("speed")(rate="faster"), "auto", 9, 14),
    ],
    ids=["plain", "speed", "emotion", "speed-auto"],
)
def test_files_between_a_chain_and_the_engine(
    edit: Edit, route: RouteChoice, core: int, total: int
) -> None:
    chain, speech, engine = Chain([edit]), packaged_speech("garden"), FakeEngine()
    calls = changes_of_file(lambda: chain(speech, engine, route=route), FakeEngine.encode.__code__)
    told = "\n".join(f"{source.name} -> {to.name}" for source, to, _ in calls)
    assert calls[-1][1].name == "fake_engine.py"
    # Core's own way; what an edit does to answer whether and how it can run is its own business.
    assert sum(not depth for _, _, depth in calls) <= core, told
    assert len(calls) <= total, told
