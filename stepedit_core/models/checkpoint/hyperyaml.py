"""Read a checkpoint's ``cosyvoice.yaml`` (HyperPyYAML) without running anything it names.

HyperPyYAML imports and calls whatever a tag names. Here a tag is data: `read_hyperyaml` returns
plain values and `Component` records, and `build` turns a record into an object through a table
that the caller gives. A class path that is not in the table is refused by name.

Source of the tag syntax: HyperPyYAML (``!new:``, ``!name:``, ``!apply:``, ``!ref``,
``!tuple``).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from stepedit_core.errors import CheckpointError

__all__ = ["Component", "NodeReference", "build", "read_hyperyaml"]

_COUNT = re.compile(r"(blocks|layers|depth|heads|timesteps)$")
_MOST_PARTS, _MOST_OF_A_SIZE = 1000, 1 << 26
MAX_BYTES = 1 << 20
MAX_DEPTH = 32
CURE = "download the checkpoint again, or report the file if it is the published one"

# Seeding calls that public configuration files carry. Randomness here is an argument, so they
# have nothing to do; they are the only calls that are accepted.
IGNORED_CALLS = frozenset(
    {"random.seed", "numpy.random.seed", "torch.manual_seed", "torch.cuda.manual_seed_all"}
)

_REFERENCE = re.compile(r"<([A-Za-z_]\w*)((?:\[[A-Za-z_]\w*\])*)>")

Verb = Literal["new", "name", "apply"]


@dataclass(frozen=True)
class Component:
    """One tagged node: what to build, from which arguments, and where it was written.

    Attributes:
        verb: ``new`` (build it), ``name`` (hand over the builder) or ``apply`` (a call).
        path: the class path as written; never imported.
        positional: positional arguments, from a YAML list.
        arguments: keyword arguments, from a YAML mapping.
        where: file and line, for errors.
    """

    verb: Verb
    path: str
    positional: tuple[Any, ...]
    arguments: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class NodeReference:
    """A ``!ref <key>`` to another node of the same file."""

    keys: tuple[str, ...]
    where: str


class _Loader(yaml.SafeLoader):
    """A SafeLoader that knows the HyperPyYAML tags as data and refuses all others."""

    file: str = "yaml"
    depth: int = 0

    def where(self, node: yaml.Node) -> str:
        """Return ``file, line N`` of a node."""
        return f"{self.file}, line {node.start_mark.line + 1}"

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; refuse deep nesting and aliases of collections.

        Aliased collections are how a small file becomes a huge tree; the format has ``!ref``
        for sharing and does not need them.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise CheckpointError(
                f"{self.file}, line {self.line + 1}: nested deeper than {MAX_DEPTH} levels; {CURE}"
            )
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if is_alias and not isinstance(node, yaml.ScalarNode):
            line = node.start_mark.line + 1 if node is not None else 0
            raise CheckpointError(
                f"{self.file}: the block of line {line} is repeated through an alias (*name), "
                f"which this format does not use; {CURE}"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping, refusing a key given twice."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                raise CheckpointError(
                    f"{self.where(key_node)}: key {key_node.value!r} is given twice; {CURE}"
                )
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=True)

    def construct_component(self, verb: Verb, path: str, node: yaml.Node) -> Component:
        """Record one ``!new:``, ``!name:`` or ``!apply:`` node."""
        positional: tuple[Any, ...] = ()
        arguments: dict[str, Any] = {}
        if isinstance(node, yaml.MappingNode):
            arguments = {str(k): v for k, v in self.construct_mapping(node).items()}
        elif isinstance(node, yaml.SequenceNode):
            positional = tuple(self.construct_sequence(node, deep=True))
        elif node.value:
            raise CheckpointError(
                f"{self.where(node)}: tag !{verb}:{path} takes a mapping or a list of "
                f"arguments, not {node.value!r}; {CURE}"
            )
        return Component(verb, path, positional, arguments, self.where(node))

    def construct_reference(self, node: yaml.Node) -> NodeReference:
        """Record one ``!ref``; only a plain path is allowed, no arithmetic."""
        found = _REFERENCE.fullmatch(str(node.value).strip())
        if found is None:
            raise CheckpointError(
                f"{self.where(node)}: reference {node.value!r} is not of the form <key> or "
                f"<key[inner]>; expressions are not evaluated; {CURE}"
            )
        inner = re.findall(r"\[(\w+)\]", found.group(2))
        return NodeReference((found.group(1), *inner), self.where(node))

    def construct_tuple(self, node: yaml.SequenceNode) -> tuple[Any, ...]:
        """Construct a ``!tuple`` list."""
        return tuple(self.construct_sequence(node, deep=True))

    def refuse(self, node: yaml.Node) -> Any:
        """Refuse a tag that is not known."""
        raise CheckpointError(
            f"{self.where(node)}: tag {_tag_name(node.tag)} is not allowed; known tags are !new:, "
            f"!name:, !apply: (seeding only), !ref and !tuple; {CURE}"
        )


def _tag_name(tag: str) -> str:
    """Return a tag as it is written in a file."""
    return tag.replace("tag:yaml.org,2002:", "!!", 1) if tag.startswith("tag:") else tag


def _register() -> None:
    """Attach the constructors; the catch-all ``None`` refuses every other tag."""

    def adder(verb: Verb) -> Callable[[_Loader, str, yaml.Node], Component]:
        return lambda loader, path, node: loader.construct_component(verb, path, node)

    for verb in ("new", "name", "apply"):
        _Loader.add_multi_constructor(f"!{verb}:", adder(verb))
    _Loader.add_constructor("!ref", _Loader.construct_reference)
    _Loader.add_constructor("!tuple", _Loader.construct_tuple)
    _Loader.add_constructor(None, _Loader.refuse)


_register()


def read_hyperyaml(path: Path) -> dict[str, Any]:
    """Read a HyperPyYAML file into plain values, `Component` and `NodeReference` records.

    Args:
        path: the YAML file.

    Returns:
        The top-level mapping. Nothing is imported, built or called.

    Raises:
        CheckpointError: if the file is missing, too large, not YAML, not a mapping, or carries a
            tag that is not known.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {CURE}") from error
    if len(raw) > MAX_BYTES:
        raise CheckpointError(f"{path}: {len(raw)} bytes is too large for a configuration; {CURE}")
    try:
        loader = _Loader(raw)
        loader.file = str(path)
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise CheckpointError(f"{path}: is not valid YAML ({text}); {CURE}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: holds no mapping; {CURE}")
    return {str(key): value for key, value in data.items()}


