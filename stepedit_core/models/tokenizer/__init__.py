"""Audio to codes: preprocessing, linguistic and semantic tokenizers."""
