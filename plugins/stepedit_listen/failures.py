"""What a library's failure is said as: errors here take one line, theirs take many."""

from __future__ import annotations

__all__ = ["first_line"]

_MOST = 200


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_MOST]
