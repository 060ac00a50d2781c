"""The text tokenizer of small models: UTF-8 bytes, whole phrases, and words as phones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stepedit_core.errors import CheckpointError
from stepedit_core.models.text.base import AUDIO_MARK, TextTokenizer
from stepedit_core.models.text.numerals import spell_numerals
from stepedit_core.models.text.pronunciations import PHONES, WORD, Pronunciations

__all__ = ["ByteTokenizer"]


class ByteTokenizer(TextTokenizer):
    """UTF-8 bytes, laid out as in the large vocabulary; whole phrases and phones after them.

    Ids: 0 ``<unk>``, 1 ``<s>``, 2 ``</s>``, 3 ``<|EOT|>``, 4 ``<|BOT|>``, byte ``b`` is 68 + b,
    ``<audio_N>`` is ``audio_base_id + N``, and phrase ``k`` is ``audio_base_id + audio_count + k``;
    with a pronouncing dictionary, phone ``k`` of ``PHONES`` has the ``k``-th id after them.

    Phrases are the constant words of prompts, which keeps prompts short. From left to right the
    longest that fits becomes one id, whoever wrote it: they are ordinary words, not control
    marks. In other text, numerals become English words, and words that the dictionary knows their
    phones, so that a model need not learn to spell. Everything else stays bytes.
    """

    bos_id, eot_id, bot_id = 1, 3, 4
    byte_base_id = 68
    _NAMES = ("<unk>", "<s>", "</s>", "<|EOT|>", "<|BOT|>")

    def __init__(
        self,
        audio_base_id: int = 324,
        audio_count: int = 5120,
        phrases: Iterable[str] = (),
        pronunciations: Pronunciations | None = None,
    ) -> None:
        """Place the audio ids, the phrases and, with ``pronunciations``, the phones.

        Raises:
            ValueError: if audio ids would overlap the byte ids, or a phrase is empty or repeated.
        """
        if audio_base_id < self.byte_base_id + 256:
            raise ValueError(f"audio_base_id {audio_base_id} overlaps the byte ids 68..323")
        self.audio_base_id = audio_base_id
        self.audio_count = audio_count
        self.phrases = tuple(phrases)
        if "" in self.phrases or len(set(self.phrases)) < len(self.phrases):
            raise ValueError("a phrase is empty or given twice")
        self._phrase_base = audio_base_id + audio_count
        self.pronunciations = pronunciations
        self._phone_base = self._phrase_base + len(self.phrases)
        self._phone_ids = {text: self._phone_base + k for k, text in enumerate(PHONES)}
        self.vocab_size = self._phone_base + (0 if pronunciations is None else len(PHONES))
        self._phrase_ids = {text: self._phrase_base + k for k, text in enumerate(self.phrases)}
        longest_first = sorted(self.phrases, key=len, reverse=True)
        self._phrase = re.compile("|".join(map(re.escape, longest_first))) if self.phrases else None
        names = "|".join(map(re.escape, self._NAMES))
        self._special = re.compile(rf"({names}|<audio_\d+>)")

    @classmethod
    def from_config(cls, config: dict[str, object], path: Path) -> ByteTokenizer:
        """Read ``audio_base_id``, ``audio_count``, ``phrases`` and ``pronunciations``.

        Args:
            config: what ``tokenizer_config.json`` holds.
            path: of that file; ``pronunciations`` is the name of a file beside it.

        Raises:
            CheckpointError: if a value is not a fitting integer, phrases are no list of
                different strings, or there is no such file.
        """
        base, count = config.get("audio_base_id", 324), config.get("audio_count", 5120)
        if not isinstance(base, int) or not isinstance(count, int) or base < 324 or count < 5120:
            raise CheckpointError(
                f"{path}: audio_base_id must be an integer of at least 324 and audio_count one "
                f"of at least 5120, not {base!r} and {count!r}"
            )
        phrases = config.get("phrases", [])
        if not isinstance(phrases, list) or not all(isinstance(p, str) for p in phrases):
            raise CheckpointError(f"{path}: phrases must be a list of strings")
        named = config.get("pronunciations")
        if named is not None and (not isinstance(named, str) or Path(named).name != named):
            raise CheckpointError(f"{path}: pronunciations must be the name of a file beside it")
        spoken = None if named is None else Pronunciations(path.parent / named)
        try:
            return cls(base, count, phrases, spoken)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def encode(self, text: str, *, parse_special: bool = False, first: bool = True) -> list[int]:
        """See ``TextTokenizer.encode``; ``first`` changes nothing, as bytes have no marks."""
        ids: list[int] = []
        if not parse_special:
            done = 0
            for match in self._phrase.finditer(text) if self._phrase else ():
                ids += self._spelled(text[done : match.start()])
                ids.append(self._phrase_ids[match[0]])
                done = match.end()
            return ids + self._spelled(text[done:])
        for place, section in enumerate(self._special.split(text)):
            special = self._special_id(section) if place % 2 else None
            ids += self.encode(section) if special is None else [special]
        return ids

    def _spelled(self, text: str) -> list[int]:
        """Return text as phones where its words are known, as bytes elsewhere."""
        if self.pronunciations is None:
            return self._bytes(text)
        text = spell_numerals(text)
        ids, done = [], 0
        for match in WORD.finditer(text):
            phones = self.pronunciations.phones(match[0])
            if phones is not None:
                ids += self._bytes(text[done : match.start()])
                ids += [self._phone_ids[phone] for phone in phones]
                done = match.end()
        return ids + self._bytes(text[done:])

    def _bytes(self, text: str) -> list[int]:
        return [self.byte_base_id + byte for byte in text.encode("utf-8")]

    def _special_id(self, mark: str) -> int | None:
        audio = AUDIO_MARK.fullmatch(mark)
        if audio is None:
            return self._NAMES.index(mark)
        index = int(audio[1])
        return self.audio_base_id + index if index < self.audio_count else None

    def decode(self, ids: Iterable[int]) -> str:
        """See ``TextTokenizer.decode``; broken UTF-8 becomes replacement characters.

        Phones are not turned back into words: ``hello`` comes back as ``/HH//AH//L//OW/``.
        """
        raw = b"".join(self._bytes_of(int(i)) for i in ids)
        return raw.decode("utf-8", errors="replace")

    def _bytes_of(self, i: int) -> bytes:
        if self.byte_base_id <= i < self.byte_base_id + 256:
            return bytes([i - self.byte_base_id])
        if self._phone_base <= i < self.vocab_size:
            return f"/{PHONES[i - self._phone_base]}/".encode()
        if self._phrase_base <= i < self._phone_base:
            return self.phrases[i - self._phrase_base].encode()
        if self.audio_base_id <= i < self._phrase_base:
            return f"<audio_{i - self.audio_base_id}>".encode()
        return self._NAMES[i].encode() if i < len(self._NAMES) else b"<unk>"
