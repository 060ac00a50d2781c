"""Speed of the engine: every stage against the plain implementation, in one run."""
