"""The public signal-processing toolkit for plugins: its modules and their names are stable.

What a module lists in ``__all__`` is public; the plugin guide (``plugins/README.md``) says what
each is for. Importing a module loads no heavy library: those are imported inside functions.
"""

__all__ = [
    "acoustics",
    "alignment",
    "channels",
    "cutting",
    "deep_filter",
    "enhancement",
    "frames",
    "joins",
    "letter_to_sound",
    "likeness",
    "loudness",
    "noises",
    "offset",
    "pauses",
    "phone_joins",
    "phones",
    "prosody",
    "quality",
    "room_tone",
    "rooms",
    "silences",
    "splicing",
    "synthesis",
    "vad",
    "voices",
    "words",
    "world",
]
