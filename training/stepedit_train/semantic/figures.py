"""Figures of a semantic tokenizer, added up over recordings."""

from __future__ import annotations

import torch
from torch import Tensor

from stepedit_core.codes import SEMANTIC_SIZE
from stepedit_train.semantic.model import Predicted
from stepedit_train.semantic.targets import IGNORED

__all__ = ["Tally"]


class Tally:
    """Count what the teaching decoder gets right, and which codes are used."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._right = self._known = 0
        self._agreed = self._frames = 0
        self._cents: list[Tensor] = []
        self._used = torch.zeros(SEMANTIC_SIZE, dtype=torch.int64)

    def add(
        self, made: Predicted, phones: Tensor, pitch: Tensor, voiced: Tensor, codes: Tensor
    ) -> None:
        """Add a batch; shapes as in :class:`Predicted` and its targets."""
        is_known = phones != IGNORED
        self._right += int((made.phones.argmax(-1) == phones)[is_known].sum())
        self._known += int(is_known.sum())
        self._agreed += int(((made.voiced > 0) == (voiced > 0.5)).sum())
        self._frames += voiced.numel()
        self._cents.append(1200 * (made.pitch - pitch)[voiced.amax(-1) > 0].cpu())
        self._used += torch.bincount(codes.flatten().cpu(), minlength=SEMANTIC_SIZE)

    def figures(self) -> dict[str, float]:
        """Return phone accuracy, voicing accuracy, pitch error in cents, and use of the codes."""
        share = self._used[self._used > 0] / self._used.sum().clamp_min(1)
        cents = torch.cat(self._cents) if self._cents else torch.zeros(0)
        return {
            "phone_accuracy": self._right / max(self._known, 1),
            "voicing_accuracy": self._agreed / max(self._frames, 1),
            "pitch_cents_median": float(cents.abs().median()) if len(cents) else 0.0,
            "codes_used": float(len(share)),
            "perplexity": float(torch.exp(-(share * share.log()).sum())),
        }
