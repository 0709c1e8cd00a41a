"""The agent's voice: CSM where there is one, the persona's spare voice where not."""
