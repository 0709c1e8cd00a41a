"""CSM-1B, Sesame's conversational speech model: exact, streaming, with its context kept resident.

    from pipecat_csm import Segment, load_csm_1b
    generator = load_csm_1b()
    audio = generator.generate(text="Hello!", speaker=0, context=[])

Everything but `Segment` and the errors needs torch: pip install 'csm-agent[csm]'.
"""

from typing import TYPE_CHECKING, Any

from pipecat_csm.errors import CSMError
from pipecat_csm.segment import Segment

if TYPE_CHECKING:
    from pipecat_csm.generator import Generator
    from pipecat_csm.loading import load_csm_1b
    from pipecat_csm.playing import generate_streaming_audio

__all__ = ["CSMError", "Generator", "Segment", "generate_streaming_audio", "load_csm_1b"]

# torch takes seconds to import, and not everybody who holds a Segment has it.
_LAZY = {
    "Generator": "pipecat_csm.generator",
    "load_csm_1b": "pipecat_csm.loading",
    "generate_streaming_audio": "pipecat_csm.playing",
}


def __getattr__(name: str) -> Any:
    """Imports what needs torch when it is first asked for."""
    import importlib

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
