"""Write the example sentences of WordNet 3 in a random order, one a line.

python wordnet.py FOLDER OUT.txt

FOLDER holds `data.adj`, `data.adv`, `data.noun` and `data.verb` (Debian: wordnet-base). Sentences
of 4 to 16 words and at most 90 letters, without digits or signs, each once.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

SPEAKABLE = re.compile(r"[A-Za-z][A-Za-z',;:.!? -]*[A-Za-z.!?]")
DEFINED = re.compile(r"\([^)]*\)")


def main(folder: str, out: str) -> None:
    """Read the glosses and write what is quoted in them."""
    seen: set[str] = set()
    found = []
    for part in ("adj", "adv", "noun", "verb"):
        text = (Path(folder) / f"data.{part}").read_text(encoding="utf-8", errors="ignore")
        for line in text.splitlines():
            if line.startswith("  "):
                continue  # the licence
            gloss = line.split(" | ", 1)[-1]
            for quoted in re.findall(r'"([^"]+)"', gloss):
                sentence = quoted.strip(" -.;,").replace("’", "'")
                if fits(sentence, 4, 16, 90) and sentence.lower() not in seen:
                    seen.add(sentence.lower())
                    end = "" if sentence[-1] in ".!?" else "."
                    found.append(sentence[0].upper() + sentence[1:] + end)
            # A definition, too, is marked as seen, as when the weights were taught.
            defined = " ".join(DEFINED.sub("", gloss.split('; "')[0]).split()).split(";")[0].strip()
            if part != "adv" and fits(defined, 5, 12, 75):
                seen.add(defined.lower())
    random.Random(0).shuffle(found)
    Path(out).write_text("\n".join(found) + "\n", encoding="utf-8")
    print(len(found), "sentences")


def fits(sentence: str, fewest: int, most: int, letters: int) -> bool:
    """Return whether a sentence is short and holds letters alone."""
    words = len(sentence.split())
    speakable = SPEAKABLE.fullmatch(sentence) is not None
    return fewest <= words <= most and len(sentence) <= letters and speakable


if __name__ == "__main__":
    main(*sys.argv[1:3])
