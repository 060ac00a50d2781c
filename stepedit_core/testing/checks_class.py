"""Contract checks of an edit class and of the package that brings it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

from pydantic import ValidationError

from stepedit_core.chain.notation import parse_edit
from stepedit_core.edit import Edit
from stepedit_core.errors import StepeditError
from stepedit_core.interpretation import Setting, interpret
from stepedit_core.phrases import Example, names_problem
from stepedit_core.scoring import Case
from stepedit_core.testing.checks_edit import renders_odd_input
from stepedit_core.testing.subject import Subject, load_case_audio, require, skip

__all__ = ["CLASS_CHECKS", "HEAVY"]

HEAVY = ("torch", "transformers", "scipy", "librosa", "onnxruntime", "pyworld")
"""Modules that importing a plugin must not load."""


def has_a_good_name(subject: Subject) -> None:
    """Check that the name is snake_case, and that the registry knows the class by it."""
    name = subject.name
    require(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name), f"{name!r} is not snake_case")
    try:
        found = subject.registry.edit_class(name)
    except StepeditError as error:
        require(False, str(error))
    require(found is subject.edit_class, f"{name!r} is registered for another class")


def keeps_the_hook_contract(subject: Subject) -> None:
    """Check that the plugin loaded without an error, all of its hooks known."""
    broken = [info for info in subject.registry.plugins() if info.name == subject.plugin.name]
    for info in broken:
        require(info.error is None, f"{info}: {info.error}")


def is_described(subject: Subject) -> None:
    """Check that the class and each of its parameters say what they are."""
    edit_class = subject.edit_class
    require(
        edit_class.__doc__ and edit_class.summary(), f"{subject.name}: the class has no docstring"
    )
    for key, info in edit_class.model_fields.items():
        require(
            info.description,
            f"{subject.name}.{key} has no description; put a docstring below the field",
        )
    schema = edit_class.model_json_schema()
    require(set(schema.get("properties", {})) == set(edit_class.model_fields), "schema is partial")


def offers_a_route(subject: Subject) -> None:
    """Check that the class can be carried out, and that each sample request can be."""
    require(
        subject.edit_class.routes(), f"{subject.name}: define prompt(), render(), both, or expand()"
    )
    for edit, _ in subject.samples:
        problems = [edit.route_problem(route) for route in ("llm", "dsp")]
        require(None in problems, f"{edit}: no route at all: {problems}")


def refuses_wrong_parameters(subject: Subject) -> None:
    """Check that unknown and invalid parameters are refused."""
    for params in ({"no_such_parameter": 1}, *subject.invalid):
        try:
            edit = subject.edit_class(**params)
        except ValidationError:
            continue
        except TypeError as error:
            require(False, f"{subject.name}: {params} raised TypeError ({error})")
        require(False, f"{subject.name}: {params} was taken as {edit!r}; forbid it")


def has_a_readme(subject: Subject) -> None:
    """Check that the package's README names the edit and every parameter."""
    if subject.folder is None:
        skip("a plugin of one file has no README")
    places = [subject.folder / "README.md"]
    if (subject.folder.parent / "pyproject.toml").is_file():
        places.append(subject.folder.parent / "README.md")
    found = [place for place in places if place.is_file()]
    require(found, f"{subject.package} has no README.md beside its __init__.py")
    text = found[0].read_text(encoding="utf-8")
    require(len(text.split()) >= 30, f"{found[0]} says next to nothing")
    for word in (subject.name, *subject.edit_class.model_fields):
        require(re.search(rf"\b{word}\b", text), f"{found[0]} does not mention {word!r}")


