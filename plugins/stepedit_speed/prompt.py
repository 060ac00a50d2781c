"""Words of the llm route, kept to the letter.

Source: stepfun-ai/Step-Audio-EditX, config/prompts.py (Apache-2.0). They belong to the
checkpoint's interface, as its weights do.
"""

from __future__ import annotations

INSTRUCTION = (
    "Make the following audio more {info}. The text corresponding to the audio is: {text}\n"
)
INFO = {
    "faster": "faster",
    "slower": "slower",
    "more_faster": "more faster",
    "more_slower": "more slower",
}
"""Rate to the words that stand for it."""
