"""Small files, small functions, full annotations and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
LIMITS = {"stepedit_core": 450, "plugins": 450, "benchmarks": 450, "training": 450}
MAX_FUNCTION = 60
MEDIAN_FUNCTION = 13
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> Iterator[tuple[Path, int]]:
    """Yield every source file and the limit for it."""
    for folder, limit in LIMITS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, limit


def functions() -> Iterator[tuple[Path, Function]]:
    """Yield every function of the sources."""
    for path, _ in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield path, node


def body_lines(function: Function) -> int:
    """Return the lines of a function without its decorators, arguments and docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = (first.end_lineno or 0) + 1 if is_docstring else first.lineno
    return max(0, (function.end_lineno or 0) - start + 1)


def test_files_are_small() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines, limit {limit}"
        for path, limit in sources()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > limit
    ]
    assert not long, long


def test_functions_are_small() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {body_lines(node)} lines"
        for path, node in functions()
        if body_lines(node) > MAX_FUNCTION
    ]
    assert not long, long
    assert median(body_lines(node) for _, node in functions()) <= MEDIAN_FUNCTION


def test_everything_is_annotated() -> None:
    bare = []
    for path, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = [item for item in arguments if item.arg not in ("self", "cls")]
        returns = node.returns is not None or node.name == "__init__"
        if not returns or any(item.annotation is None for item in named):
            bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not bare, bare


def test_everything_public_is_documented() -> None:
    silent = []
    for path, _ in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = str(path.relative_to(ROOT))
        if tree.body and ast.get_docstring(tree) is None:
            silent.append(place)
        for node in ast.iter_child_nodes(tree):
            if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                continue
            members = [node, *(node.body if isinstance(node, ast.ClassDef) else [])]
            for member in members:
                if not isinstance(member, Function | ast.ClassDef) or member.name.startswith("_"):
                    continue
                is_overload = any("overload" in ast.dump(d) for d in member.decorator_list)
                if ast.get_docstring(member) is None and not is_overload:
                    silent.append(f"{place}:{member.lineno} {member.name}")
    assert not silent, silent