@cache
def _imported(package: str, path: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Import a package, which may bring several edits, in a fresh process; print heavy modules."""
    lines = [
        "import sys",
        f"sys.path[:] = {list(path)!r}",
        f"import {package}",
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])",
    ]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )


def imports_lightly(subject: Subject) -> None:
    """Check in a fresh process that importing the package loads no heavy module."""
    if subject.folder is None:
        skip("a plugin of one file is not importable by name")
    done = _imported(subject.package, tuple(sys.path))
    require(done.returncode == 0, f"{subject.package} fails on import: {done.stderr[-300:]}")
    loaded = done.stdout.split()
    require(
        not loaded, f"import {subject.package} loads {', '.join(loaded)}; import it inside a body"
    )


def is_found_by_entry_point(subject: Subject) -> None:
    """Check that the plugin is installed, and known by its entry point."""
    if not subject.is_installed:
        skip("loaded from its source, not installed")
    require(subject.plugin.version != "0", f"{subject.plugin}: the distribution has no version")


def brings_good_cases(subject: Subject) -> None:
    """Check that the default suite is about this edit, unique, readable and round-trips."""
    cases = subject.cases()
    if not cases:
        skip("brings no cases")
    ids = [case.id for case in cases]
    require(len(set(ids)) == len(ids), f"{subject.name}: case ids occur twice")
    for case in cases:
        require(
            isinstance(case.edit, subject.edit_class), f"case {case.id} is about {case.edit.name}"
        )
        again = Case.model_validate_json(case.model_dump_json())
        require(again == case, f"case {case.id} changes in JSON")
    for case in _one_per_recording(cases):
        clean = load_case_audio(case, subject.folder)
        require(clean.problem() is None, f"case {case.id}: {clean.problem()}")


def _one_per_recording(cases: list[Case]) -> Iterator[Case]:
    """Yield one case for each recording."""
    yield from {case.audio: case for case in cases}.values()


def is_found_by_its_phrases(subject: Subject) -> None:
    """Check that each example is read as its edit, and that no other plugin's is taken away."""
    phrases = subject.bundled("phrases")
    if phrases is None:
        skip("brings no phrases: no sentence leads to it")
    if not subject.registry.named("stepedit_interpreters", lambda kind: str(kind.name)):
        skip("no interpreter is installed")
    for example in phrases.example:
        wanted = parse_edit(example.edit)
        require(subject.name in example.edit, f"the example {example.say!r} is about {wanted.name}")
        found = _read_as(subject, example, subject.name)
        require(found == [wanted], f"{example.say!r} is read as {found}, not as {wanted}")
    for name, info in subject.registry.edits().items():
        if name == subject.name:
            continue
        try:
            others = subject.registry.phrases(info.edit_class)
        except StepeditError:
            continue
        for example in others.example:
            wanted = parse_edit(example.edit)
            require(
                _read_as(subject, example, name) == [wanted],
                f"{example.say!r} is an example of {name} and is no longer read as {wanted}",
            )


def names_what_it_has(subject: Subject) -> None:
    """Check that names are of fields and values of the edit, for pages in other languages."""
    phrases = subject.bundled("phrases")
    if phrases is None:
        skip("brings no phrases: its fields are shown by their own names")
    wrong = names_problem(phrases, subject.edit_class)
    require(wrong is None, str(wrong))


def _read_as(subject: Subject, example: Example, owner: str) -> list[Edit]:
    """Return the edits that an example is read as."""
    setting = Setting(example.text, seconds=60.0)
    try:
        return list(interpret(example.say, setting, registry=subject.registry).chain.flat())
    except StepeditError as error:
        require(False, f"{example.say!r} is an example of {owner}: {error}")
        return []


def survives_odd_input(subject: Subject) -> None:
    """Check the dsp route on short, long, silent, clipped, and low- and high-rate input."""
    for edit, utterance in subject.samples:
        if edit.route_problem("dsp") is None and not edit.is_composite():
            renders_odd_input(subject, edit, utterance)
            return
    skip("no dsp route")


CLASS_CHECKS = (
    has_a_good_name,
    keeps_the_hook_contract,
    is_described,
    offers_a_route,
    refuses_wrong_parameters,
    has_a_readme,
    imports_lightly,
    is_found_by_entry_point,
    brings_good_cases,
    is_found_by_its_phrases,
    names_what_it_has,
    survives_odd_input,
)
"""Checks of the class, in the order that a report shows."""
