"""Text tokenizers of the language model.

``SentencePieceTokenizer`` reads the shipped ``tokenizer.model`` and gives the ids that the
Hugging Face fast tokenizer gives, without needing transformers. ``ByteTokenizer`` is its
small sibling for models that were trained on UTF-8 bytes. ``load_tokenizer`` picks by
``tokenizer_config.json``: ``"tokenizer_class": "ByteTokenizer"`` (with ``audio_base_id``,
``audio_count``, ``phrases`` and ``pronunciations`` beside it) means bytes, anything else means
SentencePiece.

Words of a user never become control ids: ``parse_special=False`` spells ``<|EOT|>``, ``<s>``
and ``<audio_5>`` out as ordinary text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from tokenizers.models import Unigram

from stepedit_core.errors import CheckpointError
from stepedit_core.models.text.base import AUDIO_MARK, TextTokenizer

__all__ = ["Piece", "PieceType", "SentencePieceTokenizer", "read_pieces"]

_SPACE = "▁"


_MAX_BYTES = 1 << 26


# The library's Python interface does not tell a piece's exact type, and protobuf is a heavy
# dependency for one list; the wire format is simple enough (protobuf encoding guide;
# sentencepiece_model.proto).


class PieceType(IntEnum):
    """Kinds of pieces, numbered as in sentencepiece_model.proto."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    type: PieceType


def read_pieces(proto: bytes) -> list[Piece]:
    """Return the pieces of a serialised ``ModelProto`` in id order.

    Raises:
        ValueError: if the bytes are not such a message, or end too early.
    """
    try:
        return [
            _piece(proto[content:end]) for number, content, end in _fields(proto) if number == 1
        ]
    except (IndexError, struct.error) as error:
        raise ValueError("the message ends inside a field") from error


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, PieceType.NORMAL
    for number, content, end in _fields(data):
        if number == 1:
            text = data[content:end].decode("utf-8")
        elif number == 2:
            score = struct.unpack("<f", data[content:end])[0]
        elif number == 3:
            kind = PieceType(_varint(data, content)[0])
    return Piece(text, score, kind)


def _fields(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (number, content start, end) of each field of a protobuf message."""
    at = 0
    while at < len(data):
        key, content = _varint(data, at)
        wire = key & 7
        if wire == 0:
            _, at = _varint(data, content)
        elif wire == 2:
            length, content = _varint(data, content)
            at = content + length
        elif wire in (1, 5):
            at = content + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at > len(data):
            raise ValueError("the message ends inside a field")
        yield key >> 3, content, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a protobuf varint; return it and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:  # ten bytes hold 64 bits; adding up more takes time that grows as a square
            raise ValueError("a number of more than ten bytes")


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
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise CheckpointError(
                f"{path}: {size} bytes is too large for a tokenizer: download it again"
            )
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
        others = [text for text in self._marks if not AUDIO_MARK.fullmatch(text)]
        others.sort(key=len, reverse=True)  # the longest mark wins
        self._mark_pattern = re.compile("|".join([*map(re.escape, others), AUDIO_MARK.pattern]))
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
