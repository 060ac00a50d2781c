"""Memory of the process over many edits by one engine."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from stepedit_core.config import EngineConfig, GenerationPolicy
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.registry.registry import get_edit, load_engine

__all__ = ["MemoryGrowth", "measure_memory"]

_WARM_UP = 70  # the caches keep 64 utterances; from then on nothing should grow


@dataclass(frozen=True)
class MemoryGrowth:
    """Resident memory in MB (10^6 bytes), at the beginning, after a warm-up and at the end.

    Attributes:
        loaded: right after loading.
        warm: after the first 70 edits, which fill the caches.
        end: after the last edit.
        edits: how many were carried out.
    """

    loaded: float
    warm: float
    end: float
    edits: int

    @property
    def growth(self) -> float:
        """Growth from the warm-up to the end, in MB."""
        return self.end - self.warm


def _resident() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1e6)


def measure_memory(
    engine: str, device: str, edits: int, on_edit: Callable[[int], None] | None = None
) -> MemoryGrowth:
    """Carry out many edits of changing recordings and watch the process's memory.

    Args:
        engine: name, folder or id.
        device: torch device, or ``auto``.
        edits: how many, more than the 70 of the warm-up.
        on_edit: told after each edit.
    """
    # Output as long as the input: what is measured must not depend on how long a model rambles.
    policy = GenerationPolicy(max_growth=1.0)
    loaded = load_engine(EngineConfig(name_or_path=engine, device=device, generation=policy))
    edit = get_edit("denoise")()
    names = list(packaged())
    begin = warm = _resident()
    for count in range(edits):
        speech = packaged_speech(names[count % len(names)])
        # A new level makes a new recording, so that every edit encodes afresh.
        speech = speech.replace(samples=speech.samples * (0.5 + 0.4 * count / edits))
        apply_by_llm([edit], [speech], loaded, [count])
        if count + 1 == _WARM_UP:
            warm = _resident()
        if on_edit is not None:
            on_edit(count + 1)
    return MemoryGrowth(begin, warm, _resident(), edits)
