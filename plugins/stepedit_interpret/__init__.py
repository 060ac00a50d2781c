"""A sentence becomes a chain: hook implementations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepedit_core import hookimpl

if TYPE_CHECKING:
    from stepedit_core import Interpreter


@hookimpl
def stepedit_interpreters() -> Sequence[type[Interpreter]]:
    """Bring the offline interpreter."""
    from stepedit_interpret.grammar import Grammar

    return [Grammar]
