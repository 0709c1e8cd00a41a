"""CSM-1B, Sesame's conversational speech model, for Pipecat.

The model, the engine and the services arrive in later releases; see CHANGELOG.md.
"""
