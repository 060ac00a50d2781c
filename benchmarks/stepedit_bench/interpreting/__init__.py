"""How well sentences are read: instructions with the chains that they ask for."""
