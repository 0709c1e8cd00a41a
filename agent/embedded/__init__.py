"""Models small enough to run beside the agent on a laptop: its voice and its language model."""
