"""The public kit for edits towards a label: pair builders, scoring, profiles, spellings.

What a module lists in ``__all__`` is public; the plugin guide (``plugins/README.md``) says what
each is for.
"""

__all__ = ["edit", "pairs", "profile", "scoring", "spelling"]
