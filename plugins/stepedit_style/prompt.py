"""Words of the llm route, kept to the letter.

Source: stepfun-ai/Step-Audio-EditX, config/prompts.py (Apache-2.0). They belong to the
checkpoint's interface, as its weights do; labels appear as its configuration spells them,
``act_coy`` with its underscore.
"""

from __future__ import annotations

INSTRUCTION = (
    "Make the following audio more {info} style. The text corresponding to the audio is: {text}\n"
)
REMOVE = "Remove any speaking styles in the following audio and the reference text is: {text}\n"
