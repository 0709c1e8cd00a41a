"""Kokoro's voices: one style vector for every length of text, and blends of several voices."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.embedded.kokoro_model import STYLE_SHAPE, KokoroError
from agent.embedded.phonemes import Accent

VOICES_DIR = Path(__file__).parent / "voices"
"""The voices that ship with the agent."""


class Styles:
    """The voices of a folder. A blend is written as shares: ``af_heart:70,bm_george:30``."""

    def __init__(self, folder: Path) -> None:
        """Loads the voices.

        Args:
            folder: Has ``<voice>.bin`` files, float32 [510, 1, 256].

        Raises:
            KokoroError: There is none, or one is broken.
        """
        self._styles = _load(folder)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The voices, sorted."""
        return tuple(sorted(self._styles))

    def style(self, voice: str) -> NDArray[np.float32]:
        """The style of a voice or a blend, float32 [510, 1, 256].

        Raises:
            KokoroError: No such voice, or shares that make no sense.
        """
        if voice in self._styles:
            return self._styles[voice]
        shares = self._shares(voice)
        total = sum(shares.values())
        blend = sum(self._styles[name] * (share / total) for name, share in shares.items())
        return np.asarray(blend, np.float32)

    def accent(self, voice: str) -> Accent:
        """How the voice, or the largest part of a blend, pronounces English.

        Raises:
            KokoroError: No such voice.
        """
        shares = self._shares(voice)
        return "british" if max(shares, key=shares.__getitem__).startswith("b") else "american"

    def _shares(self, voice: str) -> dict[str, float]:
        shares: dict[str, float] = {}
        for part in voice.split(","):
            name, colon, share = part.strip().partition(":")
            if name not in self._styles:
                raise KokoroError(
                    f"There is no voice '{name}'; choose one of {', '.join(self.names)}."
                )
            if name in shares or (colon and not share.isdecimal()) or (colon and not int(share)):
                raise KokoroError(
                    f"'{voice}' is no blend of voices; write it as {self.names[0]}:70,"
                    f"{self.names[-1]}:30."
                )
            shares[name] = float(share) if colon else 1.0
        return shares


def _load(folder: Path) -> dict[str, NDArray[np.float32]]:
    styles: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.bin")):
        style = np.fromfile(path, np.float32)
        if style.size != np.prod(STYLE_SHAPE) or not np.isfinite(style).all():
            raise KokoroError(
                f"{path} is not a Kokoro voice, which is {np.prod(STYLE_SHAPE) * 4:,} bytes of "
                "float32; replace or remove it."
            )
        styles[path.stem] = style.reshape(STYLE_SHAPE)
    if not styles:
        raise KokoroError(f"There are no Kokoro voices (.bin) in {folder}.")
    return styles
