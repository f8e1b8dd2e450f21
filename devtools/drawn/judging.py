"""What a picture of the drawn world shows: who, where, and which colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .world import COLOUR_NAMES, COLOURS, SIZE, Picture, Pose

Embedding = NDArray[np.float32]
_PALETTE = np.array([COLOURS[name] for name in COLOUR_NAMES], np.float64)


def likeness(a: Embedding, b: Embedding) -> float:
    """Cosine of two face embeddings."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def nearest(embedding: Embedding, everybody: Sequence[Embedding]) -> int:
    """Return whose reference is most like it."""
    return int(np.argmax([likeness(embedding, other) for other in everybody]))


def background(picture: Picture) -> str:
    """Return the name of the colour of the upper corners and the sides beside the face."""
    return _name(_corners(picture))


def clothes(picture: Picture, poses: Sequence[Pose]) -> str:
    """Return the name of the colour below the faces, at the lower edge."""
    return _name(_below(picture, poses))


def colours_off(picture: Picture, poses: Sequence[Pose], background: str, clothes: str) -> float:
    """Return how far background and clothes are from the named colours: mean distance in RGB."""
    pairs = ((_corners(picture), background), (_below(picture, poses), clothes))
    off = [np.linalg.norm(np.median(pixels, axis=0) - COLOURS[name]) for pixels, name in pairs]
    return float(np.mean(off))


def off_by(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Mean distance of five points in pixels."""
    return float(np.linalg.norm(found - wanted, axis=1).mean())


def _corners(picture: Picture) -> NDArray[np.uint8]:
    corners = [picture[:14, :10], picture[:14, -10:]]
    return np.concatenate([part.reshape(-1, 3) for part in corners])


def _below(picture: Picture, poses: Sequence[Pose]) -> NDArray[np.uint8]:
    parts = []
    for pose in poses:
        left = int(np.clip(pose.x - 0.25 * pose.height, 0, SIZE - 2))
        right = int(np.clip(pose.x + 0.25 * pose.height, left + 2, SIZE))
        parts.append(picture[-8:, left:right].reshape(-1, 3))
    return np.concatenate(parts)


def _name(pixels: NDArray[np.uint8]) -> str:
    colour = np.median(pixels, axis=0)
    return COLOUR_NAMES[int(np.argmin(((_PALETTE - colour) ** 2).sum(1)))]
