"""Which encodings a text that is not UTF-8 may be in, and how it reads in each.

Encodings of one or two bytes for each character cannot be told apart with certainty. So none is
taken by itself: the likely ones are named with what the text says in them, for the user to see.
"""

from __future__ import annotations

import re

__all__ = ["likely_encodings", "not_utf8", "readings"]

USUAL = (
    *("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1250", "cp1251", "cp1253"),
    *("cp1254", "cp1255", "cp1256", "cp1257", "cp874", "koi8_r", "mac_roman"),
)
"""Encodings in which programs still write texts, by the names that Python and ``iconv`` know."""
_LOOKED_AT = 65_536
_SHOWN = 12
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def likely_encodings(content: bytes, most: int = 2) -> list[tuple[str, str]]:
    """Return the likely encodings of a text, likeliest first, and its text in each.

    The ranking is charset-normalizer's, among those that programs still write. Of encodings that
    give the same text the first is returned.

    Args:
        content: the first bytes of the text, not in UTF-8.
        most: how many are returned.
    """
    from charset_normalizer import from_bytes

    start = content[:_LOOKED_AT]
    start = start[: start.rfind(b"\n") + 1] or start  # no character cut in two
    found: dict[str, str] = {}
    for match in from_bytes(start, cp_isolation=list(USUAL), threshold=0.5):
        text = str(match)
        if text not in found.values() and not _CONTROL.search(text):
            found[match.encoding] = text
    return list(found.items())[:most]


def readings(content: bytes) -> str:
    """Say in which encodings a text may be and how its first foreign word reads in each.

    The text is empty where none is likely, else such as "; it may be gb18030 ('你好') or big5
    ('斕疑')".
    """
    likely = [(name, _foreign(text)) for name, text in likely_encodings(content)]
    shown = [f"{name} ({word!r})" for name, word in likely if word]
    return f"; it may be {' or '.join(shown)}" if shown else ""


def not_utf8(content: bytes) -> str:
    """Say that a text is not UTF-8, in which encodings it may be, and what to do."""
    return f"not UTF-8{readings(content)}; save it as UTF-8 (iconv -f NAME -t utf-8 IN > OUT)"


def _foreign(text: str) -> str:
    """Return the first word of a text that is not ASCII, with little around it."""
    found = re.search(r"[\w'’-]*[^\x00-\x7f][^\s,;|\t]*", text)
    return found.group()[:_SHOWN] if found else ""
