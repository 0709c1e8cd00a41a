"""Who speaks: Kokoro's voices, blends of them, and the same a little higher or lower.

All are of Kokoro-82M (Apache-2.0, hexgrad), whose voices are free to use and imitate no named
person. A blend is a point between the four voices that ship; `pitch` plays it faster or slower,
which moves the formants as a longer or shorter throat does, and so makes another speaker (the pace
is given back by Kokoro's speed). The more voices there are, the less it pays a model to know them
by heart, and the more to listen to the context.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes:
        blend: In the words of `agent.embedded.styles`.
        pitch: How many times as high as Kokoro has it.
    """

    blend: str
    pitch: float = 1.0

    @property
    def name(self) -> str:
        """One word for all of it."""
        return self.blend if self.pitch == 1.0 else f"{self.blend}@{self.pitch:g}"


_PERSONAS = (
    "af_heart",
    "am_michael",
    "bf_emma",
    "bm_george",
    "af_heart:50,am_michael:50",
    "am_michael:65,bf_emma:35",
    "bm_george:55,bf_emma:45",
    "af_heart:50,bf_emma:50",
    "af_heart:60,bm_george:40",
)
"""Those of configs/personas."""

TRAINED: tuple[Voice, ...] = (
    *(Voice(blend) for blend in _PERSONAS),
    Voice("af_heart", 0.93),
    Voice("bm_george", 1.08),
    Voice("am_michael:40,af_heart:30,bf_emma:30"),
)

UNSEEN: tuple[Voice, ...] = (
    Voice("af_heart:35,bm_george:65"),
    Voice("am_michael:50,bm_george:50", 1.05),
    Voice("bf_emma:60,am_michael:40"),
    Voice("af_heart:70,bf_emma:30", 0.95),
)
"""Never learned from."""


def voice_named(name: str) -> Voice:
    """The voice of that name."""
    return next(voice for voice in (*TRAINED, *UNSEEN) if voice.name == name)
