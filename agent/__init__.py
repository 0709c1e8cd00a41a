"""csm-agent: a voice agent that you talk to, in a browser or over a phone."""

__version__ = "0.1.0"
