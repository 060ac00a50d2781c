"""Words of the llm route, kept to the letter.

Source: stepfun-ai/Step-Audio-EditX, config/prompts.py (Apache-2.0). They belong to the
checkpoint's interface, as its weights do.
"""

from __future__ import annotations

INSTRUCTION = (
    "Remove any silent portions from the given audio while preserving the voice content clearly. "
    "Ensure that the speech quality remains intact with minimal distortion, "
    "and eliminate all silence from the audio.\n"
)
