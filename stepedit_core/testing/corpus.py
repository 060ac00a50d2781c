"""A small labelled corpus for checking pair builders: packaged and synthetic speech."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stepedit_core.pairs import CorpusItem
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.testing.signals import DEFAULT_TRANSCRIPT, speech_like
from stepedit_core.utterance import Utterance

__all__ = ["contract_corpus"]

_PACKAGED = ("office", "doctor", "surpassed")


@dataclass(frozen=True)
class _Rendition:
    """One way of saying the words: how it sounds and what it is labelled."""

    name: str
    emotion: str = "neutral"
    style: str = "neutral"
    seconds: float = 1.8
    f0: float = 120.0
    tempo: float = 1.0
    melody: float = 1.0
    peak: float = 0.4
    voiced: bool = True

    def say(self, raised: float, seed: int) -> Utterance:
        """Return the words in a voice whose pitch is raised by a factor."""
        return speech_like(
            self.seconds,
            seed=seed,
            f0=self.f0 * raised,
            tempo=self.tempo,
            melody=self.melody,
            peak=self.peak,
            voiced=self.voiced,
        )


# Coarse, exaggerated forms of what studies of vocal emotion report (Juslin & Laukka 2003,
# Psychological Bulletin 129): happy is higher, wider in pitch, louder and
# faster than neutral, sad the reverse.
_RENDITIONS = (
    _Rendition("neutral"),
    _Rendition("happy", emotion="happy", seconds=1.3, f0=200, tempo=1.4, melody=3.0, peak=0.9),
    _Rendition("sad", emotion="sad", seconds=2.8, f0=85, tempo=0.6, melody=0.2, peak=0.12),
    _Rendition("whisper", style="whisper", seconds=2.0, peak=0.1, voiced=False),
)


def contract_corpus(folder: Path) -> list[CorpusItem]:
    """Write a small corpus into a folder and return its items, in a stable order.

    It holds three packaged recordings, and two synthetic speakers who each say the same words
    in four ways, labelled with ``emotion`` and ``style``.
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
        for rendition in _RENDITIONS:
            file = folder / f"{voice}-{rendition.name}.wav"
            rendition.say(raised, speaker).write(file, subtype="FLOAT")
            labels = {"emotion": rendition.emotion, "style": rendition.style}
            items.append(
                CorpusItem(
                    f"synthetic-{voice}-{rendition.name}",
                    str(file),
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
