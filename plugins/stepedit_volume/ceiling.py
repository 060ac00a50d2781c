"""The highest true peak of any result."""

from __future__ import annotations

__all__ = ["CEILING_DB"]

CEILING_DB = -1.0
"""In dBTP (EBU R 128)."""
