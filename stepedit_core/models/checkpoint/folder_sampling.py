"""Rules of picking that come with a model, where it wants others than the public system's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepedit_core.config import GenerationPolicy, SamplingConfig, split_rules
from stepedit_core.errors import CheckpointError

__all__ = ["SAMPLING", "folder_sampling"]

SAMPLING = "sampling.json"
"""File of an engine folder with fields of ``SamplingConfig`` and ``GenerationPolicy``."""


def folder_sampling(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the fields of sampling and of policy that a model folder sets; none without a file.

    Raises:
        CheckpointError: if the file is damaged or names a field that does not exist.
    """
    path = folder / SAMPLING
    if not path.is_file():
        return {}, {}
    try:
        sampling, policy = split_rules(dict(json.loads(path.read_text(encoding="utf-8"))))
        SamplingConfig.model_validate(sampling)
        GenerationPolicy.model_validate(policy)
    except (OSError, TypeError, ValueError, RecursionError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: is damaged ({reason}); assemble or download the model again"
        ) from error
    return sampling, policy
