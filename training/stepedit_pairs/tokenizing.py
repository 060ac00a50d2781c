"""Codes from an audio tokenizer alone, where there is no whole engine yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepedit_core.codes import DualCodes
from stepedit_core.engine import DecodeRequest, GenerateRequest
from stepedit_core.errors import EngineError
from stepedit_core.utterance import Utterance

__all__ = ["TokenizerEngine"]


class TokenizerEngine:
    """A Step-Audio-Tokenizer folder in the place of an engine: it encodes and does no more.

    Args:
        folder: the folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads of the semantic graph; one gives every worker the same speed.

    Raises:
        CheckpointError: if a file is missing, damaged or foreign.
        EngineError: if this machine has no such device.
    """

    name = "tokenizer"
    sample_rate = 24_000

    def __init__(
        self, folder: Path | str, device: str = "auto", *, threads: int | None = 1
    ) -> None:
        from stepedit_core.models.checkpoint.load import pick_device
        from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
        from stepedit_core.models.tokenizer.identity import tokenizer_hash

        self.folder = Path(folder)
        chosen = str(pick_device(device))
        self.fingerprint = tokenizer_hash(self.folder)
        self._tokenizer = AudioTokenizer.load(self.folder, chosen, threads=threads)

    def describe(self) -> Mapping[str, Any]:
        """Return the name and a hash of the files."""
        return {"name": self.name, "weights": self.fingerprint}

    def encode(self, utterances: Sequence[Utterance]) -> list[DualCodes]:
        """Return the codes of each utterance.

        Raises:
            AudioError: if an utterance is empty.
        """
        return self._tokenizer.encode([(u.samples, u.sample_rate) for u in utterances])

    def generate(self, requests: Sequence[GenerateRequest]) -> list[DualCodes]:
        """Refuse: there is no language model.

        Raises:
            EngineError: always.
        """
        raise EngineError(_ALONE)

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Utterance]:
        """Refuse: there is no decoder.

        Raises:
            EngineError: always.
        """
        raise EngineError(_ALONE)


_ALONE = "an audio tokenizer alone cannot speak; give a whole engine with --engine"
