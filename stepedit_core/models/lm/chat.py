"""Chat framing: from the words of a prompt to the ids that the language model reads.

The public system has two encodings of the same conversation:

- ``"r1"`` (first release) encodes the pieces one by one and lets each begin with ``<s>``;
- ``"r2"`` (later release) renders one chat template, with a single ``<s>``.

Both put a system turn, a user turn ("human") and the head of the assistant turn between
``<|BOT|>`` and ``<|EOT|>``. Words are always encoded as plain text, audio tokens always as
ids, so nothing that a user writes can become a control or audio id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import BudgetError
from stepedit_core.models.text.base import TextTokenizer, read_tokenizer_config

__all__ = [
    "MAX_TOKENS",
    "UNKNOWN",
    "FramedPrompt",
    "PromptEncoding",
    "Turn",
    "check_budget",
    "clone_speaker_name",
    "encode_prompt",
    "frame_prompt",
    "hide_words",
    "parse_audio_string",
    "preferred_encoding",
]

PromptEncoding = Literal["r1", "r2"]

MAX_TOKENS = 8192
"""Tokens that prompt and output share in the public system."""

UNKNOWN = 0
"""Id of ``<unk>`` in the public vocabulary and in the small ones."""

_TOKENS_PER_SECOND = 5 / 0.12
_HASH_SAMPLES = 1000
_AUDIO_STRING = re.compile(r"(?:<audio_\d+>)*")


@dataclass(frozen=True)
class Turn:
    """The text of one turn, with an optional audio slot.

    Attributes:
        before: text before the audio, or all of the text.
        audio: audio token indices 0..5119 (``DualCodes.interleave``), or None without a slot.
        after: text after the audio.
    """

    before: str
    audio: Sequence[int] | npt.NDArray[np.int64] | None = None
    after: str = ""

    @classmethod
    def split(cls, text: str, slot: str, audio: Iterable[int]) -> Turn:
        """Put ``audio`` where ``slot`` stands in ``text``; without a slot it is left out.

        Raises:
            ValueError: if the slot occurs more than once.
        """
        if text.count(slot) > 1:
            raise ValueError(f"the text has {text.count(slot)} audio slots {slot!r}, not one")
        before, found, after = text.partition(slot)
        return cls(before, [int(token) for token in audio] if found else None, after)


@dataclass(frozen=True)
class FramedPrompt:
    """The ids of a prompt, and where its parts lie.

    Attributes:
        ids: all ids.
        audio: (start, stop) of the audio.
        text: (start, stop) of the user turn's text where that turn has no audio (a clone's
            words to speak); otherwise None.
    """

    ids: list[int]
    audio: tuple[int, int]
    text: tuple[int, int] | None


def frame_prompt(
    tokenizer: TextTokenizer, system: Turn, user: Turn, encoding: PromptEncoding = "r1"
) -> FramedPrompt:
    """Return ``encode_prompt``'s ids, and where audio and the words to speak lie in them."""
    ids = encode_prompt(tokenizer, system, user, encoding)
    first, count = tokenizer.audio_base_id, tokenizer.audio_count
    places = [at for at, i in enumerate(ids) if first <= i < first + count]
    audio = (places[0], places[-1] + 1) if places else (0, 0)
    if user.audio is not None:
        return FramedPrompt(ids, audio, None)
    # The last turn mark before the assistant's ends the words. They are counted from there, as
    # a head that is encoded together with them has no fixed length in every vocabulary.
    stop = max(at for at, i in enumerate(ids) if i == tokenizer.eot_id)
    words = len(tokenizer.encode(user.before, first=False))
    return FramedPrompt(ids, audio, (stop - words, stop))


def encode_prompt(
    tokenizer: TextTokenizer, system: Turn, user: Turn, encoding: PromptEncoding = "r1"
) -> list[int]:
    """Return the ids of a conversation up to the head of the assistant turn.

    An edit has its audio in the user turn; a clone has it in the system turn, and the user
    turn is the text to speak.

    Args:
        tokenizer: the language model's text tokenizer.
        system: the system turn.
        user: the user turn.
        encoding: ``"r1"`` or ``"r2"``.

    Raises:
        ValueError: if not exactly one turn has audio, or the encoding is unknown.
    """
    if (system.audio is None) == (user.audio is None):
        raise ValueError("exactly one of the system and the user turn must hold the audio")
    bos, bot, eot = tokenizer.bos_id, tokenizer.bot_id, tokenizer.eot_id
    if encoding == "r2":
        ids = [bos, bot, *_turn(tokenizer, " system\n", system), eot]
        ids += [bot, *_turn(tokenizer, " human\n", user), eot]
        return [*ids, bot, *tokenizer.encode(" assistant\n", first=False)]
    if encoding != "r1":
        raise ValueError(f"unknown prompt encoding {encoding!r}: use 'r1' or 'r2'")
    ids = [bos, bot, bos, *_turn(tokenizer, "system\n", system, first=True), eot]
    ids += [bot, bos, *tokenizer.encode("human\n")]
    if user.audio is None:
        # The public code encodes "\n" + text and drops the ids of "\n" with their <s>.
        ids += tokenizer.encode(user.before, first=False)
    else:
        ids += [bos, *_turn(tokenizer, "", user, first=True)]
    return [*ids, eot, bot, bos, *tokenizer.encode("assistant\n")]


