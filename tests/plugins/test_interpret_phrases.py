from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache

import pytest
from stepedit_bench.interpreting.scoring import read_instructions
from stepedit_interpret.patterns import Vocabulary
from stepedit_interpret.wording import Wording

from stepedit_core import Edit, InterpretationError, Phrases, hookimpl, interpret, read_phrases
from stepedit_core.phrases import choices_of, names_problem
from stepedit_core.registry.registry import Registry, set_registry
from stepedit_core.testing.checks_class import is_found_by_its_phrases
from stepedit_core.testing.subject import ContractFailure, Subject

NAMES = sorted(Registry(disabled=()).load().edits())
CREAK = """
[creak]
does = { en = "let the voice creak", zh = "让声音嘎吱" }
[[creak.ask]]
en = ["(creak|creaky|creakier|vocal fry)"]
zh = ["(嘎吱|沙哑)"]
params = { amount = "some" }
much = { amount = "much" }
[[creak.example]]
say = "make it much creakier"
edit = "creak:amount=much"
[[creak.example]]
say = "把声音变沙哑"
edit = "creak:amount=some"
"""


class Creak(Edit):
    """Let the voice creak."""

    amount: str = "some"
    """How many words creak."""


class Plugin:
    """Brings the edit, and phrases from a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @hookimpl
    def stepedit_edits(self) -> list[type[Edit]]:
        return [Creak]

    @hookimpl
    def stepedit_phrases(self, edit: type[Edit]) -> Phrases | None:
        return read_phrases(self.text, "creak") if edit is Creak else None


@cache
def builtin() -> Registry:
    """What is installed, for the tests that bring nothing: its patterns are compiled once."""
    return Registry(disabled=()).load()


@pytest.fixture(autouse=True)
def registry() -> Iterator[Registry]:
    set_registry(builtin())
    yield builtin()
    set_registry(None)


def checked(text: str) -> None:
    """Register a third party's edit with phrases, and check these."""
    registry = Registry(disabled=()).load()
    set_registry(registry)
    registry.register(Plugin(text), "creak")
    is_found_by_its_phrases(Subject(Creak, (), registry=registry))


@pytest.mark.parametrize("name", NAMES)
def test_every_edit_has_phrases_that_lead_to_it(registry: Registry, name: str) -> None:
    phrases = registry.phrases(registry.edit_class(name))
    assert len(phrases.example) >= 2
    is_found_by_its_phrases(Subject(registry.edit_class(name), (), registry=registry))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_value_has_a_chinese_name(registry: Registry, name: str) -> None:
    edit = registry.edit_class(name)
    phrases = registry.phrases(edit)
    assert names_problem(phrases, edit) is None
    named, schema = phrases.named_fields(), edit.model_json_schema()
    for field, kind in schema.get("properties", {}).items():
        assert named[field].zh, field
        assert named[field].about.zh, field
        values = {str(one) for one in choices_of(kind, schema.get("$defs", {}))}
        assert {one for one, names in named[field].values.items() if names.zh} >= values


def test_a_third_party_is_reached_by_its_phrases() -> None:
    checked(CREAK)
    assert interpret("denoise it and make it creakier").explanation[1].startswith("creak,")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CREAK.replace('"(creak|', '"(louder|creak|'), "is an example of volume"),
        (CREAK.replace('"(creak|', '"(take out the ums|creak|'), "is an example of remove_fillers"),
        (CREAK.replace("make it much creakier", "make it gravelly"), "gravelly"),
        (CREAK.replace('edit = "creak:amount=some"', 'edit = "creak:amount=much"'), "is read as"),
    ],
)
def test_thieves_and_wrong_examples_are_found(text: str, why: str) -> None:
    with pytest.raises(ContractFailure, match=why):
        checked(text)


def test_no_phrase_is_left_out_by_the_words_that_it_needs(registry: Registry) -> None:
    vocabulary = Vocabulary.of(registry)
    for instruction in read_instructions()[::25]:
        for said in [instruction.say] if isinstance(instruction.say, str) else instruction.say:
            low = Wording.of(said).low
            found = vocabulary.candidates(low)
            missed = [one for one in vocabulary.patterns if one not in found]
            assert not [one for one in missed if one.regex.search(low)], said


@pytest.mark.parametrize(
    "said",
    [
        "make it happy and " * 20 + "play backwards",
        "make the first sentence happy and the second sad, " * 10 + "banana",
        "replace a with b, " * 22 + "sing",
    ],
)
def test_reading_takes_bounded_time(said: str) -> None:
    interpret("denoise")
    begin = time.process_time()
    with pytest.raises(InterpretationError):
        interpret(said, "One two. Three four. " * 40)
    assert time.process_time() - begin < 5
