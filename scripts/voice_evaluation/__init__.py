"""Does a voice stay the same, and are its words understood: what `scripts/evaluate_voice` runs."""
