"""What a recording was decoded from, kept beside it as long as nobody touches its samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import DualCodes

__all__ = ["Decoded"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """Codes and mel spectrogram that samples were made from.

    An engine that edits its own output can begin with them. Encoding the sound again and taking
    its mel again costs quality with every edit of a chain, as with any lossy coding.

    Attributes:
        codes: that were decoded; their start counts in seconds of the samples.
        mel: log mel on the codes' grid, float32 ``(frames, bins)``, read-only.
        by: fingerprint of the weights that made it; to others it means nothing.
    """

    codes: DualCodes
    mel: npt.NDArray[np.float32]
    by: str

    def __post_init__(self) -> None:
        """Freeze the mel."""
        self.mel.setflags(write=False)

    def beginning_at(self, start: float) -> Decoded:
        """Return the same for samples in which the codes begin at another second."""
        return replace(self, codes=replace(self.codes, start=start))
