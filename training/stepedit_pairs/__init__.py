"""Building large-margin pairs from corpora: readers, runner, shards and reports."""
