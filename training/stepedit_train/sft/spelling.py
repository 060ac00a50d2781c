"""The pronouncing dictionary of a model's text tokenizer."""

from __future__ import annotations

import gzip
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from stepedit_core.errors import MissingDependencyError, StepeditError
from stepedit_core.models.text.pronunciations import COMMENT, PHONES, WORD

__all__ = ["DICTIONARY", "POCKETSPHINX", "read_dictionary"]

DICTIONARY = "pronunciations.txt.gz"
POCKETSPHINX = "pocketsphinx"
_SHIPPED = "pocketsphinx/model/en-us/cmudict-en-us.dict"


def read_dictionary(given: str | Path) -> bytes:
    """Return a dictionary in the CMU format as the model folder keeps it, gzip-compressed.

    Of several pronunciations the first is taken. Words that the tokenizer would not look up, such
    as those with digits, are left out; licence and comments become comments.

    Args:
        given: the file, or ``"pocketsphinx"`` for the one that this package ships (CMU
            Pronouncing Dictionary, BSD licence).

    Raises:
        MissingDependencyError: if pocketsphinx is not installed.
        StepeditError: if there is no such file, or it holds no word with phones of ARPAbet.
    """
    path, notice = _shipped() if given == POCKETSPHINX else (Path(given), "")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StepeditError(f"{path}: no readable dictionary ({error.strerror})") from error
    notice += "".join(f"{line}\n" for line in lines if line.startswith((COMMENT, ";;;")))
    words: dict[str, str] = {}
    for line in lines:
        word, _, rest = line.replace("’", "'").partition(" ")
        spelled = [phone.rstrip("012") for phone in rest.partition("#")[0].split()]
        if WORD.fullmatch(word) and spelled and set(spelled) <= set(PHONES):
            words.setdefault(word.lower(), " ".join(spelled))
    if not words:
        raise StepeditError(f"{path} is no pronouncing dictionary in the CMU format")
    remarks = "".join(f"{COMMENT} {line.lstrip('#; ')}\n" for line in notice.splitlines())
    text = "".join(f"{word} {spelled}\n" for word, spelled in sorted(words.items()))
    return gzip.compress((remarks + text).encode(), compresslevel=9, mtime=0)


def _shipped() -> tuple[Path, str]:
    """Return pocketsphinx's dictionary and its licence, which has to go with it."""
    try:
        package = distribution(POCKETSPHINX)
    except PackageNotFoundError as error:
        raise MissingDependencyError(
            "the pronouncing dictionary comes with pocketsphinx: pip install 'stepedit[align]'"
        ) from error
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    licences = [file for file in files if file.name == "LICENSE"]
    notice = licences[0].read_text(encoding="utf-8") if licences else ""
    return Path(str(package.locate_file(_SHIPPED))), notice.partition("WebRTC")[0]
