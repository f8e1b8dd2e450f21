"""Masks that are made from faces as soon as the picture's size is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .fitting import Fit, fit
from .keypoints import FacePoints, Keypoints


@dataclass(frozen=True, eq=False)
class FaceRegion:
    """The face boxes of keypoints, filled: where the official demos let InstantID act.

    Source: `control_mask` in the official infer_full.py. The boxes are fitted onto the picture
    as the drawn keypoints are. A frame without a face is empty.
    """

    keypoints: Keypoints
    fit: Fit = Fit.CROP

    def render(self, width: int, height: int) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32, 0 or 1, CPU."""
        fitted = fit(self.keypoints, width, height, self.fit)
        mask = torch.zeros(len(fitted.frames), height, width)
        for frame, faces in zip(mask, fitted.frames, strict=True):
            for face in faces:
                _fill(frame, face)
        return mask


def _fill(frame: Tensor, face: FacePoints) -> None:
    """Set the pixels of a face's box in `frame` (height,width) to 1, cut off at its sides."""
    left, top, right, bottom = (max(0, int(side)) for side in face.box.tolist())
    frame[top:bottom, left:right] = 1.0
