"""A small labelled corpus for checking pair builders: packaged and synthetic speech."""

from __future__ import annotations

from pathlib import Path

from stepedit_core.pairs import CorpusItem
from stepedit_core.speech import packaged, packaged_speech
from stepedit_core.testing.signals import DEFAULT_TRANSCRIPT, speech_like

__all__ = ["contract_corpus"]

_PACKAGED = ("office", "surpassed", "garden")
# Pitch in Hz and labels of renditions that one synthetic speaker gives of the same words.
_RENDITIONS: tuple[tuple[str, float, dict[str, str]], ...] = (
    ("neutral", 120.0, {"emotion": "neutral", "style": "neutral", "intensity": "normal"}),
    ("happy", 170.0, {"emotion": "happy", "style": "neutral", "intensity": "strong"}),
    ("sad", 95.0, {"emotion": "sad", "style": "neutral", "intensity": "strong"}),
    ("whisper", 130.0, {"emotion": "neutral", "style": "whisper", "intensity": "normal"}),
)


def contract_corpus(folder: Path) -> list[CorpusItem]:
    """Write a small corpus into a folder and return its items, in a stable order.

    It holds three packaged recordings, and two synthetic speakers who each say the same words
    in four ways, labelled with ``emotion``, ``style`` and ``intensity``.
    """
    items = []
    for name in _PACKAGED:
        row = packaged()[name]
        path = packaged_speech(name).write(folder / f"{name}.wav", subtype="FLOAT")
        items.append(
            CorpusItem(
                f"packaged-{name}",
                str(path),
                row.transcript,
                row.speaker,
                row.language,
                group=f"{row.speaker}-{name}",
                licence=row.licence,
                corpus="contract",
            )
        )
    for speaker, (voice, raised) in enumerate((("low", 1.0), ("high", 1.6))):
        for kind, f0, labels in _RENDITIONS:
            sound = speech_like(1.6, 24_000, seed=speaker, f0=f0 * raised)
            path = sound.write(folder / f"{voice}-{kind}.wav", subtype="FLOAT")
            items.append(
                CorpusItem(
                    f"synthetic-{voice}-{kind}",
                    str(path),
                    DEFAULT_TRANSCRIPT,
                    voice,
                    "en",
                    labels,
                    group=f"{voice}-greeting",
                    licence="CC0-1.0",
                    corpus="contract",
                )
            )
    return items
