"""Instruction words of the llm route.

Source: stepfun-ai/Step-Audio-EditX, README.md and config/prompts.py (Apache-2.0). The system turn
is core's clone layout; the user turn is the text alone, with the tag of a dialect or language
before it.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["DIALECTS", "Dialect", "target_text"]

Dialect = Literal["Sichuanese", "Cantonese", "Japanese", "Korean"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


def target_text(text: str, dialect: Dialect | None) -> str:
    """Return the words to say, led by the tag of their dialect or language."""
    return f"[{dialect}]{text}" if dialect else text
