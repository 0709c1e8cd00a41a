"""What is said, by whom, and how it sounds."""
