"""insightface's model of 106 landmarks, `2d106det.onnx`: what it is asked and what it gives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import WrongFileError
from ..images import Picture
from ..landmarks import COUNT, Landmarks
from .runtime import import_package

TASK = "landmark_2d_106"  # insightface's name for it
PIXELS = 192 * 192  # of its input: one face and what is around it


def landmarks_in(model: Any, picture: Picture, box: NDArray[np.float32]) -> Landmarks:
    """Return the landmarks of the face in a box: (106, 2) float32, x then y in pixels.

    model: insightface's Landmark, whose own crop and arithmetic are used. picture: (H, W, 3) BGR
    bytes. box: (4,) in its pixels.

    Raises WrongFileError for a model that gives something else.
    """
    face = import_package("insightface.app.common").Face(bbox=box.copy())
    with warnings.catch_warnings():
        # skimage's, about a method insightface calls
        warnings.simplefilter("ignore", FutureWarning)
        made = np.array(model.get(picture, face), np.float32)
    if made.shape != (COUNT, 2) or not bool((np.abs(made) <= checks.LARGEST).all()):
        raise WrongFileError(
            f"The face landmark model gave points of the size {checks.size_of(made.shape)}, or "
            f"some that are no numbers or lie far off every picture; wanted {COUNT} times x and y. "
            "Put antelopev2's 2d106det.onnx (5 MB) in its place."
        )
    return made
