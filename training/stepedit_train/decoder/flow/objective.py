"""The flow-matching objective: the velocity of straight paths from noise to mel.

Optimal-transport paths: Lipman et al., "Flow Matching for Generative Modeling", 2023. Conditions
are left out at times for classifier-free guidance, as in Le et al., "Voicebox", 2023. Starting
from a predicted mean: Popov et al., "Grad-TTS", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.models.decoder.flow import CausalMaskedDiffWithXvec
from stepedit_core.models.decoder.flow.matching import cosine_times
from stepedit_train.decoder.examples import Parts

__all__ = [
    "FlowBatch",
    "FlowErrors",
    "draw_batch",
    "flow_errors",
    "on_path",
]


@dataclass(frozen=True)
class FlowErrors:
    """Errors of one batch; scalars, each a mean over mel values.

    Attributes:
        flow: squared error of the velocity on the targets' frames.
        prompt: the same on the references' frames.
        mean: absolute error of the encoder's mel on the targets' frames, in nepers; None where
            the solver does not start from it.
    """

    flow: Tensor
    prompt: Tensor
    mean: Tensor | None


def on_path(
    target: Tensor, start: Tensor, noise: Tensor, times: Tensor, sigma_min: float
) -> tuple[Tensor, Tensor]:
    """Return states on straight paths, and the paths' velocities.

    The paths go from ``start`` at time 0 to ``target`` with ``sigma_min`` of the noise left at
    time 1. The velocity is the same all the way, so that Euler steps of whatever lengths from
    `CausalMaskedDiffWithXvec.start`, as `CausalConditionalCFM.forward` takes them, end there.
    Without a mean (``start`` is ``noise``) this is equation 22 f. of Lipman et al.

    Args:
        target: mel, natural log, float ``(batch, bins, frames)``.
        start: where the solver starts, same shape.
        noise: standard normal noise that is part of ``start``, same shape.
        times: of the solver, 0 to 1, float ``(batch,)``.
        sigma_min: deviation around the target that is left at the end.
    """
    velocity = target - start + sigma_min * noise
    return start + times[:, None, None] * velocity, velocity


def flow_errors(model: CausalMaskedDiffWithXvec, batch: FlowBatch, sigma_min: float) -> FlowErrors:
    """Return the errors of a batch, all examples in one padded pass.

    Where the solver starts is data: no gradient goes through it, as the encoder could otherwise
    make the task easier instead of the answer better. The encoder learns from the estimator's
    condition, and from ``mean``.

    Args:
        model: the flow.
        batch: on the model's device.
        sigma_min: see `on_path`.
    """
    mu = model.predict_mean(batch.rows, batch.lengths)
    frames = torch.arange(mu.shape[2], device=mu.device)
    is_real = frames < (model.factor * batch.lengths)[:, None]
    is_prompt = frames < batch.prompt_frames[:, None]
    start = model.start(batch.noise, mu.detach())
    state, velocity = on_path(batch.mel, start, batch.noise, batch.times, sigma_min)
    # What is left out becomes zero after the speaker's projection, as in the solver.
    kept = batch.kept[:, None].to(mu.dtype)
    made = model.decoder.estimator(
        state,
        mu * kept[:, :, None],
        batch.times,
        model.project_speaker(batch.voices) * kept,
        batch.mel * (is_prompt * kept)[:, None],
        is_real,
    )
    error = (made - velocity).square()
    is_target = is_real & ~is_prompt
    mean = _mean((mu - batch.mel).abs(), is_target) if model.start_from_mean else None
    return FlowErrors(_mean(error, is_target), _mean(error, is_prompt), mean)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``(batch, bins, frames)`` where ``(batch, frames)`` is true."""
    count = mask.sum().clamp(min=1) * values.shape[1]
    return (values * mask[:, None]).sum() / count


@dataclass(frozen=True)
class FlowBatch:
    """Examples laid out as `CausalMaskedDiffWithXvec.generate` does it, padded on the right.

    Attributes:
        rows: token rows of reference and target, int64 ``(batch, rows, 2)``.
        lengths: rows of each, int64 ``(batch,)``.
        prompt_frames: mel frames of each reference, int64 ``(batch,)``.
        mel: of reference and target, natural log, float32 ``(batch, bins, 2 * rows)``.
        voices: speaker vectors, float32 ``(batch, size)``.
        noise: standard normal, float32, shape of ``mel``.
        times: of the solver, 0 to 1, float32 ``(batch,)``.
        kept: whether an example has its conditions, bool ``(batch,)``.
    """

    rows: Tensor
    lengths: Tensor
    prompt_frames: Tensor
    mel: Tensor
    voices: Tensor
    noise: Tensor
    times: Tensor
    kept: Tensor


def draw_batch(parts: Sequence[Parts], generator: torch.Generator, drop: float) -> FlowBatch:
    """Lay examples out and draw the rest.

    Times are as dense as the solver's steps: uniform, then through its cosine.

    Args:
        parts: examples.
        generator: on the CPU, so that every device sees the same.
        drop: share of the examples that go without conditions.
    """
    rows = [torch.from_numpy(np.concatenate([one.prompt, one.rows])) for one in parts]
    mels = [torch.from_numpy(np.concatenate([one.prompt_mel, one.mel])) for one in parts]
    mel = pad_sequence(mels, batch_first=True).transpose(1, 2)
    times = cosine_times(torch.rand(len(parts), generator=generator))
    kept = torch.rand(len(parts), generator=generator) >= drop
    return FlowBatch(
        pad_sequence(rows, batch_first=True),
        torch.tensor([len(one) for one in rows]),
        torch.tensor([len(one.prompt_mel) for one in parts]),
        mel,
        torch.from_numpy(np.stack([one.voice for one in parts])),
        torch.randn(mel.shape, generator=generator),
        times,
        kept,
    )
