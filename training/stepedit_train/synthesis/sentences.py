"""Sentences to speak: those of transcripts, chains of their words, and a small grammar."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

import numpy as np

__all__ = ["chains", "grammatical", "sentences_of", "various"]

_END = re.compile(r"(?<=[.!?])\s+")
_SPEAKABLE = re.compile(r"[A-Za-z][A-Za-z',;:.!? -]*[A-Za-z.!?]")
FEWEST, MOST = 4, 16
"""Words of a sentence."""
MOST_LETTERS = 90
_START, _STOP = "<s>", "</s>"


def sentences_of(transcripts: Iterable[str]) -> Iterator[str]:
    """Yield the sentences of transcripts that are short and hold letters alone, each once."""
    seen = set()
    for transcript in transcripts:
        for part in _END.split(transcript.replace("’", "'").strip()):
            sentence = part.strip(" -\"'")
            if _fits(sentence) and sentence.lower() not in seen:
                seen.add(sentence.lower())
                yield sentence


def _fits(sentence: str) -> bool:
    return (
        FEWEST <= len(sentence.split()) <= MOST
        and len(sentence) <= MOST_LETTERS
        and _SPEAKABLE.fullmatch(sentence) is not None
    )


def chains(sentences: Iterable[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield endless sentences by a second-order Markov chain over the words of others.

    Hardly any makes sense, and all hold the vocabulary in likely company (Shannon 1948, section 3).

    Args:
        sentences: what the chain is counted on; at least one.
        rng: draws.
    """
    after: dict[tuple[str, str], list[str]] = defaultdict(list)
    follows: dict[str, list[str]] = defaultdict(list)
    for sentence in sentences:
        words = [_START, _START, *sentence.rstrip(".!?").split(), _STOP]
        for first, second, third in zip(words, words[1:], words[2:], strict=False):
            after[first, second].append(third)
            follows[second].append(third)
    while True:
        words = [_START, _START]
        while words[-1] != _STOP and len(words) < MOST + 3:
            # One step in three forgets the word before last, or the chain recites its sentences.
            last = words[-1]
            known = follows[last] if rng.random() < 1 / 3 else after[words[-2], last]
            words.append(str(rng.choice(known)))
        if words[-1] == _STOP:
            sentence = " ".join(words[2:-1]).strip(" ,;:-") + "."
            sentence = sentence[:1].upper() + sentence[1:]
            if _fits(sentence):
                yield sentence


@cache
def _grammar() -> dict[str, list[str]]:
    """Read the rules: a name, then its expansions, one a line."""
    rules: dict[str, list[str]] = {}
    name = ""
    text = files("stepedit_train.synthesis").joinpath("grammar.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.endswith(":"):
            name = line[:-1]
            rules[name] = []
        elif line.startswith("  "):
            rules[name] += [part.strip() for part in line.split("|") if part.strip()]
    return rules


def grammatical(rng: np.random.Generator) -> Iterator[str]:
    """Yield endless sentences of the grammar in ``grammar.txt``."""
    rules = _grammar()
    hole = re.compile(r"<([a-z_]+)>")
    while True:
        text = "<sentence>"
        while found := hole.search(text):
            chosen = str(rng.choice(rules[found[1]]))
            text = text[: found.start()] + chosen + text[found.end() :]
        sentence = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
        sentence = sentence[:1].upper() + sentence[1:]
        if _fits(sentence):
            yield sentence


def various(transcripts: Iterable[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield endless different sentences: a third each of transcripts, chains and the grammar.

    Sentences of transcripts come in random order until there are none left.

    Args:
        transcripts: English texts.
        rng: draws.
    """
    spoken = list(sentences_of(transcripts))
    pending = [spoken[int(place)] for place in rng.permutation(len(spoken))]
    sources = [grammatical(rng), *([chains(spoken, rng)] if spoken else [])]
    seen: set[str] = set()
    while True:
        place = int(rng.integers(len(sources) + 1))
        if place == len(sources) and not pending:
            continue
        sentence = pending.pop() if place == len(sources) else next(sources[place])
        if sentence.lower() not in seen:
            seen.add(sentence.lower())
            yield sentence
