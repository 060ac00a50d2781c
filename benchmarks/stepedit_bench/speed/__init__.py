"""How fast the engine is: every stage against the plain way, in one run."""
