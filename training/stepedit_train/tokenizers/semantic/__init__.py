"""The semantic tokenizer: 25 codes per second that carry prosody and sound."""
