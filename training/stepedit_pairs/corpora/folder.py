"""Any folder of recordings with text files beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stepedit_core.pairs import CorpusItem
from stepedit_pairs.corpora.walking import audio_files, first_text, item_id, same_words

__all__ = ["Folder"]

_TEXTS = (".normalized.txt", ".txt", ".lab")


class Folder:
    """Recordings with ``.normalized.txt``, ``.txt`` or ``.lab`` files beside them.

    A folder within the corpus is a speaker, as the Montreal Forced Aligner has it
    (montreal-forced-aligner.readthedocs.io, "Corpus formats"); recordings at the top have none.
    """

    name = "folder"

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether a folder holds any audio file."""
        root = Path(path)
        return root.is_dir() and next(audio_files(root), None) is not None

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield all recordings, with the words of the text files beside them."""
        root = Path(path)
        for file in audio_files(root):
            text = first_text(*(file.with_suffix(suffix) for suffix in _TEXTS))
            speaker = file.parent.relative_to(root).as_posix() if file.parent != root else None
            yield CorpusItem(
                item_id(root, file),
                str(file),
                text,
                speaker,
                group=same_words(speaker, text),
                corpus=root.resolve().name,
            )
