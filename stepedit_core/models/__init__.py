"""The parts of an engine: audio tokenizers, language model, decoder, and reading their weights."""
