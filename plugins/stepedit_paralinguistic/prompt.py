"""Instruction words of the llm route, to the letter.

Source: stepfun-ai/Step-Audio-EditX, config/prompts.py (Apache-2.0).
"""

from __future__ import annotations

__all__ = ["instruction"]

# The blank before the first colon and the two before "The" belong to what the weights know.
_INSTRUCTION = (
    "Add some non-verbal sounds to make the audio more natural, the new text is : {new_text}\n"
    "  The text corresponding to the audio is: {text}\n"
)


def instruction(new_text: str, text: str) -> str:
    """Return the instruction for a tagged text and the words as they are."""
    return _INSTRUCTION.replace("{new_text}", new_text.strip()).replace("{text}", text.strip())
