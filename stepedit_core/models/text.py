"""Text tokenizers of the language model.

``SentencePieceTokenizer`` reads the shipped ``tokenizer.model`` and gives the ids that the
Hugging Face fast tokenizer gives, without needing transformers. ``ByteTokenizer`` is its
small sibling for models that were trained on UTF-8 bytes. ``TextTokenizer.load`` picks by
``tokenizer_config.json``: ``"tokenizer_class": "ByteTokenizer"`` (with ``audio_base_id`` and
``audio_count`` beside it) means bytes, anything else means SentencePiece.

Words of a user never become control ids: ``parse_special=False`` spells ``<|EOT|>``, ``<s>``
and ``<audio_5>`` out as ordinary text.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from tokenizers.models import Unigram

from stepedit_core.errors import CheckpointError
from stepedit_core.models.text_proto import Piece, PieceType, read_pieces

__all__ = ["ByteTokenizer", "SentencePieceTokenizer", "TextTokenizer"]

_SPACE = "▁"
_AUDIO = re.compile(r"<audio_(\d+)>")


class TextTokenizer(ABC):
    """Turn text into ids and back; audio tokens have ids of their own.

    Attributes:
        bos_id: id of ``<s>``.
        eot_id: id of ``<|EOT|>``, which ends a turn.
        bot_id: id of ``<|BOT|>``, which starts a turn.
        audio_base_id: id of ``<audio_0>``; the ids of the others follow it.
        audio_count: number of audio ids.
        vocab_size: number of all ids.
    """

    bos_id: int
    eot_id: int
    bot_id: int
    audio_base_id: int
    audio_count: int
    vocab_size: int

    @staticmethod
    def load(folder: str | Path) -> TextTokenizer:
        """Load the tokenizer of a language-model folder.

        Raises:
            CheckpointError: if a file is missing, damaged or lacks a needed piece.
        """
        folder = Path(folder)
        config = read_tokenizer_config(folder)
        if config.get("tokenizer_class") == "ByteTokenizer":
            return ByteTokenizer.from_config(config, folder / "tokenizer_config.json")
        return SentencePieceTokenizer(folder / "tokenizer.model")

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
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): download it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold a JSON object: download it again")
    return config


class SentencePieceTokenizer(TextTokenizer):
    """The shipped SentencePiece unigram model, with the ids of the Hugging Face fast tokenizer.

    Segmentation is that of the ``tokenizers`` library, which the public code uses: it sums
    scores in float64. The sentencepiece library sums in float32 and picks other pieces in
    long texts where two ways are nearly as good.
    """

    def __init__(self, path: str | Path) -> None:
        """Read ``tokenizer.model``.

        Raises:
            CheckpointError: if the file is missing, damaged, or lacks a needed piece.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: download the language model's folder again")
        try:
            pieces = read_pieces(path.read_bytes())
            self._unigram = _unigram(pieces)
        except ValueError as error:
            raise CheckpointError(
                f"{path} is not a SentencePiece model ({error}): download it again"
            ) from error
        self._pieces = pieces
        marks = (PieceType.UNKNOWN, PieceType.CONTROL, PieceType.USER_DEFINED)
        self._marks = {p.text: i for i, p in enumerate(pieces) if p.type in marks}
        self._bytes = {int(p.text[3:5], 16): i for i, p in enumerate(pieces) if _is_byte(p)}
        self._byte_of = {i: byte for byte, i in self._bytes.items()}
        others = [text for text in self._marks if not _AUDIO.fullmatch(text)]
        others.sort(key=len, reverse=True)  # the longest mark wins
        self._mark_pattern = re.compile("|".join([*map(re.escape, others), _AUDIO.pattern]))
        self.vocab_size = len(pieces)
        self.bos_id = self._need("<s>", path)
        self.eot_id = self._need("<|EOT|>", path)
        self.bot_id = self._need("<|BOT|>", path)
        self.audio_base_id = self._need("<audio_0>", path)
        self.audio_count = _audio_run(self._marks, self.audio_base_id)

    def _need(self, piece: str, path: Path) -> int:
        if piece not in self._marks:
            raise CheckpointError(
                f"{path} has no piece {piece!r}: it is not the tokenizer of a Step-Audio model"
            )
        return self._marks[piece]

    def encode(self, text: str, *, parse_special: bool = False, first: bool = True) -> list[int]:
        """See ``TextTokenizer.encode``."""
        ids: list[int] = []
        done = 0
        for match in self._mark_pattern.finditer(text) if parse_special else ():
            mark = self._marks.get(match[0])
            if mark is None:  # an audio number beyond the vocabulary is ordinary text
                continue
            ids += self._words(text[done : match.start()], first and done == 0)
            ids.append(mark)
            done = match.end()
        return ids + self._words(text[done:], first and done == 0)

    def _words(self, text: str, first: bool) -> list[int]:
        text = text.replace(" ", _SPACE)
        if first and text and text[0] != _SPACE:
            text = _SPACE + text
        ids: list[int] = []
        for token in self._unigram.tokenize(text) if text else ():
            if self._pieces[token.id].type == PieceType.NORMAL:
                ids.append(token.id)
            else:
                ids += [self._bytes[byte] for byte in token.value.encode("utf-8")]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """See ``TextTokenizer.decode``; broken UTF-8 becomes replacement characters."""
        raw = b"".join(
            bytes([self._byte_of[i]]) if i in self._byte_of else self._pieces[i].text.encode()
            for i in map(int, ids)
        )
        text = raw.decode("utf-8", errors="replace").replace(_SPACE, " ")
        return text[1:] if text.startswith(" ") else text


