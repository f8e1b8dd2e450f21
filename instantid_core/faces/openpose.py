"""The five points of faces from the pose of bodies, as OpenPose writes it.

A POSE_KEYPOINT of ComfyUI is a list of frames, each a dictionary with `canvas_width`,
`canvas_height` and `people`; of each person `face_keypoints_2d`, 68 or 70 points, and
`pose_keypoints_2d`, 18 or more: x, y and score one after the other, in pixels, or all of them from
0 to 1 in parts of the canvas. A point that was not found has a score of 0. OpenPose numbers what is
at the right of a person before what is at the left; seen from the front, that is from the left of
the picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import WrongInputError
from ..fitting import FURTHEST, LARGEST_SIDE
from ..head import face_of, with_mouth
from ..keypoints import FacePoints, Keypoints
from ..log import note
from ..people import ordered
from .frames import fill_frames

LEAST = 1e-6  # of a point that was found
THRESHOLD = 0.3  # the score at which ComfyUI's own drawing of poses begins
ALL_PEOPLE = "all"
MOST_PEOPLE = 100
PARTS = 2.0  # larger numbers are pixels; a limb off the picture lies a little beyond 1
FACE, BODY = "face_keypoints_2d", "pose_keypoints_2d"

SIDES = ("width", "height")

# Of the 68 points of a face, numbered from 0, and the two pupils after them.
EYES = (range(36, 42), range(42, 48))
PUPILS = (68, 69)
NOSE_TIP = 30
MOUTH_CORNERS = (48, 54)
# Of the points of a body: nose, and the eyes, which BODY_25 has elsewhere.
BODY_NOSE = 0
BODY_EYES, BODY_25_EYES = (14, 15), (15, 16)

ADVICE = "Connect the POSE_KEYPOINT output of a pose node, such as DWPose Estimator."
Scored = NDArray[np.float64]  # (N, 3): x and y in pixels, and the score


@dataclass(frozen=True, eq=False)
class PosedFace:
    """A face of a pose. has_mouth: whether the mouth was found, or is where a mean head has it."""

    points: FacePoints
    has_mouth: bool


def keypoints_of_pose(
    pose: object,
    *,
    pick: str = ALL_PEOPLE,
    index: int = 0,
    on_missing: str = "error",
    threshold: float = THRESHOLD,
) -> Keypoints:
    """Return the faces of a POSE_KEYPOINT, frame by frame.

    Of each person the points of the face are taken, where all five were found; else eyes and nose
    of the body, and the mouth where a mean head has it. pick: "all", from left to right, or one of
    people.ORDERS, in which `index` counts from 0. on_missing: one of frames.ON_MISSING_FRAME.
    threshold: the least score of a point, 0 to 1.

    Raises WrongInputError for what is no pose, NoFaceError as `fill_frames` does.
    """
    threshold = max(checks.number(threshold, "threshold"), LEAST)
    width, height, frames = _frames(pose)
    found = [_faces(frame, width, height, threshold) for frame in frames]
    chosen = [_chosen(faces, pick, index) for faces in found]
    problems = [
        _problem(len(frame["people"]), len(faces), pick, index)
        for frame, faces in zip(frames, found, strict=True)
    ]
    frames_of_points = [tuple(face.points for face in faces) for faces in chosen]
    filled = fill_frames(frames_of_points, problems, on_missing)
    _say([face for faces in chosen for face in faces])
    return Keypoints(width, height, filled)


def _frames(pose: object) -> tuple[int, int, list[dict[str, Any]]]:
    """Width, height and frames of a pose, checked as far as their people."""
    if isinstance(pose, str):
        try:
            pose = json.loads(pose)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"is a text that is no JSON ({checks.said(error)})") from None
    kind = checks.kind_of(pose)
    frames: list[Any] = cast("list[Any]", pose) if isinstance(pose, list) else [pose]
    if not frames:
        raise _wrong("has no frame at all")
    for frame in frames:
        people = cast("dict[str, Any]", frame).get("people") if isinstance(frame, dict) else None
        if not isinstance(people, list):
            raise _wrong(f"is {kind} without `people`")
        count = len(cast("list[Any]", people))
        if count > MOST_PEOPLE:
            raise _wrong(f"has {count:,} people in one frame; at most {MOST_PEOPLE} are read")
    sizes = {tuple(_side(frame.get(f"canvas_{side}"), side) for side in SIDES) for frame in frames}
    if len(sizes) > 1:
        raise _wrong("has frames of different sizes; all must be of one canvas")
    ((width, height),) = sizes
    return width, height, frames


def _side(value: object, name: str) -> int:
    if isinstance(value, (int, float)) and 1 <= value <= LARGEST_SIDE:
        return int(value)
    raise _wrong(
        f"has {checks.shown(value)} as `canvas_{name}`; wanted the {name} of its picture in "
        f"pixels, 1 to {LARGEST_SIDE}"
    )


def _faces(frame: dict[str, Any], width: int, height: int, threshold: float) -> list[PosedFace]:
    """The faces of a frame's people."""
    faces: list[PosedFace] = []
    for person in frame["people"]:
        if not isinstance(person, dict):
            raise _wrong(f"has {checks.kind_of(person)} among its people")
        lists = cast("dict[str, Any]", person)
        face, body = (_points(lists.get(name), name, width, height) for name in (FACE, BODY))
        kps = _of_face(face, threshold)
        has_mouth = kps is not None
        if kps is None:
            kps = _of_body(body, threshold)
        if kps is not None:
            faces.append(PosedFace(face_of(kps), has_mouth))
    return faces


