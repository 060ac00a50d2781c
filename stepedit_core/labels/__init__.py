"""The public kit for edits towards a label: pair builders, scoring, acoustic profiles."""
