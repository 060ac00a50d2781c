"""Settings of ``stepedit train grpo --edits``: train edits by their own scorers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import get_registry
from stepedit_core.storage.pair_rows import shard_paths
from stepedit_train.adding_input import base_folder
from stepedit_train.rl.grpo import GrpoSettings
from stepedit_train.settings import apply_changes, check_settings

__all__ = ["scorer_settings"]

_DEFAULTS: dict[str, Any] = {
    "steps": 40,
    "budget": 2,
    "answers": 8,
    "learning_rate": 4e-4,
    "final_learning_rate": 2e-4,
    "beta": 0.0,
    "temperature": 0.8,
    "max_tokens": 1200,
    "tokens": 4000,
    "dev_share": 0.1,
    "validation_requests": 8,
    "validate_every": 25,
    "checkpoint_minutes": 3.0,
    "gradient_checkpointing": False,
}
"""For the embedded model on a CPU."""


def scorer_settings(
    edits: Sequence[str],
    base: str,
    pairs: Path,
    corpus: Path | None,
    out: Path,
    given: Iterable[str] = (),
) -> GrpoSettings:
    """Return the settings of a run that learns edits from what their scorers say, and no target.

    Args:
        edits: registered names.
        base: folder of the model, or ``embedded``.
        pairs: folder around folders of `stepedit pairs`, whose sources are asked about where no
            corpus is given; targets are not looked at.
        corpus: plain speech, which the scorers prepare; None takes the pairs.
        out: folder of the run.
        given: changes to the defaults, ``name=value``.

    Raises:
        StepeditError: if an edit is unknown or has no scorer, or there are no recordings.
    """
    folder = base_folder(base)
    prompts: list[dict[str, Any]] = []
    for name in edits:
        get_registry().scorer(get_registry().edit_class(name))
        if corpus is None and not shard_paths(pairs / name):
            raise StepeditError(
                f"{pairs / name}: no shards of `stepedit pairs` in it; or name plain speech with "
                "--corpus"
            )
    if corpus is None:
        prompts = [{"path": (pairs / name).resolve()} for name in edits]
    else:
        prompts = [{"path": corpus.resolve(), "edits": list(edits)}]
    settings = {
        **_DEFAULTS,
        "model": folder,
        "out": out.resolve(),
        "prompts": prompts,
        "rewards": [{"name": "scorer"}],
    }
    apply_changes(settings, given)
    return check_settings(GrpoSettings, settings, "grpo --edits")
