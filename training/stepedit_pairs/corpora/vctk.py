"""The CSTR VCTK corpus."""

from __future__ import annotations

import re
from pathlib import Path

from stepedit_core.pairs import CorpusItem
from stepedit_pairs.corpora.walking import NamedFiles, first_text, item_id, same_words

__all__ = ["Vctk"]


class Vctk(NamedFiles):
    """VCTK: ``wav48_silence_trimmed/p225/p225_001_mic1.flac``, words in ``txt/p225/p225_001.txt``.

    Version 0.80 has ``wav48/p225/p225_001.wav``. Of two microphones the first is used, the
    second where the first is missing. Source: Yamagishi, Veaux & MacDonald 2019,
    doi:10.7488/ds/2645. Licence: CC BY 4.0 (0.92).
    """

    name = "vctk"
    pattern = re.compile(r"([ps]\d{1,3})_(\d{3})(?:_mic([12]))?")

    def item(self, root: Path, file: Path, match: re.Match[str]) -> CorpusItem | None:
        """Return the item of a recording by its name and text; None of the unused microphone."""
        speaker, number, microphone = match.groups()
        if microphone == "2" and file.with_stem(f"{speaker}_{number}_mic1").exists():
            return None
        places = [
            folder / "txt" / speaker / f"{speaker}_{number}.txt"
            for folder in list(file.parents)[:3]
        ]
        text = first_text(*places, file.with_name(f"{speaker}_{number}.txt"))
        who = f"vctk_{speaker}"
        return CorpusItem(
            item_id(root, file),
            str(file),
            text,
            who,
            "en",
            group=same_words(who, text),
            licence="CC BY 4.0" if microphone else None,
            corpus="vctk",
        )
