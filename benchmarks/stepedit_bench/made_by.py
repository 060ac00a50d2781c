"""Marks of the code that makes a recording, so that a kept one never stands for changed code.

What an engine is, its fingerprint says; what a plugin does by signal processing, its files say. A
mark is a hash of the files of the plugin that brings an edit, of the parts of core that carry edits
out, of the plugin's registered version, and of the versions of the packages that these files
import: a denoiser that is taken where it is installed makes other recordings there.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel

import stepedit_core
from stepedit_core.edit import Edit
from stepedit_core.registry.registry import get_registry

__all__ = ["code_mark", "edits_within"]

_CORE = ("dsp", "chain", "llm_route", "models")
"""Parts of core that carry edits out."""
_ASIDE = {".md", ".pyc", ".jsonl"}
"""Files of a plugin that decide no recording: its page, compiled code and its cases."""
_PRODUCT = "stepedit_"


def edits_within(edit: Edit) -> Iterator[Edit]:
    """Yield an edit and those that it holds, such as the inner one of a masked edit."""
    yield edit
    values = list(edit.__dict__.values())
    while values:
        value = values.pop(0)
        if isinstance(value, Edit):
            yield from edits_within(value)
        elif isinstance(value, BaseModel):
            values.extend(value.__dict__.values())
        elif isinstance(value, dict):
            values.extend(value.values())
        elif isinstance(value, list | tuple):
            values.extend(value)


def code_mark(edits: Iterable[Edit] = (), scorers: Iterable[object] = ()) -> str:
    """Return a mark of the code that carries edits out, and prepares their recordings.

    Args:
        edits: what is carried out; none for what core does alone.
        scorers: who add noise or pauses before.
    """
    asked = [one for edit in edits for one in edits_within(edit)]
    registry = get_registry()
    versions = sorted({str(registry.origin(edit)) for edit in asked})
    modules = {type(one).__module__ for one in (*asked, *scorers)}
    return _mark(tuple(sorted(_home(name) for name in modules)), tuple(versions))


def _home(module: str) -> str:
    """Return the package of a module; core's classes belong to no plugin."""
    root = module.partition(".")[0]
    return "" if root == stepedit_core.__name__ else root


@cache
def _mark(homes: Sequence[str], versions: Sequence[str]) -> str:
    """Return the mark of packages and versions; once in a process, which has loaded them."""
    parts = [_core(), *map(_package, homes)]
    imported = sorted({name for _, names in parts for name in names})
    told = [[digest for digest, _ in parts], versions, [(one, _installed(one)) for one in imported]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]


@cache
def _core() -> tuple[str, frozenset[str]]:
    """Return a digest of the parts of core that carry edits out, and what they import."""
    core = Path(str(stepedit_core.__file__)).parent
    return _told([path for name in _CORE for path in _files_in(core / name)])


@cache
def _package(home: str) -> tuple[str, frozenset[str]]:
    """Return a digest of the files of a package, and what they import."""
    return _told(_files_of(home))


def _told(files: Sequence[Path]) -> tuple[str, frozenset[str]]:
    """Return a digest of files, and the foreign packages that they import."""
    digest = hashlib.sha256()
    imported: set[str] = set()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
        if path.suffix == ".py":
            imported |= _imports(content)
    return digest.hexdigest(), frozenset(imported)


def _files_of(home: str) -> list[Path]:
    """Return the files of a package or of a module that was loaded, in order."""
    module = sys.modules.get(home)
    if module is None:
        return []
    if hasattr(module, "__path__"):
        return [path for folder in module.__path__ for path in _files_in(Path(folder))]
    return [Path(module.__file__)] if module.__file__ else []


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a folder that decide what a recording is like, in order."""
    found = (path for path in folder.rglob("*") if path.suffix not in _ASIDE)
    return sorted(path for path in found if path.is_file())


def _imports(source: bytes) -> set[str]:
    """Return the foreign packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    roots = {name.partition(".")[0] for name in names}
    return {root for root in roots - sys.stdlib_module_names if not root.startswith(_PRODUCT)}


@cache
def _distributions() -> Mapping[str, Sequence[str]]:
    """Return the installed distributions that bring each package."""
    return importlib.metadata.packages_distributions()


def _installed(package: str) -> list[str]:
    """Return the versions of what brings a package; none where it is absent."""
    return sorted({importlib.metadata.version(one) for one in _distributions().get(package, ())})
