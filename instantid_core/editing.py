"""Faces that a person put where they are: the one text in which the editor keeps them.

The text is empty while nothing was edited, else JSON, here with one face and its points cut short:

    {"version": 1, "width": 1024, "height": 1024, "source": "1a2b3c4d",
     "faces": [{"points": [[420.5, 380], [604.5, 380], [512, 480], [440, 590], [585, 590]]}]}

width, height: pixels of the canvas that the points are on. source: `source_of` the keypoints that
the edit began with, null if it began with none. faces: in the order in which they are numbered;
none is a picture without a face. points: x then y of left eye, right eye, nose, left and right
mouth corner as seen in the picture; they may lie off the canvas. Further entries are left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast

import numpy as np

from . import checks
from .affine import nearest_similarity
from .errors import WrongInputError
from .fitting import FURTHEST, LARGEST_SIDE, Fit, fit, fit_map, standard_face
from .head import estimate, face_of
from .keypoints import FacePoints, Keypoints, checked
from .log import note, tell

VERSION = 1
MOST_FACES = 100
SAME_SHAPE = 0.03  # of a face's size: points this much off still are the same face, moved
LONGEST = 100_000  # characters: some hundred faces, written at length
MOST_TOLD = 4  # faces whose pose is said
ADVICE = "Reset the editor, or write it as the help page of Edit Keypoints shows."


@dataclass(frozen=True, eq=False)
class Edit:
    """What a person edited.

    source: which keypoints it was made from, as `source_of` says; None for none.
    keypoints: one frame on the canvas of the edit.
    """

    source: str | None
    keypoints: Keypoints


def parse(text: object) -> Edit | None:
    """Return what an editor's text says; None where nothing was edited.

    Raises WrongInputError for what is no JSON, another version, too many faces, and points that
    are no ordinary numbers or lie too far off.
    """
    if not isinstance(text, str):
        raise WrongInputError(f"`edit` is {checks.kind_of(text)}. Wanted: a text. {ADVICE}")
    if not text.strip():
        return None
    state = _state(text)
    version = state.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise _wrong(
            f"is of version {checks.shown(version)}; this pack reads version {VERSION}. A newer "
            "editor made it, perhaps: update the pack"
        )
    width, height = (_side(state.get(name), name) for name in ("width", "height"))
    source = state.get("source")
    if not (source is None or isinstance(source, str)):
        raise _wrong(f"has {checks.kind_of(source)} as `source`; wanted a text or null")
    found = state.get("faces")
    if not isinstance(found, list):
        raise _wrong(f"has {checks.kind_of(found)} as `faces`; wanted a list")
    faces = cast("list[Any]", found)
    if len(faces) > MOST_FACES:
        raise _wrong(f"has {len(faces):,} faces; at most {MOST_FACES} can be edited")
    frame = tuple(_face(face, number) for number, face in enumerate(faces))
    return Edit(source, Keypoints(width, height, (frame,)))


def written(faces: Iterable[FacePoints], width: int, height: int, source: str | None) -> str:
    """Return the editor's text of faces on a canvas of `width` x `height` pixels."""
    listed = [{"points": face.kps.astype(float).round(2).tolist()} for face in faces]
    state = {
        "version": VERSION, "width": width, "height": height, "source": source, "faces": listed,
    }  # fmt: skip
    return json.dumps(state)


def source_of(keypoints: Keypoints) -> str:
    """Return which keypoints these are: the first 8 hexadecimal digits of a SHA-256.

    Of the size of their picture and the points of the first frame, to a tenth of a pixel: another
    canvas does not change it, and neither do the frames after the first.
    """
    points = [round(10 * value) for face in keypoints.frames[0] for value in face.kps.ravel()]
    said = json.dumps([keypoints.width, keypoints.height, points])
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def edited(text: object, width: int, height: int, keypoints: object = None) -> Keypoints:
    """Return what was edited on a canvas of `width` x `height` pixels; it wins over `keypoints`.

    Where nothing was edited the keypoints pass as they are, all of their frames; where none came
    in, a standard face. An edit made on another canvas is fitted onto this one, as a photo's
    keypoints are. Landmarks go with a face that was moved, scaled and rotated; one that was changed
    in another way has none any more, and it is said. Says which way the faces look, and where an
    edit was made from other keypoints.
    """
    edit = parse(text)
    incoming = None if keypoints is None else checked(keypoints)
    if edit is not None:
        _say_where_it_came_from(edit, incoming)
        made = fit(_with_landmarks(edit, incoming), width, height)
    elif incoming is not None:
        made = incoming
    else:
        tell(
            "Nothing was edited and no keypoints came in: this is a standard face. Move it in the "
            "editor, or connect keypoints."
        )
        made = standard_face(width, height)
    _say_poses(made)
    return made


