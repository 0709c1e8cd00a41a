"""One person or two? By the likeness of a recording's parts, and of recordings."""

import numpy as np
from numpy.typing import NDArray

# Less of a second voice is a cough, a breath, a laugh.
_SMALLEST_PART = 0.15
_ROUNDS = 20


def likeness_of_parts(windows: NDArray[np.float32]) -> float:
    """How alike the two most different parts of a recording are.

    The windows fall into two clusters (2-means on the sphere, begun at the two that are least
    alike), wherever they lie, so that a dialogue is found too.

    Args:
        windows: float32 [windows, features], each of length 1, as `SpeakerEncoder.embed` gives.

    Returns:
        The cosine of the clusters' means; 1 if there are no two parts.
    """
    alike = windows @ windows.T
    centres = windows[list(np.unravel_index(alike.argmin(), alike.shape))]
    for _ in range(_ROUNDS):
        part = (windows @ centres.T).argmax(axis=1)
        share = part.mean()
        if not _SMALLEST_PART <= share <= 1 - _SMALLEST_PART:
            return 1.0
        moved = np.stack([voice_of(windows[part == k]) for k in (0, 1)])
        if np.allclose(moved, centres):
            break
        centres = moved
    return float(centres[0] @ centres[1])


def voice_of(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean voice of some windows, float32 [features], of length 1."""
    mean = windows.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
