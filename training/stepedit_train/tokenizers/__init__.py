"""The audio tokenizer: linguistic and semantic codes."""
