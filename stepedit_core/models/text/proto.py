"""Read the pieces of a serialised SentencePiece model.

The library's Python interface does not tell a piece's exact type, and protobuf is a heavy
dependency for one list; the wire format is simple enough (protobuf encoding guide;
sentencepiece_model.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

__all__ = ["Piece", "PieceType", "read_pieces"]


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