def build(
    value: Any,
    builders: Mapping[str, Callable[..., Any]],
    root: Mapping[str, Any] | None = None,
) -> Any:
    """Turn records into objects through a table of builders.

    Args:
        value: a value from `read_hyperyaml`.
        builders: class path as written in the file to what builds it.
        root: the whole file, for references. A referenced node is built once and shared.

    Returns:
        The value with every `Component` built and every `NodeReference` followed.

    Raises:
        CheckpointError: if a class path is not in the table, an argument is not known to its
            builder, or a reference leads nowhere or in a circle.
    """
    return _Builder(builders, root or {}).build(value)


class _Builder:
    """Builds one file; keeps what references have already led to."""

    def __init__(self, builders: Mapping[str, Callable[..., Any]], root: Mapping[str, Any]) -> None:
        """Remember the table and the file."""
        self.builders = builders
        self.root = root
        self.built: dict[tuple[str, ...], Any] = {}
        self.open: set[tuple[str, ...]] = set()

    def build(self, value: Any) -> Any:
        """Build one value of any kind."""
        if isinstance(value, Component):
            return self.component(value)
        if isinstance(value, NodeReference):
            return self.reference(value)
        if isinstance(value, dict):
            return {key: self.build(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.build(item) for item in value)
        return value

    def reference(self, reference: NodeReference) -> Any:
        """Build what a reference points at, once."""
        keys = reference.keys
        if keys in self.built:
            return self.built[keys]
        if keys in self.open:
            raise CheckpointError(f"{reference.where}: reference to itself; {CURE}")
        self.open.add(keys)
        self.built[keys] = self.build(_follow(reference, self.root))
        self.open.discard(keys)
        return self.built[keys]

    def component(self, component: Component) -> Any:
        """Build one component, checking its arguments against the signature first."""
        written = f"!{component.verb}:{component.path}"
        if component.verb == "apply" and component.path in IGNORED_CALLS:
            return None
        if component.verb == "apply" or component.path not in self.builders:
            known = sorted({path.rsplit(".", 1)[-1] for path in self.builders})
            raise CheckpointError(
                f"{component.where}: {written} is not a known class; known are "
                f"{', '.join(known)}; {CURE}"
            )
        builder = self.builders[component.path]
        positional = [self.build(item) for item in component.positional]
        arguments = {key: self.build(item) for key, item in component.arguments.items()}
        for key, value in arguments.items():
            most = _MOST_PARTS if _COUNT.search(key) else _MOST_OF_A_SIZE
            if isinstance(value, int) and abs(value) > most:
                raise CheckpointError(
                    f"{component.where}: {written}: {key} {value} is more than {most}; {CURE}"
                )
        try:
            if component.verb == "name":
                inspect.signature(builder).bind_partial(*positional, **arguments)
                return functools.partial(builder, *positional, **arguments)
            return builder(*positional, **arguments)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{component.where}: {written}: {error}; {CURE}") from error


def _follow(reference: NodeReference, root: Mapping[str, Any]) -> Any:
    """Return what a reference points at."""
    target: Any = root
    for key in reference.keys:
        if isinstance(target, Component):
            target = target.arguments
        if not isinstance(target, Mapping) or key not in target:
            raise CheckpointError(
                f"{reference.where}: reference to {'.'.join(reference.keys)}, which the file does "
                f"not define; {CURE}"
            )
        target = target[key]
    return target
