"""The five points of a face are the right ones of a pose, in pixels or parts of the canvas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from faithful_instantid.instantid_core import head
from faithful_instantid.instantid_core.errors import NoFaceError, WrongInputError
from faithful_instantid.instantid_core.faces.openpose import keypoints_of_pose
from faithful_instantid.instantid_core.head import (
    NOTHING,
    SeenHead,
    estimate,
    face_of,
    with_mouth,
)
from faithful_instantid.instantid_core.log import listening

WIDTH, HEIGHT = 832, 1216
Points = Any


def face_at(x: float, y: float, yaw: float = 0.0, pitch: float = 0.0, size: float = 60.0) -> Points:
    place = np.array([x, y], float)
    return SeenHead(yaw, pitch, 8.0, np.eye(2) * size, place, NOTHING).points


def scored(points: Points, score: float = 0.9) -> list[list[float]]:
    return [[float(x), float(y), score] for x, y in points]


def face_points(kps: Points, pupils: bool = True) -> list[list[float]]:
    """68 or 70 points of a face, as OpenPose numbers them, with the eyes as rings."""
    points = np.full((70 if pupils else 68, 2), 5.0)
    ring = [(math.cos(a), math.sin(a)) for a in np.arange(6) * math.pi / 3]
    for eye, numbers in zip(kps[:2], (range(36, 42), range(42, 48)), strict=True):
        points[list(numbers)] = eye + 7 * np.array(ring)
    points[[30, 48, 54]] = kps[2:]
    if pupils:
        points[[68, 69]] = kps[:2] + 3  # elsewhere than the rings' middles, so as to be told apart
    return scored(points)


def body_points(kps: Points, count: int = 18, elsewhere: float = 9.0) -> list[list[float]]:
    points = np.full((count, 2), elsewhere)
    eyes = (15, 16) if count == 25 else (14, 15)
    points[[*eyes, 0]] = kps[:3]
    return scored(points)


def person(face: Any = None, body: Any = None) -> dict[str, Any]:
    made: dict[str, Any] = {"face_keypoints_2d": face, "pose_keypoints_2d": body}
    return {name: None if ps is None else [v for p in ps for v in p] for name, ps in made.items()}


def frame(*people: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"people": list(people), "canvas_width": WIDTH, "canvas_height": HEIGHT, **changes}


KPS = face_at(400, 500, 20, -5)
WHOLE = person(face_points(KPS), body_points(KPS))


@pytest.mark.parametrize("pupils", [True, False], ids=["70 points", "68 points"])
def test_face_points_give_the_five_points_with_the_middle_of_each_eye(pupils: bool) -> None:
    with listening() as heard:
        made = keypoints_of_pose([frame(person(face_points(KPS, pupils), body_points(KPS + 40)))])
    assert (made.width, made.height, len(made.frames)) == (WIDTH, HEIGHT, 1)
    (face,) = made.faces
    assert np.allclose(face.kps, KPS, atol=1e-3)
    assert np.allclose(face.box, face_of(KPS).box, atol=1e-2)
    assert heard.found == ["1 face"]


def test_an_eye_whose_outline_is_unsure_is_where_its_pupil_is() -> None:
    points = face_points(KPS)
    points[38][2] = 0.1
    (face,) = keypoints_of_pose([frame(person(points))]).faces
    assert np.allclose(face.kps[0], KPS[0] + 3, atol=1e-3)
    assert np.allclose(face.kps[1:], KPS[1:], atol=1e-3)


def test_without_pupils_an_unsure_eye_leaves_the_face_to_the_body() -> None:
    points = face_points(KPS, pupils=False)
    points[44][2] = 0.1
    (face,) = keypoints_of_pose([frame(person(points, body_points(KPS + 40)))]).faces
    assert np.allclose(face.kps, KPS + 40, atol=0.01)


@pytest.mark.parametrize("count", [18, 20, 25])
def test_without_face_points_the_body_gives_eyes_and_nose_and_the_mouth_is_a_mean_heads(
    count: int,
) -> None:
    unsure = face_points(KPS)
    unsure[54][2] = 0.0
    for face in (None, [], unsure):
        with listening() as heard:
            made = keypoints_of_pose([frame(person(face, body_points(KPS, count)))])
        assert np.allclose(made.faces[0].kps, KPS, atol=0.01)
        assert heard.found[1].startswith("1 of them from eyes and nose of the body: the mouth is")


@pytest.mark.parametrize("pitch", [-40, -15, 0, 30])
@pytest.mark.parametrize("yaw", [-70, -30, 0, 45, 80])
def test_the_mouth_of_a_mean_head_is_found_from_eyes_and_nose(yaw: float, pitch: float) -> None:
    kps = face_at(300, 200, yaw, pitch)
    assert np.allclose(with_mouth(kps[:2], kps[2]), kps, atol=0.01)


@pytest.mark.parametrize(
    "nose", [[50, 0], [50, 400], [900, 60], [50, -70]], ids=["between", "long", "aside", "above"]
)
def test_eyes_and_a_nose_that_no_head_has_still_get_a_mouth(nose: list[float]) -> None:
    kps = with_mouth([[0, 0], [100, 0]], nose)
    assert np.isfinite(kps).all()
    assert np.array_equal(kps[:3], [[0, 0], [100, 0], nose])
    assert abs(kps[3:]).max() < 3000
    assert np.isfinite(with_mouth([[5, 5], [5, 5]], [5, 5])).all()


def test_parts_of_the_canvas_are_brought_to_pixels_list_by_list() -> None:
    rings = np.array(face_points(KPS))
    rings[:, :2] /= (WIDTH, HEIGHT)
    body = body_points(KPS / [WIDTH, HEIGHT], elsewhere=1.2)  # limbs lie off the picture
    for one in (person(rings.tolist(), body_points(KPS)), person(None, body)):
        (face,) = keypoints_of_pose([frame(one)]).faces
        assert np.allclose(face.kps, KPS, atol=0.05)


def test_points_that_were_not_found_do_not_tell_what_a_list_is_in() -> None:
    """They lie at 0, 0, which is in the picture either way."""
    body = body_points(KPS)
    for point in body[1:14]:
        point[:] = [0.0, 0.0, 0.0]
    (face,) = keypoints_of_pose([frame(person(None, body))]).faces
    assert np.allclose(face.kps, KPS, atol=0.01)


def test_everybody_is_there_from_left_to_right_or_the_one_who_is_picked() -> None:
    places = [(600, 300, 40), (100, 600, 70), (350, 200, 90)]
    faces = [face_at(x, y, size=size) for x, y, size in places]
    pose = [frame(*(person(face_points(one)) for one in faces))]
    with listening() as heard:
        every = keypoints_of_pose(pose).frames[0]
    assert heard.found == ["3 faces"]
    assert [float(face.kps[2, 0].round()) for face in every] == sorted(
        float(np.float32(face[2, 0]).round()) for face in faces
    )
    for pick, order in (("left_to_right", [1, 2, 0]), ("top_to_bottom", [2, 0, 1]),
                        ("largest", [2, 1, 0])):  # fmt: skip
        for index, number in enumerate(order):
            with listening() as heard:
                (face,) = keypoints_of_pose(pose, pick=pick, index=index).faces
            assert heard.found == ["1 face"]
            assert np.allclose(face.kps, faces[number], atol=1e-3), (pick, index)


def test_frames_without_a_face_are_filled_as_asked_and_keep_their_place() -> None:
    moved = person(face_points(KPS + 100))
    pose = [frame(WHOLE), frame(), frame(moved)]
    with pytest.raises(NoFaceError, match="There is nobody in the pose. Use another picture"):
        keypoints_of_pose(pose)
    shifts = {"blank": None, "hold": 0, "interpolate": 50}
    for on_missing, shift in shifts.items():
        made = keypoints_of_pose(pose, on_missing=on_missing)
        assert [len(one) for one in made.frames] == [1, 0 if shift is None else 1, 1]
        if shift is not None:
            assert np.allclose(made.frames[1][0].kps, KPS + shift, atol=1e-3)


def test_why_there_is_no_face_is_told() -> None:
    away = body_points(KPS)
    away[0][2] = 0.0  # seen from behind: no nose
    with pytest.raises(NoFaceError, match=r"Of nobody in the pose \(1 there\) both eyes and the"):
        keypoints_of_pose([frame(person(None, away))])
    with pytest.raises(NoFaceError, match=r"Face number 2 \(largest, counted from 0\) was wanted"):
        keypoints_of_pose([frame(WHOLE)], pick="largest", index=2)


def test_a_lower_threshold_takes_points_that_are_less_sure() -> None:
    unsure = person(scored(np.array(face_points(KPS))[:, :2], 0.2))
    with pytest.raises(NoFaceError):
        keypoints_of_pose([frame(unsure)])
    (face,) = keypoints_of_pose([frame(unsure)], threshold=0.15).faces
    assert np.allclose(face.kps, KPS, atol=1e-3)
    missing = person(scored(np.array(face_points(KPS))[:, :2], 0.0))
    with pytest.raises(NoFaceError):
        keypoints_of_pose([frame(missing)], threshold=0.0)


def test_one_frame_alone_and_its_json_are_taken_too() -> None:
    for pose in (frame(WHOLE), json.dumps([frame(WHOLE)])):
        assert np.allclose(keypoints_of_pose(pose).faces[0].kps, KPS, atol=1e-3)


ODD_LIST = {**WHOLE, "face_keypoints_2d": [1, 2, 3, 4]}
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, "is nothing without `people`"),
    "no json": (lambda: "{", "is a text that is no JSON (JSONDecodeError"),
    "no frame": (lambda: [], "has no frame at all"),
    "a number": (lambda: [7], "is a list without `people`"),
    "animals": (lambda: [{"animals": []}], "is a list without `people`"),
    "a crowd": (lambda: [frame(*[{}] * 10_000)], "has 10,000 people in one frame; at most 100"),
    "no canvas": (lambda: [frame(canvas_width=None)], "has nothing as `canvas_width`; wanted the"),
    "nan canvas": (lambda: [frame(canvas_height=math.nan)], "has nan as `canvas_height`; wanted"),
    "empty canvas": (lambda: [frame(canvas_width=0)], "has 0 as `canvas_width`; wanted the"),
    "huge canvas": (lambda: [frame(canvas_width=2**14 + 1)], "has 16385 as `canvas_width`; want"),
    "two canvases": (lambda: [frame(), frame(canvas_width=8)], "has frames of different sizes"),
    "no person": (lambda: [frame("x")], "has a text among its people"),
    "four numbers": (lambda: [frame(ODD_LIST)], "has 4 numbers as `face_keypoints_2d`; wanted x,"),
    "texts": (
        lambda: [frame({"pose_keypoints_2d": ["a", "b", "c"]})],
        "has a list of something else as `pose_keypoints_2d`",
    ),
    "nan": (
        lambda: [frame(person(None, scored(np.full((18, 2), math.nan))))],
        "has numbers in `pose_keypoints_2d` that are not finite or far off the picture",
    ),
    "endless": (lambda: [frame({"pose_keypoints_2d": [10**400] * 3})], "has a list of something"),
    "far off": (
        lambda: [frame(person(scored(np.full((70, 2), 2e6))))],
        "has numbers in `face_keypoints_2d` that are not finite or far off",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_pose_is_told_with_what_to_connect(name: str) -> None:
    make, said = WRONG[name]
    with pytest.raises(WrongInputError) as caught:
        keypoints_of_pose(make())
    message = str(caught.value)
    assert message.startswith(f"The pose {said}")
    assert message.endswith("Connect the POSE_KEYPOINT output of a pose node, such as DWPose "
                            "Estimator.")  # fmt: skip


def test_picks_and_numbers_that_are_not_offered_are_told() -> None:
    with pytest.raises(WrongInputError, match="wanted one of: left_to_right"):
        keypoints_of_pose([frame(WHOLE)], pick="nearest")
    with pytest.raises(WrongInputError, match="threshold is nan"):
        keypoints_of_pose([frame(WHOLE)], threshold=math.nan)


def test_a_profile_from_the_body_still_looks_to_the_side() -> None:
    kps = face_at(400, 500, yaw=75)
    (face,) = keypoints_of_pose([frame(person(None, body_points(kps)))]).faces
    assert math.isclose(estimate(face.kps).yaw, 75, abs_tol=0.1)
    assert head.FURTHEST > 75
