"""A stand-in for ``comfy_api.latest``: the few classes that the nodes use, not ComfyUI's own.

It takes the keyword arguments that ComfyUI documents for these inputs and refuses all others,
checks what ComfyUI's schema check refuses, and runs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType, SimpleNamespace
from typing import Any

_SHARED = {"display_name", "optional", "tooltip", "advanced"}
_OWN: dict[str, set[str]] = {
    "Audio": set(),
    "Boolean": {"default"},
    "Combo": {"default", "options"},
    "Float": {"default", "min", "max", "step", "round"},
    "Int": {"default", "min", "max", "step", "control_after_generate"},
    "String": {"default", "multiline", "placeholder"},
}


class Input:
    """One input of a node."""

    def __init__(self, kind: str, id: str, **facts: Any) -> None:
        unknown = facts.keys() - _SHARED - _OWN[kind]
        if unknown:
            raise TypeError(f"{kind}.Input has no {sorted(unknown)}")
        self.kind, self.id, self.facts = kind, id, facts
        default = facts.get("default")
        if kind == "Combo":
            assert default in facts["options"], (id, default)
        if kind in ("Int", "Float"):
            assert facts["min"] <= default <= facts["max"], id
        if kind == "String":
            assert isinstance(default, str), id


class Output:
    """One output of a node."""

    def __init__(self, kind: str, id: str | None = None, display_name: str | None = None) -> None:
        self.kind, self.id = kind, id


class Schema:
    """What a node is; ids are unique."""

    def __init__(
        self, node_id: str, display_name: str, category: str, inputs: Any, outputs: Any,
        description: str = "",
    ) -> None:  # fmt: skip
        self.node_id, self.display_name, self.category = node_id, display_name, category
        self.inputs, self.outputs, self.description = inputs, outputs, description
        ids = [one.id for one in [*inputs, *outputs]]
        assert len(ids) == len(set(ids)), ids


class NodeOutput:
    """What a node gives, in the order of its outputs."""

    def __init__(self, *args: Any) -> None:
        self.result = args


class ComfyNode(ABC):
    """Base of nodes."""

    @classmethod
    @abstractmethod
    def define_schema(cls) -> Schema:
        """Return what the node is."""

    @classmethod
    @abstractmethod
    def execute(cls, **given: Any) -> NodeOutput:
        """Do the node's work."""


class ComfyExtension(ABC):
    """Base of extensions."""

    @abstractmethod
    async def get_node_list(self) -> list[type[ComfyNode]]:
        """Return the nodes."""


def _type(kind: str) -> SimpleNamespace:
    return SimpleNamespace(
        Input=lambda id, **facts: Input(kind, id, **facts),
        Output=lambda id=None, display_name=None: Output(kind, id, display_name),
    )


def stand_in() -> ModuleType:
    """Return the module."""
    module: Any = ModuleType("comfy_api.latest")
    types = {kind: _type(kind) for kind in _OWN}
    module.io = SimpleNamespace(Schema=Schema, NodeOutput=NodeOutput, ComfyNode=ComfyNode, **types)
    module.ComfyExtension = ComfyExtension
    found: ModuleType = module
    return found
