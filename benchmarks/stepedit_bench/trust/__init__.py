"""What the gate of `Accept` is worth: edits with and without it, chains, iterations, level."""
