"""Nodes for ComfyUI: one for each edit that a `stepedit serve` offers; see README.md.

This folder is copied or linked into ComfyUI's ``custom_nodes``. It needs nothing that ComfyUI does
not have: edits run in the service, which has an environment of its own.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["comfy_entrypoint"]

LOG = logging.getLogger("stepedit.comfyui")


async def comfy_entrypoint() -> Any:
    """Return the extension; ComfyUI calls this once."""
    from importlib import import_module

    from .client import Service, ServiceError
    from .nodes import edit_node, sentence_node

    api: Any = import_module("comfy_api.latest")

    class Extension(api.ComfyExtension):  # type: ignore[misc]
        """All edits of the service that ``STEPEDIT_URL`` names."""

        async def get_node_list(self) -> list[type]:
            service = Service.of_environment()
            try:
                edits = service.edits()
            except ServiceError as error:
                LOG.warning("no stepedit nodes: %s", error)
                return []
            made = [edit_node(api.io, service, edit) for edit in edits]
            return [sentence_node(api.io, service), *made]

    return Extension()
