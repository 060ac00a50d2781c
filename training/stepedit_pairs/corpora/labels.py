"""One spelling for the labels that corpora give to emotion, style and intensity."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["attribute_of", "emotion_label", "style_label"]

NEUTRAL = "neutral"
_EMOTIONS: Mapping[str, tuple[str, ...]] = {
    NEUTRAL: ("neu", "normal", "none"),
    "angry": ("anger", "ang"),
    "happy": ("happiness", "hap", "joy", "joyful"),
    "sad": ("sadness", "sadnes"),
    "fear": ("fearful", "fea", "afraid", "scared"),
    "disgusted": ("disgust", "dis"),
    "surprised": ("surprise", "sur"),
    "excited": ("excitement", "exc"),
    "calm": (),
    "bored": ("boredom",),
    "anxious": ("anxiety",),
    "amused": ("amusement", "amu"),
    "contempt": ("contemptuous",),
    "depressed": ("depression",),
    "embarrass": ("embarrassed", "embarrassment"),
    "confusion": ("confused",),
    "humour": ("humor", "humorous"),
    "empathy": ("empathetic",),
    "admiration": ("admiring",),
    "coldness": ("cold",),
    "apologetic": (),
    "assertive": (),
    "concerned": ("concern",),
    "encouraging": (),
}
_STYLES: Mapping[str, tuple[str, ...]] = {
    "whisper": ("whispered", "whispering"),
    "shout": ("shouting", "shouted"),
    "murmur": ("murmuring",),
    "child": (),
    "older": ("elderly", "old"),
    "exaggerated": (),
    "recite": ("recitation",),
    "generous": (),
    "act_coy": ("coy",),
    "drunk": (),
    "sleepy": ("sleepiness",),
    "loudly": ("loud",),
    "serious": (),
    "gentle": (),
}
_TO_EMOTION = {name: own for own, others in _EMOTIONS.items() for name in (own, *others)}
_TO_STYLE = {name: own for own, others in _STYLES.items() for name in (own, *others)}


def _plain(label: str) -> str:
    return label.strip().lower().replace(" ", "_").replace("-", "_")


def emotion_label(label: str) -> str:
    """Return an emotion in the spelling of the emotion edit; unknown ones in lower case."""
    plain = _plain(label)
    return _TO_EMOTION.get(plain, plain)


def style_label(label: str) -> str:
    """Return a style in the spelling of the style edit; unknown ones in lower case."""
    plain = _plain(label.rpartition(":")[2])
    return _TO_STYLE.get(plain, plain)


def attribute_of(label: str) -> str | None:
    """Return which attribute a bare label belongs to: ``emotion``, ``style`` or None."""
    plain = _plain(label)
    if plain in _TO_STYLE:
        return "style"
    return "emotion" if plain in _TO_EMOTION else None
