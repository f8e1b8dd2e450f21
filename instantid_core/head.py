"""A head in 3D: which way a face looks, and its five points when it looks another way.

Five points are seen with weak perspective: flattened onto the picture, at one scale. What a face
has of its own is kept as the picture shows it, so that its shape never depends on where it looks:

    points = place + stretch . turn[:2] . (HEAD - PIVOT) + rest

turn: the rotation of the mean head. stretch: (2, 2) symmetric; its size, and how much longer or
wider than the mean head the face is. rest: what no rotation and no stretch explains. All four
follow from the points alone, and only `turn` changes while a head turns: what was turned there is
the same face when it is turned back.

Axes: x to the right, y down, z out of the picture. Angles in degrees: yaw to the right of the
picture, pitch up, roll clockwise, in this order from the outside: roll of (yaw of pitch).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from .errors import WrongInputError
from .keypoints import NOSE, FacePoints, Keypoints
from .log import tell

Matrix = NDArray[np.float64]

# The mean head, in distances between the pupils, from the point between them. Across and down it
# is the standard face of this pack. Depths are rounded from published anthropometry: 63 mm between
# the pupils (Dodgson 2004), the tip of the nose 20 mm before its base (Farkas 1994), which lies
# about 16 mm before the eyes; the corners of the mouth lie about 5 mm before the eyes.
HEAD: Matrix = np.array(
    [
        [-0.5, 0.0, 0.0],
        [0.5, 0.0, 0.0],
        [0.0, 0.58, 0.57],
        [-0.41, 1.15, 0.08],
        [0.41, 1.15, 0.08],
    ]
)
# About what a head turns: the joint of skull and neck, below and behind the ears.
PIVOT: Matrix = np.array([0.0, 0.6, -1.4])
# A face, forehead to chin and nose to ears, as an ellipsoid: its middle and its half axes.
FACE_MIDDLE: Matrix = np.array([0.0, 0.325, -0.42])
FACE_HALF: Matrix = np.array([1.15, 1.525, 1.0])

# What finds the linear map in five points: points.T @ FROM_POINTS is (2, 3), and is what maps HEAD
# onto them if one does, else the nearest.
FROM_POINTS = np.asarray(np.linalg.pinv(HEAD - HEAD.mean(axis=0)), np.float64).T

LEAN = 45.0  # degrees of pitch that eyes and a nose alone are believed
FURTHEST = 85.0  # degrees of yaw and pitch: beyond, the face looks away
MOST_FRAMES = 4096  # that are made of one
FLAT = 1e-3  # points this much closer to a line than they are long show no head
LANDMARKS_NOT_TURNED = (
    "A head is turned, and its 106 landmarks are left out: they are known on the picture, not in "
    "3D. IdentityNet for SD1.5 is shown its five points alone. For landmarks of a face that looks "
    "elsewhere, take a photo that shows it so."
)


class Look(str, Enum):
    """Where a head looks, as in the picture."""

    FRONTAL = "frontal"
    THREE_QUARTER_LEFT = "three-quarter left"
    THREE_QUARTER_RIGHT = "three-quarter right"
    PROFILE_LEFT = "profile left"
    PROFILE_RIGHT = "profile right"
    UP = "up"
    DOWN = "down"


# Yaw and pitch of each.
LOOKS: dict[Look, tuple[float, float]] = {
    Look.FRONTAL: (0.0, 0.0),
    Look.THREE_QUARTER_LEFT: (-40.0, 0.0),
    Look.THREE_QUARTER_RIGHT: (40.0, 0.0),
    Look.PROFILE_LEFT: (-80.0, 0.0),
    Look.PROFILE_RIGHT: (80.0, 0.0),
    Look.UP: (0.0, 25.0),
    Look.DOWN: (0.0, -25.0),
}


@dataclass(frozen=True)
class Turning:
    """How far the heads of every frame are turned, in degrees: yaw to the right, pitch up.

    yaw, pitch: in the first frame. yaw_change, pitch_change: how much further by the last frame,
    evenly. frames: how many are made of a single one before; more frames stay as many as they are.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    yaw_change: float = 0.0
    pitch_change: float = 0.0
    frames: int = 1

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch", "yaw_change", "pitch_change"):
            checks.number(getattr(self, name), name)
        if not 1 <= checks.number(self.frames, "frames") <= MOST_FRAMES:
            raise WrongInputError(
                f"{self.frames} frames cannot be made of one: wanted 1 to {MOST_FRAMES}."
            )

    def at(self, frame: int, count: int) -> tuple[float, float]:
        """Return yaw and pitch of a frame among `count`."""
        part = frame / max(count - 1, 1)
        return self.yaw + part * self.yaw_change, self.pitch + part * self.pitch_change


