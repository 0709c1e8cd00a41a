"""Pipecat services around CSM: a voice that hears both speakers, and what fills its history."""
