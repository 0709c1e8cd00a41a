"""What can go wrong here and nowhere else."""


class TrainingError(Exception):
    """One sentence that says what is wrong, and what to do."""
