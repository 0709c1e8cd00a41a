"""Checkpoints: transformers' and Sesame's formats, from a folder or the hub, checked, then read."""

from pipecat_csm.model.checkpoint.loading import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