@dataclass(frozen=True)
class Pose:
    """Which way a head looks, how large and where it is.

    yaw, pitch, roll: degrees. size: pixels between the pupils as seen from the front. place: (x, y)
    in pixels, where the joint of skull and neck lies.
    """

    yaw: float
    pitch: float
    roll: float
    size: float
    place: tuple[float, float]


@dataclass(frozen=True, eq=False)
class SeenHead:
    """A head as five points show it; see the head of this file.

    yaw, pitch, roll: degrees. stretch: (2, 2) pixels. place: (2,) pixels. rest: (5, 2) pixels.
    """

    yaw: float
    pitch: float
    roll: float
    stretch: Matrix
    place: Matrix
    rest: Matrix

    @property
    def pose(self) -> Pose:
        """Which way it looks, how large and where it is."""
        x, y = self.place.tolist()
        size = float(np.trace(self.stretch)) / 2
        return Pose(self.yaw, self.pitch, self.roll, size, (x, y))

    @property
    def points(self) -> Matrix:
        """(5, 2) pixels: the points of the face."""
        return self._seen(HEAD) + self.rest

    @property
    def box(self) -> Matrix:
        """(4,) pixels: left, top, right, bottom of the face, forehead to chin."""
        middle = self._seen(FACE_MIDDLE)
        half = np.sqrt((self._flattened * FACE_HALF) ** 2 @ np.ones(3))
        return np.concatenate([middle - half, middle + half])

    def turned(self, yaw: float, pitch: float) -> SeenHead:
        """Return the head turned by degrees, at most to where the face would look away."""
        return replace(self, yaw=_within(self.yaw, yaw), pitch=_within(self.pitch, pitch))

    @property
    def _flattened(self) -> Matrix:
        """(2, 3): from the mean head's axes to pixels."""
        return self.stretch @ rotation(self.yaw, self.pitch, self.roll)[:2]

    def _seen(self, points: Matrix) -> Matrix:
        return (points - PIVOT) @ self._flattened.T + self.place


def rotation(yaw: float, pitch: float, roll: float) -> Matrix:
    """Return the rotation (3, 3) of a head that looks into the camera at 0, 0, 0."""
    (cy, sy), (cp, sp), (cr, sr) = (
        (math.cos(angle), math.sin(angle)) for angle in map(math.radians, (yaw, pitch, roll))
    )
    across = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    down = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    round_ = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return round_ @ across @ down


def seen(kps: ArrayLike) -> SeenHead:
    """Return the head that five points show.

    kps: (5, 2), x then y in pixels, finite. The linear map that brings the mean head nearest to the
    points is split in two: a rotation, and a symmetric stretch after it (its polar form). Points
    on one line show no head; they are taken as a frontal one, all else as their own shape.
    """
    points = np.asarray(kps, np.float64)
    middle = points.mean(axis=0)
    found = (points - middle).T @ FROM_POINTS  # (2, 3)
    square = found @ found.T
    (p, q), (_, r) = square.tolist()
    det = math.sqrt(max(p * r - q * q, 0.0))
    if det <= FLAT * (p + r):
        return _flat(points, middle)
    trace = math.sqrt(p + r + 2 * det)
    stretch = (square + det * np.eye(2)) / trace
    rows = np.array([[r + det, -q], [-q, p + det]]) / (det * trace) @ found
    third = np.cross(rows[0], rows[1])
    yaw = math.degrees(math.atan2(-third[0], math.hypot(rows[0, 0], rows[1, 0])))
    pitch = math.degrees(math.atan2(third[1], third[2]))
    roll = math.degrees(math.atan2(rows[1, 0], rows[0, 0]))
    return _placed(points, middle, SeenHead(yaw, pitch, roll, stretch, NOWHERE, NOTHING))


def estimate(kps: ArrayLike) -> Pose:
    """Return which way five points look: (5, 2), x then y in pixels."""
    return seen(kps).pose


def with_mouth(eyes: ArrayLike, nose: ArrayLike) -> Matrix:
    """Return five points (5, 2) of which only eyes and nose are known.

    eyes: (2, 2), the one at the left first; nose: (2,), its tip; pixels. The mouth is where the
    mean head has it when its eyes and nose are seen so; of the two ways to see three points so, the
    nose is the nearer one. Eyes and nose stay as they are.
    """
    eyes, nose = np.asarray(eyes, np.float64), np.asarray(nose, np.float64)
    middle, (x, y) = eyes.mean(axis=0), (eyes[1] - eyes[0]).tolist()
    roll = math.atan2(y, x)
    wide = max(math.hypot(x, y) ** 2, 1e-12)
    u, v = rotation(0.0, 0.0, -math.degrees(roll))[:2, :2] @ (nose - middle)
    far = float(np.hypot(*HEAD[NOSE, 1:]))  # of the nose from the line through the eyes
    # The share of the nose's length that points out of the picture, squared: a quadratic equation.
    long, aside = (u**2 + v**2) / far**2, (u / far) ** 2
    half = (wide - long) / 2
    out = min(max((half + math.sqrt(half**2 + wide * aside)) / wide, 1e-6), 1.0)
    yaw = math.degrees(math.atan2(u / (far * math.sqrt(out)), math.sqrt(wide)))
    size = math.hypot(u / (far * math.sqrt(out)), math.sqrt(wide))
    lean = math.degrees(math.atan2(HEAD[NOSE, 2], HEAD[NOSE, 1]))
    pitch = math.degrees(math.acos(math.copysign(math.sqrt(1 - out), v))) - lean
    pitch = min(max(pitch, -LEAN), LEAN)
    known = np.vstack([eyes, nose])
    shape = SeenHead(yaw, pitch, math.degrees(roll), np.eye(2) * size, NOWHERE, NOTHING).points
    placed = shape + (known - shape[:3]).mean(axis=0)
    return np.vstack([known, placed[3:]])


