"""A small CSM: dialogues of codes, the model, its losses and what it says while it learns."""
