"""What IdentityNet is shown: keypoints drawn when the picture's size is known, or an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import comfy.utils
import torch
from torch import Tensor

from .. import checks
from ..errors import WrongInputError
from ..fitting import Fit, fit, official_canvas, warn_of_small_faces
from ..keypoints import (
    DRAWINGS,
    NO_KEYPOINTS,
    SDXL_DRAWING,
    DrawingStyle,
    Keypoints,
    checked,
    draw_frames,
    only_frames,
)
from ..log import warn
from ..people import Person, all_faces, fitted_faces

NO_LANDMARKS = (
    "IdentityNet for SD1.5 learned from 106 landmarks of each face. Here a face has none, so of it "
    "only the five points are drawn, dimmed. Switch on `landmarks` in Face Keypoints; the face "
    "pack needs 2d106det.onnx for it."
)


@dataclass(frozen=True, eq=False)
class DrawnHint:
    """Keypoints, fitted onto the picture and drawn at its size, as `style` says."""

    keypoints: Keypoints
    fit: Fit
    style: DrawingStyle = SDXL_DRAWING

    @property
    def lacks_landmarks(self) -> bool:
        """Whether a face has none, and they would be drawn."""
        return _lacks_landmarks(self.keypoints, self.style)

    @property
    def frame_count(self) -> int:
        """How many frames it has; a shorter video starts over."""
        return len(self.keypoints.frames)

    @cached_property
    def original(self) -> Tensor:
        """(B,3,H,W) float32 in 0..1: the drawing on the official canvas of the source's aspect."""
        return self.at(*official_canvas(self.keypoints.width, self.keypoints.height))

    def fitted(self, width: int, height: int) -> Keypoints:
        """Return the faces of every frame on a picture of that size."""
        return fit(self.keypoints, width, height, self.fit)

    def at(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """(B,3,height,width) float32 in 0..1: the drawing for a picture of that size.

        frames: which ones, each below `frame_count`; None is all of them.
        """
        shown = only_frames(self.fitted(width, height), frames)
        return _picture(shown, self.style).movedim(-1, 1)


@dataclass(frozen=True, eq=False)
class ImageHint:
    """A picture of keypoints, taken as it is.

    original: (B,3,H,W) float32 in 0..1.
    """

    original: Tensor
    lacks_landmarks = False

    @property
    def frame_count(self) -> int:
        """How many frames it has; a shorter video starts over."""
        return len(self.original)

    def fitted(self, width: int, height: int) -> Keypoints:
        """Return no faces: where they are in a picture is not known."""
        return Keypoints(width, height, ((),))

    def at(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """(B,3,height,width): cut to the picture's aspect and resized as ComfyUI does hints."""
        own = self.original if frames is None else self.original[list(frames)]
        return resized(own, width, height)


@dataclass(frozen=True, eq=False)
class PeopleHint:
    """The faces of several people in one drawing.

    only: the place in the list of the one who is drawn; None is everybody. All have one fit in
    common, so that drawings of single people match the drawing of all. style: how they are drawn.
    """

    people: tuple[Person, ...]
    fit: Fit
    only: int | None = None
    style: DrawingStyle = SDXL_DRAWING

    @property
    def _drawn(self) -> list[Keypoints]:
        """The keypoints of those who are drawn and have some."""
        drawn = self.people if self.only is None else self.people[self.only : self.only + 1]
        return [person.faces for person in drawn if person.faces is not None]

    @property
    def frame_count(self) -> int:
        """The frames of the longest of the drawn people's videos; a shorter one starts over."""
        return max((len(faces.frames) for faces in self._drawn), default=1)

    @property
    def lacks_landmarks(self) -> bool:
        """Whether a face has none, and they would be drawn."""
        return any(_lacks_landmarks(faces, self.style) for faces in self._drawn)

    @cached_property
    def original(self) -> Tensor:
        """(B,3,H,W) float32 in 0..1: the drawing on the official canvas of the first source."""
        faces = next(person.faces for person in self.people if person.faces is not None)
        return self.at(*official_canvas(faces.width, faces.height))

    def fitted(self, width: int, height: int) -> Keypoints:
        """Return the faces of every frame on a picture of that size."""
        if self.only is None:
            return all_faces(self.people, width, height, self.fit)
        own = fitted_faces(self.people, width, height, self.fit)[self.only]
        return Keypoints(width, height, ((),)) if own is None else own

    def at(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """(B,3,height,width) float32 in 0..1: the drawing for a picture of that size.

        frames: which ones, each below `frame_count`; None is all of them.
        """
        shown = only_frames(self.fitted(width, height), frames)
        return _picture(shown, self.style).movedim(-1, 1)


def _lacks_landmarks(keypoints: Keypoints, style: DrawingStyle) -> bool:
    return style.has_landmarks and any(face.landmarks is None for face in keypoints.faces)


Hint = DrawnHint | ImageHint | PeopleHint

DARK = 8 / 255  # a pixel of which no colour is more is black, but for the compression of a file
LEAST_DARK = 0.5  # share of such pixels; drawings have 0.989 to 0.997, photos up to 0.14


def checked_drawing(source: Any) -> Any:
    """Return what a socket of keypoints brought; an IMAGE only where it is drawn keypoints.

    Raises WrongInputError for a photo: nothing is looked for in an IMAGE.
    """
    hint = hint_of(source, Fit.CROP) if isinstance(source, Tensor) else None
    if hint is None:
        return source
    share = float((hint.original.amax(dim=1) <= DARK).float().mean())
    if share < LEAST_DARK:
        raise WrongInputError(
            f"The picture on `keypoints` is no drawing of keypoints: {share:.0%} of it is black, "
            "of a drawing nearly all is. If it is a photo, lead it through Face Keypoints, which "
            "finds the face in it, and connect the output `keypoints`."
        )
    return source


def hint_of(source: object, mode: Fit, style: DrawingStyle = SDXL_DRAWING) -> Hint:
    """Return the hint of Keypoints or of an IMAGE (B,H,W,3); WrongInputError for anything else.

    style: how keypoints are drawn.
    """
    if isinstance(source, Keypoints):
        return DrawnHint(source, mode, style)
    if source is None:
        raise WrongInputError(NO_KEYPOINTS)
    if not isinstance(source, Tensor):
        raise WrongInputError(
            f"IdentityNet's keypoints are {checks.kind_of(source)}. FACE_KEYPOINTS from this "
            "pack's Face Keypoints node are wanted, or an IMAGE with drawn keypoints."
        )
    if source.ndim != 4 or source.shape[-1] != 3 or source.numel() == 0:
        raise WrongInputError(
            f"IdentityNet's picture of keypoints has the size {checks.size_of(source.shape)}. An "
            "IMAGE of batch x height x width x 3 is wanted; connect the output of Draw Keypoints."
        )
    source = checks.tensor(source, "IdentityNet's picture of keypoints", "an IMAGE")
    if not source.is_floating_point() or not bool(source.isfinite().all()):
        raise WrongInputError(
            "IdentityNet's picture of keypoints is of whole numbers, or has values that are not "
            "numbers (NaN or infinity). An IMAGE with values from 0 to 1 is wanted; connect the "
            "output of Draw Keypoints."
        )
    return ImageHint(source.movedim(-1, 1))


def resized(hint: Tensor, width: int, height: int) -> Tensor:
    """(B,3,H,W) -> (B,3,height,width) as ComfyUI's own ControlNets do it: centre cut, nearest.

    A strip so thin that the cut would leave nothing is stretched instead.
    """
    rows, columns = hint.shape[-2:]
    is_strip = min(rows * width / height, columns * height / width) < 2
    way = "disabled" if is_strip else "center"
    return comfy.utils.common_upscale(hint, width, height, "nearest-exact", way)


def drawn(keypoints: object, width: int, height: int, mode: Fit, family: str = "SDXL") -> Tensor:
    """Return keypoints fitted onto a canvas and drawn there: IMAGE (B,height,width,3) in 0..1.

    family: whose drawing, a name in DRAWINGS. Raises WrongInputError.
    """
    if family not in tuple(DRAWINGS):  # a tuple takes what cannot be hashed
        raise checks.unknown("family", family, DRAWINGS)
    hint = DrawnHint(checked(keypoints), mode, DRAWINGS[family])
    if hint.lacks_landmarks:
        warn(NO_LANDMARKS)
    fitted = hint.fitted(width, height)
    warn_of_small_faces(fitted)
    return _picture(fitted, hint.style)


def _picture(fitted: Keypoints, style: DrawingStyle) -> Tensor:
    """Keypoints on their canvas -> (B,H,W,3) float32 in 0..1."""
    return torch.from_numpy(draw_frames(fitted, style)).float().div_(255.0)


def for_rows(hint: Tensor, frames: Sequence[int]) -> Tensor:
    """(F,3,H,W) -> (B or 1,3,H,W): the frame of each row; a hint of B rows is used as it is."""
    if len(hint) in (1, len(frames)):
        return hint
    return hint[[frame % len(hint) for frame in frames]]