def face_of(kps: ArrayLike) -> FacePoints:
    """Return a face of five points, with the box that a head of this pose has: (5, 2) pixels."""
    points = np.asarray(kps, np.float32)
    return FacePoints(points, seen(points).box.astype(np.float32))


def turn(face: FacePoints, yaw: float, pitch: float) -> FacePoints:
    """Return a face turned by degrees: yaw to the right of the picture, pitch up.

    It turns about the joint of skull and neck, at most to where it would look away. Its box changes
    as that of the mean head does. Landmarks are left out: how far each lies from the picture is not
    known. 0 and 0 change nothing.
    """
    if yaw == 0 and pitch == 0:
        return face
    before = seen(face.kps)
    after = before.turned(yaw, pitch)
    if abs(after.yaw - before.yaw - yaw) + abs(after.pitch - before.pitch - pitch) > 1e-6:
        tell(
            f"A face would look away from the camera: it is turned to yaw {round(after.yaw)} and "
            f"pitch {round(after.pitch)} degrees and no further."
        )
    old, new = before.box, after.box
    half = (face.box[2:] - face.box[:2]) / 2 * (new[2:] - new[:2]) / (old[2:] - old[:2])
    middle = (face.box[:2] + face.box[2:] + new[:2] + new[2:] - old[:2] - old[2:]) / 2
    box = np.concatenate([middle - half, middle + half])
    kps = after.points.astype(np.float32)
    return replace(face, kps=kps, box=box.astype(np.float32), landmarks=None)


def turn_all(keypoints: Keypoints, turning: Turning) -> Keypoints:
    """Return keypoints with the heads of every frame turned; nothing to turn changes nothing.

    Says so where landmarks are left out.
    """
    frames = keypoints.frames
    if turning.frames > 1 and len(frames) > 1:
        tell(f"{len(frames)} frames came in and stay as many; `frames` is for a single one.")
    elif turning.frames > 1:
        frames = frames * int(turning.frames)
    angles = [turning.at(frame, len(frames)) for frame in range(len(frames))]
    turned = tuple(
        tuple(turn(face, *angle) for face in frame)
        for frame, angle in zip(frames, angles, strict=True)
    )
    made = replace(keypoints, frames=turned)
    if _landmark_count(made.faces) < sum(_landmark_count(frame) for frame in frames):
        tell(LANDMARKS_NOT_TURNED)
    return made


def _landmark_count(faces: Sequence[FacePoints]) -> int:
    return sum(face.landmarks is not None for face in faces)


def look(kps: ArrayLike, where: Look) -> Matrix:
    """Return five points (5, 2) that look where it is told, as large and where they are."""
    yaw, pitch = LOOKS[where]
    return replace(seen(kps), yaw=yaw, pitch=pitch).points


NOWHERE: Matrix = np.zeros(2)
NOTHING: Matrix = np.zeros((5, 2))


def _placed(points: Matrix, middle: Matrix, head: SeenHead) -> SeenHead:
    """Put a head where its points are, and keep what it does not explain."""
    head = replace(head, place=middle - head.points.mean(axis=0))
    return replace(head, rest=points - head.points)


def _flat(points: Matrix, middle: Matrix) -> SeenHead:
    """A frontal head for points on one line, as large as the line is long."""
    extent = float(np.sqrt(((points - middle) ** 2).sum()))
    own = float(np.sqrt(((HEAD - HEAD.mean(axis=0))[:, :2] ** 2).sum()))
    stretch = np.eye(2) * max(extent / own, 1.0)
    return _placed(points, middle, SeenHead(0.0, 0.0, 0.0, stretch, NOWHERE, NOTHING))


def _within(angle: float, change: float) -> float:
    """An angle changed, held where the face is seen; one that is beyond comes no further."""
    if change == 0:
        return angle
    furthest = max(FURTHEST, abs(angle))
    return min(max(angle + change, -furthest), furthest)
