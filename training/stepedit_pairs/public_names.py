"""Map edits to the names of the public Step-Audio-EditX training data, and back.

Source: stepfun-ai/Step-Audio-EditX, the data sections of its training README files and its
edit datasets (``edit_type`` and ``edit_info`` choose the instruction).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepedit_core.errors import StepeditError

__all__ = ["CLONE", "EDIT", "edit_data", "public_names"]

EDIT, CLONE = "edit", "clone"
"""Values of ``task_type``."""
_SAME = ("emotion", "style")
_PLAIN = {"denoise": "denoise", "trim_silence": "vad"}
_EDIT_OF = {public: own for own, public in _PLAIN.items()}


def public_names(data: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return ``task_type``, ``edit_type`` and ``edit_info`` of an edit's JSON form.

    What the public system has no word for (an exact speed factor, a span, an edit of a third
    party) keeps its own name and its parameters as text; the column ``edit`` holds it whole.
    """
    name = str(data["edit"])
    rest = {key: value for key, value in data.items() if key != "edit"}
    if name == "clone":
        return CLONE, None, None
    if name in _SAME:
        return EDIT, name, str(rest["to"])
    if name in _PLAIN:
        return EDIT, _PLAIN[name], ""
    if name == "speed" and rest.get("rate"):
        return EDIT, name, str(rest["rate"]).replace("_", " ")
    if name == "paralinguistic":
        return EDIT, name, ""
    return EDIT, name, ",".join(f"{key}={value}" for key, value in rest.items())


def edit_data(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form of the edit that a public row asks for.

    Raises:
        StepeditError: if the row names no edit, or one that is not known here.
    """
    if row.get("edit"):
        if not isinstance(row["edit"], Mapping):
            raise StepeditError(f"edit is the JSON form of one, got {str(row['edit'])[:80]!r}")
        return dict(row["edit"])
    if row.get("task_type", EDIT) != EDIT:
        return {"edit": "clone", "text": row.get("target_text") or ""}
    kind, info = row.get("edit_type"), str(row.get("edit_info") or "")
    if kind in _SAME:
        return {"edit": kind, "to": info}
    if kind in _EDIT_OF:
        return {"edit": _EDIT_OF[str(kind)]}
    if kind == "speed":
        return {"edit": "speed", "rate": info.strip().replace(" ", "_")}
    if kind == "paralinguistic":
        return {"edit": "paralinguistic", "text": row.get("target_text") or ""}
    raise StepeditError(f"edit_type {kind!r} is not known")
