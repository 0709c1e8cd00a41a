"""A small CSM of our own, from nothing to a checkpoint: what `scripts/train_mini` runs."""
