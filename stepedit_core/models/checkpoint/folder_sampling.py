"""Rules of picking that come with a model, where it wants others than the public system's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepedit_core.config import SamplingConfig
from stepedit_core.errors import CheckpointError

__all__ = ["SAMPLING", "folder_sampling"]

SAMPLING = "sampling.json"
"""File of an engine folder with fields of ``SamplingConfig``."""


def folder_sampling(folder: Path) -> Mapping[str, Any]:
    """Return the fields that a model folder sets; none without the file.

    Raises:
        CheckpointError: if the file is damaged or names a field that does not exist.
    """
    path = folder / SAMPLING
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        SamplingConfig.model_validate(fields)
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: is damaged ({reason}); assemble or download the model again"
        ) from error
    return dict(fields)
