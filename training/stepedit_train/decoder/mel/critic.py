"""The critic (patch discriminator) of mel spectrograms.

A decoder that is taught by least absolute error says what is likely on the average, and its
spectrograms are smoother than those of speech. Least-squares adversarial training (Mao et al. 2017)
with a critic of patches (Isola et al. 2017) and feature matching (Kumar et al., "MelGAN", 2019)
takes the smoothness away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from stepedit_core.models.decoder.reference.model import MEL_CENTRE, MEL_SCALE

__all__ = [
    "Judgement",
    "MelCritic",
]

SLOPE = 0.1


@dataclass(frozen=True)
class Judgement:
    """Losses of a step of adversarial training.

    Attributes:
        critic: loss of the critic's own weights.
        adversary: loss of the decoder for being told apart; no gradient reaches the critic.
        matching: distance of the critic's features; likewise.
    """

    critic: Tensor
    adversary: Tensor
    matching: Tensor


class MelCritic(nn.Module):
    """Tells mel spectrograms of recordings and of a decoder apart, patch by patch.

    Args:
        width: channels of the first layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 2 * width, 2 * width)
        strides = ((2, 1), (2, 2), (2, 1), (1, 1))
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 5, stride, padding=2)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.out = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, mel: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the features of mels; the last one is the verdict.

        Args:
            mel: log mel, ``(batch, frames, bins)``.
            mask: which frames are no padding, ``(batch, frames, 1)``.
        """
        x = ((mel - MEL_CENTRE) / MEL_SCALE * mask).transpose(1, 2)[:, None]
        found = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            found.append(x)
        return [*found, self.out(x)]

    def judge(self, recorded: Tensor, made: Tensor, mask: Tensor) -> Judgement:
        """Return the losses of critic and decoder; shapes as of `forward`."""
        real, told = self(recorded, mask), self(made.detach(), mask)
        still = {name: weight.detach() for name, weight in self.named_parameters()}
        heard = functional_call(self, still, (made, mask))
        apart = [
            (one - other.detach()).abs().mean() / other.detach().abs().mean().clamp_min(1e-3)
            for one, other in zip(heard[:-1], real[:-1], strict=True)
        ]
        return Judgement(
            (real[-1] - 1).square().mean() + told[-1].square().mean(),
            (heard[-1] - 1).square().mean(),
            torch.stack(apart).mean(),
        )
