"""What every text tokenizer of the language model offers."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from stepedit_core.errors import CheckpointError
from stepedit_core.models.text.pronunciations import Pronunciations

__all__ = ["AUDIO_MARK", "TextTokenizer", "read_tokenizer_config"]

AUDIO_MARK = re.compile(r"<audio_(\d+)>")


class TextTokenizer(ABC):
    """Turn text into ids and back; audio tokens have ids of their own.

    Attributes:
        bos_id: id of ``<s>``.
        eot_id: id of ``<|EOT|>``, which ends a turn.
        bot_id: id of ``<|BOT|>``, which starts a turn.
        audio_base_id: id of ``<audio_0>``; the ids of the others follow it.
        audio_count: number of audio ids.
        vocab_size: number of all ids.
        pronunciations: what spells words as phones, where the tokenizer does.
    """

    bos_id: int
    eot_id: int
    bot_id: int
    audio_base_id: int
    audio_count: int
    vocab_size: int
    pronunciations: Pronunciations | None = None

    @abstractmethod
    def encode(self, text: str, *, parse_special: bool = False, first: bool = True) -> list[int]:
        """Return the ids of ``text``, without a leading ``<s>``.

        Args:
            text: any text.
            parse_special: read ``<|EOT|>``, ``<audio_5>`` and the like as their single ids;
                otherwise they are spelled out. Never set it for words of a user.
            first: the text starts a sequence, so its first word gets the word-start mark.
                False continues a running text.
        """

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; control and audio ids appear as their marks."""

    def audio_ids(self, tokens: Iterable[int]) -> list[int]:
        """Return the ids of audio token indices (the ``N`` of ``<audio_N>``).

        Raises:
            ValueError: if an index is outside the vocabulary's audio range.
        """
        ids = []
        for token in tokens:
            if not 0 <= token < self.audio_count:
                raise ValueError(f"audio token {token} is outside 0..{self.audio_count - 1}")
            ids.append(self.audio_base_id + int(token))
        return ids


def read_tokenizer_config(folder: Path) -> dict[str, object]:
    """Return ``tokenizer_config.json``; empty if the file is absent.

    Raises:
        CheckpointError: if the file is not a JSON object.
    """
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): download it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold a JSON object: download it again")
    return config