class ByteTokenizer(TextTokenizer):
    """UTF-8 bytes, laid out as in the large vocabulary.

    Ids: 0 ``<unk>``, 1 ``<s>``, 2 ``</s>``, 3 ``<|EOT|>``, 4 ``<|BOT|>``, byte ``b`` is 68 + b,
    and ``<audio_N>`` is ``audio_base_id + N``.
    """

    bos_id, eot_id, bot_id = 1, 3, 4
    byte_base_id = 68
    _NAMES = ("<unk>", "<s>", "</s>", "<|EOT|>", "<|BOT|>")

    def __init__(self, audio_base_id: int = 324, audio_count: int = 5120) -> None:
        """Place the audio ids.

        Raises:
            ValueError: if they would overlap the byte ids.
        """
        if audio_base_id < self.byte_base_id + 256:
            raise ValueError(f"audio_base_id {audio_base_id} overlaps the byte ids 68..323")
        self.audio_base_id = audio_base_id
        self.audio_count = audio_count
        self.vocab_size = audio_base_id + audio_count
        names = "|".join(map(re.escape, self._NAMES))
        self._special = re.compile(rf"({names}|<audio_\d+>)")

    @classmethod
    def from_config(cls, config: dict[str, object], path: Path) -> ByteTokenizer:
        """Read ``audio_base_id`` and ``audio_count``; ``path`` is named in errors.

        Raises:
            CheckpointError: if a value is not a fitting integer.
        """
        base, count = config.get("audio_base_id", 324), config.get("audio_count", 5120)
        if not isinstance(base, int) or not isinstance(count, int) or base < 324 or count < 5120:
            raise CheckpointError(
                f"{path}: audio_base_id must be an integer of at least 324 and audio_count one "
                f"of at least 5120, not {base!r} and {count!r}"
            )
        return cls(base, count)

    def encode(self, text: str, *, parse_special: bool = False, first: bool = True) -> list[int]:
        """See ``TextTokenizer.encode``; ``first`` changes nothing, as bytes have no marks."""
        if not parse_special:
            return [self.byte_base_id + byte for byte in text.encode("utf-8")]
        ids: list[int] = []
        for place, section in enumerate(self._special.split(text)):
            special = self._special_id(section) if place % 2 else None
            ids += self.encode(section) if special is None else [special]
        return ids

    def _special_id(self, mark: str) -> int | None:
        audio = _AUDIO.fullmatch(mark)
        if audio is None:
            return self._NAMES.index(mark)
        index = int(audio[1])
        return self.audio_base_id + index if index < self.audio_count else None

    def decode(self, ids: Iterable[int]) -> str:
        """See ``TextTokenizer.decode``; broken UTF-8 becomes replacement characters."""
        raw = b"".join(self._bytes_of(int(i)) for i in ids)
        return raw.decode("utf-8", errors="replace")

    def _bytes_of(self, i: int) -> bytes:
        if self.byte_base_id <= i < self.byte_base_id + 256:
            return bytes([i - self.byte_base_id])
        if i >= self.audio_base_id:
            return f"<audio_{i - self.audio_base_id}>".encode()
        return self._NAMES[i].encode() if i < len(self._NAMES) else b"<unk>"


def _audio_run(marks: dict[str, int], base: int) -> int:
    """Return how many ``<audio_N>`` marks follow each other from ``base`` on."""
    count = 0
    while marks.get(f"<audio_{count}>") == base + count:
        count += 1
    return count


def _is_byte(piece: Piece) -> bool:
    return piece.type == PieceType.BYTE


def _unigram(pieces: list[Piece]) -> Unigram:
    """Return the segmenter over the ordinary pieces.

    Raises:
        ValueError: if the vocabulary has no unknown piece or not all 256 byte pieces.
    """
    unknown = [i for i, piece in enumerate(pieces) if piece.type == PieceType.UNKNOWN]
    if len(unknown) != 1 or sum(map(_is_byte, pieces)) != 256:
        raise ValueError("it needs one unknown piece and 256 byte pieces")
    # Text comes in with all blanks replaced, so a piece that starts with one never matches:
    # control, audio and byte pieces cannot be spelled by a user.
    vocabulary = [
        (piece.text if piece.type == PieceType.NORMAL else f" {i}", piece.score)
        for i, piece in enumerate(pieces)
    ]
    return Unigram(vocabulary, unk_id=unknown[0], byte_fallback=False)