def _with_landmarks(edit: Edit, incoming: Keypoints | None) -> Keypoints:
    """Return what was edited with the landmarks of the faces that it was made of."""
    here = edit.keypoints
    if incoming is None or not any(face.landmarks is not None for face in incoming.frames[0]):
        return here
    before: Sequence[FacePoints] = ()
    if source_of(incoming) == edit.source:
        before = fit(incoming, here.width, here.height).frames[0]
    faces = tuple(_marked(face, before) for face in here.frames[0])
    without = [str(number) for number, face in enumerate(faces) if face.landmarks is None]
    if without:
        tell(
            f"Of the edit's face {', '.join(without)} no landmarks are known: they go with a face "
            "that is only moved, scaled and rotated. IdentityNet for SD1.5 is shown five points."
        )
    return replace(here, frames=(faces,))


def _marked(face: FacePoints, before: Sequence[FacePoints]) -> FacePoints:
    """Return an edited face with the landmarks of the one it was, if it kept that one's shape."""
    nearest = SAME_SHAPE * float(np.abs(face.kps - face.kps.mean(axis=0)).max())
    found = face
    for own in before:
        way = nearest_similarity(own.kps, face.kps)
        off = float(np.abs(way.points(own.kps) - face.kps).max())
        if own.landmarks is not None and off <= nearest:
            nearest = off
            found = replace(face, landmarks=way.points(own.landmarks).astype(np.float32))
    return found


def for_editor(width: int, height: int, keypoints: Keypoints | None) -> dict[str, Any]:
    """Return what the editor shows before anything is edited, for JSON.

    width, height: the canvas. source: see `source_of`. faces: the points of the first frame on the
    canvas, fitted as for a picture of that size. photo: the size of the picture they are from, and
    how it lies on the canvas: a point of it times `scale` plus `offset`; null without keypoints.
    """
    if keypoints is None:
        first, source, photo = standard_face(width, height), None, None
    else:
        scale, (x, y) = fit_map(keypoints, width, height)
        photo = {
            "width": keypoints.width, "height": keypoints.height,
            "scale": float(scale), "offset": [float(x), float(y)],
        }  # fmt: skip
        first, source = fit(keypoints, width, height, Fit.CROP), source_of(keypoints)
    faces = [face.kps.astype(float).round(2).tolist() for face in first.frames[0]]
    return {"width": width, "height": height, "source": source, "photo": photo, "faces": faces}


def _state(text: str) -> dict[str, Any]:
    """The JSON object that a text is."""
    if len(text) > LONGEST:
        raise _wrong(f"has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        state = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"is no JSON ({checks.said(error)})") from None
    if not isinstance(state, dict):
        raise _wrong(f"is {checks.kind_of(state)} in JSON; wanted an object with `faces`")
    return cast("dict[str, Any]", state)


def _no_number(name: str) -> NoReturn:
    raise _wrong(f"holds {name}; wanted ordinary numbers")


def _side(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIDE:
        raise _wrong(f"has {checks.shown(value)} as `{name}`; wanted pixels, 1 to {LARGEST_SIDE}")
    return value


def _face(face: object, number: int) -> FacePoints:
    points = cast("dict[str, Any]", face).get("points") if isinstance(face, dict) else None
    pairs = _list(points, 5)
    values = [value for pair in pairs for value in _list(pair, 2)]
    if len(values) != 10:
        raise _wrong(
            f"has a face {number} without five points of x and y; wanted "
            '{"points": [[x, y], ...]}: eyes, nose, mouth corners'
        )
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(f"has {checks.shown(value)} in face {number} where a number is wanted")
        if not abs(value) <= FURTHEST:
            raise _wrong(
                f"has a point of face {number} at {checks.shown(value)}; wanted at most "
                f"{FURTHEST:,} pixels off"
            )
    return face_of(np.array(values, np.float32).reshape(5, 2))


def _list(found: object, count: int) -> list[Any]:
    """A list of so many entries; of anything else an empty one."""
    entries = cast("list[Any]", found) if isinstance(found, list) else []
    return entries if len(entries) == count else []


def _wrong(what: str) -> WrongInputError:
    return WrongInputError(f"The text in `edit` {what}. {ADVICE}")


def _say_where_it_came_from(edit: Edit, incoming: Keypoints | None) -> None:
    if incoming is None or source_of(incoming) == edit.source:
        return
    made = "without keypoints" if edit.source is None else "from other keypoints"
    tell(
        f"The edit was made {made}, not from those that come in now. The edit stays; the button in "
        "the editor takes the faces that come in."
    )


def _say_poses(made: Keypoints) -> None:
    """Say which way the faces of the first frame look."""
    frame = made.frames[0]
    if not frame:
        note("no face")
    for number, face in enumerate(frame[:MOST_TOLD]):
        pose = estimate(face.kps)
        yaw, pitch, roll = (round(angle) for angle in (pose.yaw, pose.pitch, pose.roll))
        note(f"face {number}: yaw {yaw}, pitch {pitch}, roll {roll}")
    if len(frame) > MOST_TOLD:
        note(f"and {len(frame) - MOST_TOLD} more faces")
