"""How sure Whisper is of given words: one pass of the decoder over the text, and no search.

The model is shown the transcript, as for the words' times (`stepedit_listen.attention`), and says
how likely each token is after those before it. A word that was lost or replaced is unlikely where
it begins, though what follows it may not be: text alone tells much of what comes next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stepedit_core.dsp.words import Word
from stepedit_listen.attention import plain_text

__all__ = ["certainties", "whole_tokenizer"]

_MOST_TOKENS = 440


def whole_tokenizer(given: Any) -> Any:
    """Return a tokenizer that joins a blank with a ``t`` after it, as Whisper was trained.

    The file of the packaged base model lacks that first merge of the byte pairs, so that every
    word that begins with a t is cut in two: the model finds such a text unlikely.

    Args:
        given: a ``tokenizers.Tokenizer`` of byte pairs.
    """
    from tokenizers import Tokenizer

    first, data = ("Ġ", "t"), json.loads(given.to_str())
    merges, known = data["model"].get("merges", []), data["model"].get("vocab", {})
    whole = any(tuple(one.split(" ") if isinstance(one, str) else one) == first for one in merges)
    if whole or not merges or "".join(first) not in known:
        return given
    merges.insert(0, " ".join(first) if isinstance(merges[0], str) else list(first))
    return Tokenizer.from_str(json.dumps(data))


def certainties(
    model: Any,
    states: Any,
    frames: int,
    prompt: Sequence[int],
    tokenizer: Any,
    transcript: str,
    words: Sequence[Word],
) -> list[float] | None:
    """Return how likely each word is where it is to be said, 0..1: its least likely token.

    Args:
        model: a ``ctranslate2.models.Whisper``.
        states: what its encoder makes of the sound, of one recording.
        frames: of the sound, 10 ms each.
        prompt: tokens before the text, that of transcription without times left out.
        tokenizer: a ``tokenizers.Tokenizer``, see `whole_tokenizer`.
        transcript: that the words lie in.
        words: whose likelihood is asked for.

    Returns:
        One value for each word, or None where the text has too many tokens for one pass.
    """
    text, places = plain_text(transcript, words)
    encoded = tokenizer.encode(text, add_special_tokens=False)
    if not words or len(encoded.ids) > _MOST_TOKENS:
        return None
    found = model.align(states, list(prompt), [encoded.ids], [frames])[0].text_token_probs
    sure = [1.0] * len(places)
    for (start, end), value in zip(encoded.offsets, found, strict=True):
        for at, word in enumerate(places):
            if start < word.end and word.start < end:
                sure[at] = min(sure[at], float(value))
    return sure
