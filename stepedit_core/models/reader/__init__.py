"""Read codes back: how well they say given words.

Of several answers to a request whose words are known, the one is kept that reads best. A language
model that finds its place in the text by attention now and then says a phrase twice or leaves one
out, at no cost in its own likelihood; who must read all phones once, in order, does see it.
Choosing among samples by a recogniser is common in speech synthesis.
"""

from stepedit_core.models.reader.network import (
    BLANK,
    FRAMES_PER_GROUP,
    PhoneNetwork,
    phones_loss,
)
from stepedit_core.models.reader.reader import READER, PhoneReader, phones_of

__all__ = [
    "BLANK",
    "FRAMES_PER_GROUP",
    "READER",
    "PhoneNetwork",
    "PhoneReader",
    "phones_loss",
    "phones_of",
]
