"""The language model: prompts, constraints, sampling, generation."""