def _points(values: Any, name: str, width: int, height: int) -> Scored:
    """A list of x, y and score as (N, 3), in pixels; none is (0, 3)."""
    try:
        flat = np.asarray([] if values is None else values, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(f"has {checks.kind_of(values)} of something else as `{name}`") from None
    if len(flat) % 3:
        raise _wrong(f"has {len(flat)} numbers as `{name}`; wanted x, y and score of each point")
    points = flat.reshape(-1, 3).copy()
    if not (np.isfinite(points).all() and (np.abs(points) <= FURTHEST).all()):
        raise _wrong(f"has numbers in `{name}` that are not finite or far off the picture")
    found = points[points[:, 2] > 0, :2]
    if len(found) and np.abs(found).max() <= PARTS:
        points[:, :2] *= (width, height)
    return points


def _of_face(points: Scored, threshold: float) -> Scored | None:
    """Five points of the 68 or 70 of a face; None if one was not found."""
    if len(points) <= MOUTH_CORNERS[1]:
        return None
    eyes: list[Scored] = []
    for outline, pupil in zip(EYES, PUPILS, strict=True):
        eye = points[list(outline)]
        if (eye[:, 2] < threshold).any() and pupil < len(points):
            eye = points[[pupil]]
        eyes.append(eye)
    rest = points[[NOSE_TIP, *MOUTH_CORNERS]]
    if min(part[:, 2].min() for part in (*eyes, rest)) < threshold:
        return None
    return np.vstack([*(eye[:, :2].mean(axis=0) for eye in eyes), rest[:, :2]])


def _of_body(points: Scored, threshold: float) -> Scored | None:
    """Five points from nose and eyes of a body; None if one was not found."""
    eyes = BODY_25_EYES if len(points) == 25 else BODY_EYES
    if len(points) <= eyes[1]:
        return None
    known = points[[*eyes, BODY_NOSE]]
    if known[:, 2].min() < threshold:
        return None
    return with_mouth(known[:2, :2], known[2, :2])


def _chosen(faces: list[PosedFace], pick: str, index: int) -> list[PosedFace]:
    order = "left_to_right" if pick == ALL_PEOPLE else pick
    places = ordered([face.points for face in faces], order)
    ranked = sorted(faces, key=lambda face: places.index(face.points))
    return ranked if pick == ALL_PEOPLE else ranked[index : index + 1]


def _problem(people: int, faces: int, pick: str, index: int) -> str:
    """Why a frame has no face."""
    if faces:
        return (
            f"Face number {index} ({pick}, counted from 0) was wanted, and the pose has {faces}. "
            "Choose another `index`."
        )
    if not people:
        return "There is nobody in the pose. Use another picture, or choose another `on_missing`."
    return (
        f"Of nobody in the pose ({people} there) both eyes and the nose were found. Lower "
        "`threshold`, use a pose node that finds faces, or choose another `on_missing`."
    )


def _say(faces: list[PosedFace]) -> None:
    note("1 face" if len(faces) == 1 else f"{len(faces)} faces")
    guessed = sum(not face.has_mouth for face in faces)
    if guessed:
        note(
            f"{guessed} of them from eyes and nose of the body: the mouth is where a mean head has "
            "it. A pose with face points places it better."
        )


def _wrong(what: str) -> WrongInputError:
    return WrongInputError(f"The pose {what}. {ADVICE}")
