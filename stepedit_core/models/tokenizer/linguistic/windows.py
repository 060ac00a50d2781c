"""Index arithmetic that turns chunk-by-chunk streaming into one batched pass.

The streaming encoder reads an utterance in chunks. Every chunk is a *window*: the five frames
before it, then its own. Window frames attend to their whole window and to a *memory* of at
most 16 keys: the latest frames before the window, as the chunks computed them in which they
were not among the last five. Because a window reads keys of the same layer only, all windows
of all utterances can run through a layer together, and the memory is a gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["MEMORY_FRAMES", "OVERLAP_FRAMES", "WindowPlan", "plan_windows", "uniform_chunks"]

CHUNK_FRAMES = 4
OVERLAP_FRAMES = 5
MEMORY_FRAMES = 16

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WindowPlan:
    """Where every window takes its frames and keys from; c windows of w frames, n frames.

    Attributes:
        inputs: int64, shape ``(c, w)``: packed frame index plus 1, 0 for a zero frame.
        inside: bool, shape ``(c, w)``: False for padding after the end of a short window.
        keys: int64, shape ``(c, m + w)``: window slots (row-major in (c, w)) attended to.
        key_mask: bool, shape ``(c, 1, 1, m + w)``: False for absent keys.
        outputs: int64, shape ``(n,)``: window slot that holds the output of each frame.
        positions: int64, shape ``(n,)``: place of each frame in its utterance, from 1.
        ragged: whether any window is shorter than the longest.
    """

    inputs: Tensor
    inside: Tensor
    keys: Tensor
    key_mask: Tensor
    outputs: Tensor
    positions: Tensor
    ragged: bool

    def to(self, device: torch.device | str) -> WindowPlan:
        """Return the plan with its tensors on ``device``."""
        return WindowPlan(
            inputs=self.inputs.to(device),
            inside=self.inside.to(device),
            keys=self.keys.to(device),
            key_mask=self.key_mask.to(device),
            outputs=self.outputs.to(device),
            positions=self.positions.to(device),
            ragged=self.ragged,
        )


def uniform_chunks(length: int, chunk_frames: int = CHUNK_FRAMES) -> list[int]:
    """Cut ``length`` frames into chunks of ``chunk_frames`` and a shorter last one."""
    whole, rest = divmod(length, chunk_frames)
    return [chunk_frames] * whole + [rest] * bool(rest)


def _utterance(
    sizes: IntArray, width: int, overlap: int, memory: int
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return inputs, own slots, memory slots (-1 where absent) and outputs of one utterance."""
    count, total = len(sizes), int(sizes.sum())
    starts = np.cumsum(sizes) - sizes
    offsets = np.arange(width, dtype=np.int64)
    own = offsets + width * np.arange(count, dtype=np.int64)[:, None]
    frame = starts[:, None] + offsets - overlap
    inside = offsets < overlap + sizes[:, None]
    inputs = np.where(inside & (frame >= 0), frame + 1, 0)

    owner = np.repeat(np.arange(count, dtype=np.int64), sizes)
    place = np.arange(total, dtype=np.int64) - starts[owner]
    remembered = starts[:, None] - memory + np.arange(memory, dtype=np.int64)
    slots = (owner * width + place)[np.maximum(remembered, 0)]
    return inputs, own, np.where(remembered >= 0, slots, -1), owner * width + overlap + place


def plan_windows(
    chunk_sizes: Sequence[Sequence[int]],
    *,
    overlap: int = OVERLAP_FRAMES,
    memory: int = MEMORY_FRAMES,
) -> WindowPlan:
    """Plan one batched pass over utterances.

    Args:
        chunk_sizes: frames per chunk of every utterance, all positive; utterances without
            a chunk are allowed.
        overlap: frames before a chunk that its window repeats.
        memory: keys kept from before the window.

    Raises:
        ValueError: if a chunk is empty, or there is no chunk at all.
    """
    sizes = [np.asarray(s, dtype=np.int64) for s in chunk_sizes if len(s)]
    if not sizes or min(int(s.min()) for s in sizes) < 1:
        raise ValueError("need at least one chunk, and at least one frame in each")
    width = overlap + max(int(s.max()) for s in sizes)
    parts = [_utterance(s, width, overlap, memory) for s in sizes]
    frames = np.array([s.sum() for s in sizes], dtype=np.int64)
    windows = np.array([len(s) for s in sizes], dtype=np.int64)
    first_frame = np.cumsum(frames) - frames
    first_slot = (np.cumsum(windows) - windows) * width

    moved = [
        (np.where(i > 0, i + frame, 0), o + slot, np.where(p >= 0, p + slot, -1), out + slot)
        for (i, o, p, out), frame, slot in zip(parts, first_frame, first_slot, strict=True)
    ]
    inputs, own, past, outputs = (np.concatenate(arrays) for arrays in zip(*moved, strict=True))
    inside = np.arange(width) < overlap + np.concatenate(sizes)[:, None]
    mask = np.concatenate([past >= 0, inside], axis=1)
    keys = np.concatenate([np.maximum(past, 0), own], axis=1)
    positions = np.concatenate([np.arange(1, n + 1, dtype=np.int64) for n in frames])
    return WindowPlan(
        inputs=torch.from_numpy(inputs),
        inside=torch.from_numpy(inside),
        keys=torch.from_numpy(keys),
        key_mask=torch.from_numpy(mask[:, None, None]),
        outputs=torch.from_numpy(outputs),
        positions=torch.from_numpy(positions),
        ragged=not bool(inside.all()),
    )
