"""Prompts: the system and user turn of an edit, with slots for audio and speaker.

Plugins write words and say where audio goes; framing, control tokens and ids are core's.
Text in a prompt is always encoded as plain text, whatever it looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["SYSTEM_CLONE", "SYSTEM_EDIT", "Part", "Prompt", "Slot"]


class Slot(Enum):
    """A place in a prompt that core fills in."""

    AUDIO = "audio"
    """The codes of the input utterance."""
    SPEAKER = "speaker"
    """The speaker's name, which depends on the model's prompt encoding."""


Part = str | Slot

# The two system prompts are part of the checkpoint's interface, kept to the letter.
# Source: stepfun-ai/Step-Audio-EditX, config/prompts.py (Apache-2.0).
SYSTEM_EDIT = (
    "As a highly skilled audio editing and tuning specialist, you excel in interpreting user "
    "instructions and applying precise adjustments to meet their needs. Your expertise spans a "
    "wide range of enhancement capabilities, including but not limited to:\n"
    "# Emotional Enhancement\n"
    "# Speaking Style Transfer\n"
    "# Non-linguistic Adjustments\n"
    "# Audio Tuning & Editing\n"
    "Note: You will receive instructions in natural language and are expected to accurately "
    "interpret and execute the most suitable audio edits and enhancements.\n"
)
SYSTEM_CLONE = (
    "Generate audio with the following timbre, prosody and speaking style\n\n"
    "[speaker_start]\n"
    "speaker name: {speaker}\n"
    "speaker prompt text: \n{prompt_text}\n"
    "speaker audio tokens: \n{prompt_wav_tokens}\n"
    "[speaker_end]\n"
)


@dataclass(frozen=True)
class Prompt:
    """System and user text with exactly one audio slot.

    Attributes:
        system: parts of the system turn, in order.
        user: parts of the user turn, in order.
    """

    system: tuple[Part, ...]
    user: tuple[Part, ...]

    def __post_init__(self) -> None:
        """Refuse a prompt without an audio slot, or with more than one."""
        slots = [part for part in self.system + self.user if part is Slot.AUDIO]
        if len(slots) != 1:
            raise ValueError(f"a prompt has exactly one audio slot, this one has {len(slots)}")

    @property
    def is_clone(self) -> bool:
        """Whether the audio stands in the system turn, as the clone layout has it."""
        return Slot.AUDIO in self.system

    @property
    def text(self) -> str:
        """The words alone, slots left out: for logs and tests."""
        return "".join(part for part in self.system + self.user if isinstance(part, str))

    @classmethod
    def edit(cls, instruction: str, *, system: str = SYSTEM_EDIT) -> Prompt:
        """Build an edit prompt: instruction, line break, audio, line break.

        Args:
            instruction: the user's words, with the line break that the family's template
                ends in.
            system: the system turn.
        """
        return cls(system=(system,), user=(f"{instruction}\n", Slot.AUDIO, "\n"))

    @classmethod
    def clone(cls, prompt_text: str, target_text: str) -> Prompt:
        """Build a zero-shot cloning prompt: the voice in the system turn, the text to say after.

        Args:
            prompt_text: transcript of the voice prompt.
            target_text: the words to speak.
        """
        head, rest = SYSTEM_CLONE.split("{speaker}")
        middle, rest = rest.split("{prompt_text}")
        before, after = rest.split("{prompt_wav_tokens}")
        system = (head, Slot.SPEAKER, middle, prompt_text, before, Slot.AUDIO, after)
        return cls(system=system, user=(target_text,))
