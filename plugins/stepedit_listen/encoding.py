"""A Whisper model whose encoder is not asked twice about the same sound."""

from __future__ import annotations

from collections import deque
from typing import Any

import faster_whisper
import numpy as np
import numpy.typing as npt

from stepedit_listen.certainty import whole_tokenizer

__all__ = ["EncodingOnce"]

_KEPT = 2
"""Windows whose states are kept, such as a short one of a recording and the one of 30 s."""


class EncodingOnce(faster_whisper.WhisperModel):  # type: ignore[misc]
    """Hears the same recording plainly, with times and in other ways for one pass of the encoder.

    The encoder takes most of the time. Threads may share it: what is kept is never written into.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        """Load a model; arguments as of ``faster_whisper.WhisperModel``."""
        super().__init__(*given, **options)
        self._whole: Any = None
        self._seen: deque[tuple[npt.NDArray[np.float32], Any]] = deque(maxlen=_KEPT)

    def text_tokenizer(self) -> Any:
        """Return the ``tokenizers.Tokenizer`` of given texts, as `whole_tokenizer` mends it."""
        if self._whole is None:
            self._whole = whole_tokenizer(self.hf_tokenizer)
        return self._whole

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        """Return the encoder's states of log mels ``(bins, frames)``, made once."""
        for known, states in tuple(self._seen):
            if known.shape == features.shape and np.array_equal(known, features):
                return states
        states = super().encode(features)
        self._seen.append((np.array(features), states))
        return states
