"""Words of the llm route. No public checkpoint knows these requests: they have to be taught."""

from __future__ import annotations

DEREVERB = (
    "Remove the reverberation of the room from the given audio. Keep the words, the voice and the "
    "way of speaking as they are.\n"
)
KEEP = {
    "voice": (
        "Keep only the voice that is nearest to the microphone in the given audio, and remove all "
        "noise, music and other voices behind it.\n"
    ),
    "background": (
        "Remove the voice that is nearest to the microphone from the given audio, and keep all the "
        "sound behind it.\n"
    ),
}