def hide_words(ids: Sequence[int], tokenizer: TextTokenizer) -> list[int]:
    """Return a prompt whose user turn says nothing: its words are ``<unk>``, its audio is kept.

    What a model answers to it is what it would do whatever it is asked: the other side of
    classifier-free guidance. All ids keep their places.

    Args:
        ids: of ``encode_prompt``, an answer after them or not.
        tokenizer: the one that made them.
    """
    hidden = list(ids)
    turns = [at for at, i in enumerate(hidden) if i == tokenizer.bot_id]
    if len(turns) < 2:
        return hidden
    first = tokenizer.audio_base_id
    at = turns[1] + 1
    while at < len(hidden) and hidden[at] != tokenizer.eot_id:
        is_audio = first <= hidden[at] < first + tokenizer.audio_count
        if not is_audio and hidden[at] != tokenizer.bos_id:
            hidden[at] = UNKNOWN
        at += 1
    return hidden


def _turn(tokenizer: TextTokenizer, head: str, turn: Turn, *, first: bool = False) -> list[int]:
    """Return the ids of a turn; text after audio never gets a word-start mark."""
    ids = tokenizer.encode(head + turn.before, first=first)
    if turn.audio is not None:
        ids += tokenizer.audio_ids(turn.audio)
    return ids + tokenizer.encode(turn.after, first=False)


def preferred_encoding(folder: str | Path) -> PromptEncoding:
    """Return the encoding that a checkpoint folder asks for.

    ``prompt_encoding`` in ``tokenizer_config.json`` is obeyed; otherwise a folder that ships
    a chat template is of the later release (``"r2"``), one without of the first (``"r1"``).

    Raises:
        CheckpointError: if ``tokenizer_config.json`` is damaged.
        ValueError: if ``prompt_encoding`` is neither ``"r1"`` nor ``"r2"``.
    """
    config = read_tokenizer_config(Path(folder))
    named = config.get("prompt_encoding")
    if named == "r1":
        return "r1"
    if named == "r2" or (named is None and config.get("chat_template")):
        return "r2"
    if named is not None:
        raise ValueError(
            f"{Path(folder) / 'tokenizer_config.json'}: prompt_encoding is {named!r}; "
            "use 'r1' or 'r2'"
        )
    return "r1"


def clone_speaker_name(
    prompt_text: str, samples: npt.NDArray[np.float32], encoding: PromptEncoding = "r1"
) -> str:
    """Return the speaker name that the public system puts into a clone prompt.

    Args:
        prompt_text: transcript of the reference recording.
        samples: the recording as loaded, before any scaling; several channels are flattened.
        encoding: ``"r1"`` hashes the text with the first and last 1000 samples (float32);
            ``"r2"`` uses a constant.
    """
    if encoding == "r2":
        return "debug"
    flat = np.ascontiguousarray(samples, dtype=np.float32).reshape(-1)
    if flat.size > 2 * _HASH_SAMPLES:
        flat = np.concatenate([flat[:_HASH_SAMPLES], flat[-_HASH_SAMPLES:]])
    digest = hashlib.sha256(prompt_text.encode("utf-8") + flat.tobytes())
    return "clone_" + digest.hexdigest()[:16]


def parse_audio_string(text: str) -> list[int]:
    """Return the token indices of an ``<audio_N><audio_M>`` string.

    Raises:
        ValueError: if anything but audio marks (and blanks around the string) is in it.
    """
    stripped = text.strip()
    if not _AUDIO_STRING.fullmatch(stripped):
        raise ValueError("the audio token string may hold <audio_N> marks only")
    return [int(number) for number in re.findall(r"\d+", stripped)]


def check_budget(prompt_tokens: int, new_tokens: int, max_seq_len: int = MAX_TOKENS) -> None:
    """Check before generation that prompt and requested output fit the context.

    Args:
        prompt_tokens: number of prompt ids.
        new_tokens: number of ids that may be generated.
        max_seq_len: the model's own limit; the smaller of it and ``MAX_TOKENS`` holds.

    Raises:
        BudgetError: if they do not fit; the text says by how much.
    """
    limit = min(MAX_TOKENS, max_seq_len)
    over = prompt_tokens + new_tokens - limit
    if over <= 0:
        return
    raise BudgetError(
        f"the prompt has {prompt_tokens} tokens and {new_tokens} more were asked for, "
        f"{over} above the model's limit of {limit}: use audio and text shorter by about "
        f"{over / _TOKENS_PER_SECOND:.1f} s, or ask for less output"
    )
