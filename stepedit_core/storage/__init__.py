"""Files in and out: audio formats, tables, JSON, checked shards, pair rows, locks."""
