"""A small Mimi: learned without quantiser, then quantised, then tuned to what that left."""
