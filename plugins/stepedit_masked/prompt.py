"""Instruction words of the llm route: none of its own, for the inner edit's prompt is used.

The public Step-Audio-EditX trains partial edits (its edit type ``mask``) but has no prompt for
them at inference, so a masked edit puts the inner edit's words to the model and confines
generation to whole groups of codes inside the spans.
"""

from __future__ import annotations

from stepedit_core import Edit, Prompt, Utterance

__all__ = ["inner_prompt"]


def inner_prompt(inner: Edit, utterance: Utterance) -> Prompt:
    """Return the inner edit's prompt for the whole utterance."""
    return inner.prompt(utterance)
