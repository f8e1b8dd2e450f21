"""Crops around faces, and the record of where each one came from.

A crop is an affine map from the picture's pixels to its own. Its record keeps the map: with it,
keypoints of the whole picture are placed on the crop, and the crop is pasted back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from . import checks
from .affine import Affine, about, warp
from .errors import NoFaceError, WrongInputError
from .fitting import LARGEST_SIDE, fit
from .images import to_rgb
from .keypoints import FacePoints, Keypoints
from .log import note, warn
from .people import ordered
from .regions import AROUND_HEAD, Outline, coverage, head_ellipse

EVERY_FACE = -1  # of `plan_crops`: a crop for each face
GRIDS = ("8", "64")  # what both sides of a crop are multiples of
OWN_PIXELS = 0  # a long side: the crop has the pixels of the picture, not enlarged
SOFT_RIM = 1 / 8  # of the crop's short side: the widest feather along its border


@dataclass(frozen=True)
class CropSettings:
    """How a crop is laid around a face.

    context: its short side in sizes of the face, which is the longer side of the face's box.
    long_side: in pixels; OWN_PIXELS takes the picture's own. aspect: width by height. grid: both
    sides are multiples of it. upright: whether the head is turned upright.
    """

    context: float = 2.0
    long_side: int = 1024
    aspect: float = 1.0
    grid: int = 8
    upright: bool = True

    def __post_init__(self) -> None:
        for name, least, most in (("context", 0.5, 16), ("aspect", 1 / 16, 16)):
            if not least <= checks.number(getattr(self, name), name) <= most:
                raise WrongInputError(
                    f"{name} is {getattr(self, name):g}; a number from {least:g} to {most} is "
                    "wanted."
                )
        if str(self.grid) not in GRIDS:
            raise checks.unknown("multiple_of", self.grid, GRIDS)
        if not 0 <= self.long_side <= LARGEST_SIDE:
            raise WrongInputError(
                f"The crop's long side is {self.long_side}; 0 (the picture's own pixels) to "
                f"{LARGEST_SIDE} is wanted."
            )

    @classmethod
    def of(
        cls, context: float, long_side: int, aspect: float, multiple_of: str, upright: bool
    ) -> CropSettings:
        """Return the settings of a node's widgets; multiple_of is one of GRIDS."""
        if multiple_of not in GRIDS:
            raise checks.unknown("multiple_of", multiple_of, GRIDS)
        return cls(context, long_side, aspect, int(multiple_of), bool(upright))

    def size(self, face_size: float) -> tuple[int, int]:
        """Return (width, height) of the crop of a face of that size, in pixels."""
        long_side = self.long_side
        if long_side == OWN_PIXELS:
            long_side = self.context * face_size * max(self.aspect, 1 / self.aspect)
            long_side = min(-(-long_side // self.grid) * self.grid, LARGEST_SIDE)
        sides = (min(1.0, self.aspect), min(1.0, 1 / self.aspect))
        width, height = (max(1, round(long_side * s / self.grid)) * self.grid for s in sides)
        return width, height


@dataclass(frozen=True, eq=False)
class Piece:
    """One crop: of which frame, the map from the picture onto it, and the face in the picture.

    face: None for a frame without one; nothing of its crop is pasted.
    """

    frame: int
    place: Affine
    face: FacePoints | None


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """Where crops came from; what a FACE_CROP socket carries.

    picture: (width, height) of the whole picture, of `frame_count` frames. size: of every crop.
    """

    picture: tuple[int, int]
    frame_count: int
    size: tuple[int, int]
    pieces: tuple[Piece, ...]

    @property
    def keypoints(self) -> Keypoints:
        """The faces that were cropped, on their crops; one frame for each."""
        found = [() if p.face is None else (p.place.face(p.face),) for p in self.pieces]
        return Keypoints(*self.size, tuple(found))


def checked_crop(found: object) -> FaceCrop:
    """Return what a FACE_CROP socket brought. Raises WrongInputError for anything else."""
    if isinstance(found, FaceCrop):
        return found
    raise WrongInputError(
        f"`face_crop` is {checks.kind_of(found)}. Connect the output face_crop of Crop Face."
    )


@dataclass(frozen=True, eq=False)
class Cropped:
    """Crops and what belongs to them.

    images: (P,h,w,3). masks: (P,h,w), what is pasted later. keypoints: on the crops. crop: record.
    """

    images: Tensor
    masks: Tensor
    keypoints: Keypoints
    crop: FaceCrop


def crop_faces(
    images: Tensor,
    keypoints: Keypoints,
    order: str,
    index: int,
    settings: CropSettings,
    outline: Outline = AROUND_HEAD,
) -> Cropped:
    """Return the crops of an IMAGE around faces, and what belongs to them; as plan_crops says."""
    pictures = to_rgb(images)
    crop = plan_crops(keypoints, pictures, order, index, settings)
    scale = max(piece.place.scale for piece in crop.pieces)
    count = "1 crop" if len(crop.pieces) == 1 else f"{len(crop.pieces)} crops"
    note(
        f"{count} of {crop.size[0]} x {crop.size[1]}, {scale:.2g} times as large as in the picture"
    )
    return Cropped(cut(pictures, crop), crop_masks(crop, outline), crop.keypoints, crop)


def plan_crops(
    keypoints: Keypoints,
    images: Tensor,
    order: str,
    index: int,
    settings: CropSettings,
) -> FaceCrop:
    """Return the record of a crop for every frame of an IMAGE (B,H,W,C), around its face.

    keypoints: of these pictures: as many frames as there are, or one for all. order: one of
    people.ORDERS. index: from 0; EVERY_FACE makes a crop for each face of each frame. A frame
    without the face keeps its place: its crop shows the middle of the picture, and is not pasted.
    Raises WrongInputError, or NoFaceError where there are faces, but not that one.
    """
    frame_count, height, width = images.shape[:3]
    frames = frames_for(keypoints, width, height, frame_count)
    ranked = [ordered(faces, order) for faces in frames]
    wanted = slice(None) if index == EVERY_FACE else slice(max(index, 0), max(index, 0) + 1)
    chosen = [(n, face) for n, faces in enumerate(ranked) for face in faces[wanted]]
    most = max(map(len, ranked))
    if most == 0:
        warn("The keypoints hold no face: Paste Face will leave the picture as it is.")
    elif not chosen:
        raise NoFaceError(
            f"There is no face number {index} to crop: the keypoints hold {most} "
            f"face{'' if most == 1 else 's'} at most, counted from 0. Choose another number, or "
            "find all of them with pick = all in Face Keypoints."
        )
    size = settings.size(max((face_size(face) for _, face in chosen), default=min(width, height)))
    if index == EVERY_FACE and chosen:
        entries: list[tuple[int, FacePoints | None]] = list(chosen)
    else:
        found = dict(chosen)
        entries = [(number, found.get(number)) for number in range(frame_count)]
    pieces = [Piece(n, _place(face, (width, height), size, settings), face) for n, face in entries]
    return FaceCrop((width, height), frame_count, size, tuple(pieces))


def frames_for(
    keypoints: Keypoints, width: int, height: int, count: int
) -> tuple[tuple[FacePoints, ...], ...]:
    """Return the faces of each of `count` pictures of that size. Raises WrongInputError.

    Keypoints of the same picture in another size are scaled; of another shape they are refused.
    """
    drift = abs(keypoints.width * height - keypoints.height * width)
    if drift > max(keypoints.width, keypoints.height, width, height):
        raise WrongInputError(
            f"The keypoints are of a picture of {keypoints.width} x {keypoints.height}, this one "
            f"has {width} x {height}. Connect Face Keypoints of this very picture."
        )
    if len(keypoints.frames) not in (1, count):
        raise WrongInputError(
            f"The keypoints have {len(keypoints.frames)} frames, the picture {count}. Connect "
            "keypoints of the same frames, or of one for all of them."
        )
    fitted = fit(keypoints, width, height)
    return fitted.frames * (count // len(fitted.frames))


def face_size(face: FacePoints) -> float:
    """Return the longer side of a face's box, at least 1 pixel."""
    return max(1.0, float((face.box[2:] - face.box[:2]).max()))


def _place(
    face: FacePoints | None,
    picture: tuple[int, int],
    size: tuple[int, int],
    settings: CropSettings,
) -> Affine:
    """The map of a picture onto a crop: the face's middle onto the crop's, the head upright."""
    onto = (np.array(size) - 1) / 2
    if face is None:
        scale = max(np.array(size) / picture)
        return about((np.array(picture) - 1) / 2, onto, scale, np.eye(2))
    scale = min(size) / (settings.context * face_size(face))
    turn = head_ellipse(face)[2].T if settings.upright else np.eye(2)
    if settings.long_side == OWN_PIXELS:
        scale = 1.0
    return about((face.box[:2] + face.box[2:]) / 2, onto, scale, turn)


def cut(images: Tensor, crop: FaceCrop) -> Tensor:
    """Return the crops of an IMAGE (B,H,W,C): (P,h,w,3) float32 on the CPU, one for each piece.

    Beyond its edges the picture is continued.
    """
    pictures = to_rgb(images).numpy()
    made = [warp(pictures[piece.frame], piece.place, *crop.size) for piece in crop.pieces]
    return torch.from_numpy(np.stack(made))


def crop_masks(crop: FaceCrop, outline: Outline = AROUND_HEAD) -> Tensor:
    """Return what of each crop is pasted: (P,h,w) float32 in 0..1, on the CPU."""
    width, height = crop.size
    x = torch.arange(width, dtype=torch.float32)[None, :]
    y = torch.arange(height, dtype=torch.float32)[:, None]
    return torch.stack([mask_at(piece, crop.size, outline, x, y) for piece in crop.pieces])


def mask_at(piece: Piece, size: tuple[int, int], outline: Outline, x: Tensor, y: Tensor) -> Tensor:
    """Return how much of a crop is pasted at points of it: 1 within the face's region, 0 outside.

    size: (width, height) of the crop. x, y: float32, in its pixels, as `regions.coverage` takes
    them. Along the crop's border it falls to 0 over the feather, so that no seam is left there.
    """
    if piece.face is None:
        return torch.zeros_like(x + y)
    face = piece.place.face(piece.face)
    width, height = size
    across = torch.minimum(x + 0.5, width - 0.5 - x)
    down = torch.minimum(y + 0.5, height - 0.5 - y)
    inside = torch.minimum(across, down)  # pixels from the border, negative outside
    rim = min(outline.feather * face_size(face), SOFT_RIM * min(size))
    rimmed = (inside / rim).clamp(0, 1) if rim > 1e-3 else (inside >= 0).float()
    return torch.minimum(coverage(face, outline, x, y), rimmed)


def on_crop(keypoints: Keypoints, crop: FaceCrop) -> Keypoints:
    """Return keypoints of the whole picture on its crops, one frame for each; as the record says.

    Faces of which no point lies on a crop are left out of its frame. Raises WrongInputError for
    keypoints of another picture.
    """
    frames = frames_for(keypoints, *crop.picture, crop.frame_count)
    placed = [[piece.place.face(face) for face in frames[piece.frame]] for piece in crop.pieces]
    kept = [tuple(face for face in faces if _is_on(face, crop.size)) for faces in placed]
    return Keypoints(*crop.size, tuple(kept))


def _is_on(face: FacePoints, size: Sequence[int]) -> bool:
    inside = (face.kps >= -0.5) & (face.kps <= np.array(size) - 0.5)
    return cast("bool", inside.all(axis=1).any())
