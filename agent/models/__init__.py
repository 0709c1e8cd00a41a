"""Where models come from: a path, an installed package, the cache, the Hugging Face hub.

Importing this package loads no model library; each is imported where it is used.
"""

from agent.models.integrity import ModelError
from agent.models.model import File, Kind, Model
from agent.models.registry import EMBEDDED, MODELS, find
from agent.models.resolve import ModelStatus, fetch, is_available, list_models, resolve

__all__ = [
    "EMBEDDED",
    "MODELS",
    "File",
    "Kind",
    "Model",
    "ModelError",
    "ModelStatus",
    "fetch",
    "find",
    "is_available",
    "list_models",
    "resolve",
]
