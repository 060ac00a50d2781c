"""The encoder with the heads that teach it; only the encoder is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepedit_core.models.tokenizer.linguistic import SANMConfig, SANMEncoder
from stepedit_core.models.tokenizer.linguistic.windows import WindowPlan
from stepedit_train.data.phones import spread_phones

__all__ = [
    "IGNORED",
    "LABELS_PER_FRAME",
    "PhonemeSet",
    "TaughtEncoder",
    "ctc_loss",
    "frame_labels",
    "phone_loss",
]

LABELS_PER_FRAME = 3
"""20 ms labels in a 60 ms frame."""
IGNORED = -100
_STRIPPED = re.compile(r"[\sˈˌ→↗↘↓↑.,;:!?¡¿—…\"'«»“”()\-]")
IntArray = npt.NDArray[np.int64]


class TaughtEncoder(nn.Module):
    """SANM encoder, and on each 60 ms frame three 20 ms outputs for phones and phonemes.

    Args:
        config: sizes of the encoder.
        phones: classes of the frame labels.
        phonemes: classes of CTC, blank included.
        width: of each 20 ms output.
    """

    def __init__(self, config: SANMConfig, phones: int, phonemes: int, width: int = 96) -> None:
        super().__init__()
        self.encoder = SANMEncoder(config)
        self.spread = nn.Linear(config.output_size, LABELS_PER_FRAME * width)
        self.phones = nn.Linear(width, phones)
        self.phonemes = nn.Linear(width, phonemes)

    def forward(self, frames: Tensor, plan: WindowPlan) -> tuple[Tensor, Tensor, Tensor]:
        """Encode packed frames.

        Returns:
            Encoder output ``(n, d)``, phone logits ``(n, 3, phones)`` and phoneme logits
            ``(n, 3, phonemes)``.
        """
        hidden = self.encoder.forward_packed(frames, plan)
        fine = F.gelu(self.spread(hidden)).view(len(hidden), LABELS_PER_FRAME, -1)
        return hidden, self.phones(fine), self.phonemes(fine)


def phone_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross entropy of known labels; 0 where none is known.

    Args:
        logits: shape ``(n, 3, phones)``.
        labels: int64, shape ``(n, 3)``, ``IGNORED`` where unknown.
        smoothing: label smoothing.
    """
    known = int((labels != IGNORED).sum())
    total = F.cross_entropy(
        logits.flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return total / max(known, 1)


def ctc_loss(logits: list[Tensor], targets: list[list[int]]) -> Tensor:
    """Return the CTC loss per target symbol over the recordings with targets; 0 without any.

    Args:
        logits: shape ``(20 ms frames, phonemes)`` each.
        targets: symbol ids of each recording; empty where not known.
    """
    known = [i for i, target in enumerate(targets) if target]
    if not known:
        return logits[0].sum() * 0.0
    # In float32 on the CPU: CTC there is deterministic, on CUDA it is not.
    padded = nn.utils.rnn.pad_sequence([logits[i] for i in known]).float().cpu().log_softmax(-1)
    lengths = torch.tensor([len(logits[i]) for i in known])
    flat = torch.tensor([symbol for i in known for symbol in targets[i]])
    sizes = torch.tensor([len(targets[i]) for i in known])
    total = F.ctc_loss(padded, flat, lengths, sizes, reduction="sum", zero_infinity=True)
    return total.to(logits[0].device) / int(sizes.sum())


def frame_labels(spikes: npt.NDArray[np.int32], frames: int) -> IntArray:
    """Return the three labels of every low-frame-rate frame, int64, shape ``(frames, 3)``.

    Frame ``i`` is made of filterbank rows around 60 * i + 12 ms, so its labels are those of
    20 ms frames 3 * i - 1 to 3 * i + 1. Without spikes nothing is known of a recording and
    every label is ``IGNORED``.
    """
    if not len(spikes):
        return np.full((frames, LABELS_PER_FRAME), IGNORED, dtype=np.int64)
    labels = spread_phones(spikes, LABELS_PER_FRAME * frames)
    shifted = np.concatenate([labels[:1], labels[:-1]])
    return shifted.reshape(frames, LABELS_PER_FRAME)


class PhonemeSet:
    """Symbols of known phoneme strings; id 0 is the blank of CTC.

    Stress, tone and punctuation are left out: the linguistic codes are to carry what is said,
    the semantic codes how.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        """Number the symbols in the order of their code points."""
        self.symbols = sorted(set(symbols))
        self._ids = {symbol: number + 1 for number, symbol in enumerate(self.symbols)}

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> PhonemeSet:
        """Collect the symbols of phoneme strings."""
        return cls(symbol for text in texts if text for symbol in _STRIPPED.sub("", text))

    def __len__(self) -> int:
        """Return the number of classes, blank included."""
        return len(self.symbols) + 1

    def encode(self, text: str | None) -> list[int]:
        """Return the ids of a phoneme string; symbols that were never collected are left out."""
        stripped = _STRIPPED.sub("", text or "")
        return [self._ids[symbol] for symbol in stripped if symbol in self._ids]
