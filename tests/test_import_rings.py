"""No module reaches itself by imports, those inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = (ROOT, ROOT / "plugins", ROOT / "benchmarks", ROOT / "training")


def modules() -> dict[str, Path]:
    """Return the sources by dotted name; a package is its ``__init__``."""
    found = {}
    for root in SOURCE_ROOTS:
        for path in sorted(root.glob("stepedit_*/**/*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that can run: all but what is imported for types alone."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for branch in child.orelse:
                yield branch
                yield from running_nodes(branch)
        else:
            yield child
            yield from running_nodes(child)


def imported(tree: ast.AST, known: Mapping[str, object]) -> set[str]:
    """Return which of the known modules a file imports when it runs, anywhere in it.

    A name that is imported from a package is the module of that name, where there is one, and
    the package's own ``__init__`` otherwise. All imports of the project are absolute, but in the
    folder that ComfyUI loads under a name of its own.
    """
    found = set()
    for node in running_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                continue
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else str(node.module))
    return found & known.keys()


def ring(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the modules along one ring, the first of them again at its end; or nothing."""
    try:
        TopologicalSorter({name: needs - {name} for name, needs in graph.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_ring() -> None:
    known = modules()
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in known.items()}
    graph = {name: imported(tree, known) for name, tree in trees.items()}
    assert len(graph) > 300
    assert ring(graph) == []


def test_a_ring_is_found_through_a_function() -> None:
    known = {"a": None, "a.b": None, "a.c": None}
    texts = {
        "a": "",
        "a.b": "from a import c",
        "a.c": "def f():\n    from a.b import x\n    return x",
    }
    graph = {name: imported(ast.parse(text), known) for name, text in texts.items()}
    assert sorted(set(ring(graph))) == ["a.b", "a.c"]


def test_an_import_for_types_makes_no_ring() -> None:
    known = {"a.b": None, "a.c": None}
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.b import X"
    assert imported(ast.parse(types), known) == set()
    assert imported(ast.parse(types + "\nelse:\n    import a.c"), known) == {"a.c"}
