"""The linguistic tokenizer: an encoder taught to hear phones, and k-means on its output."""
