"""The llm route: what an engine is asked to generate, and how its answer becomes audio."""
