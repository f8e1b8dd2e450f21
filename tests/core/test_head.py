"""A head's pose is found in five points, and turning it keeps whose face it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools import edit_cases, turned_photos
from faithful_instantid.instantid_core import fitting, head, keypoints
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import place, standard_face, transform
from faithful_instantid.instantid_core.head import (
    LOOKS,
    NOTHING,
    Look,
    SeenHead,
    Turning,
    estimate,
    face_of,
    look,
    rotation,
    seen,
    turn,
    turn_all,
)
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints
from faithful_instantid.instantid_core.log import listening

# Five points of people in real photos: tilted, turned, smiling, and in profile.
PHOTOS = {name: [list(point) for point in one.points] for name, one in turned_photos.PHOTOS.items()}
TURNS = [(40, 0), (-40, 0), (0, 30), (0, -30), (25, -20), (-33, 12)]


def mean_head(yaw: float, pitch: float, roll: float = 0.0, size: float = 90.0) -> Any:
    """The mean head's points, projected without the code under test's estimate."""
    turned = (head.HEAD - head.PIVOT) @ rotation(yaw, pitch, roll).T
    return (turned[:, :2] * size + [400, 300]).astype(np.float32)


def photo(name: str) -> FacePoints:
    return face_of(PHOTOS[name])


@pytest.mark.parametrize("roll", [-25, 0, 40])
@pytest.mark.parametrize("pitch", [-60, -30, 0, 20, 60])
@pytest.mark.parametrize("yaw", [-60, -15, 0, 45, 60])
def test_the_pose_of_the_mean_head_is_found_up_to_60_degrees(
    yaw: float, pitch: float, roll: float
) -> None:
    pose = estimate(mean_head(yaw, pitch, roll, size=73))
    found = (pose.yaw, pose.pitch, pose.roll)
    assert np.allclose(found, (yaw, pitch, roll), atol=0.01)  # half a degree is promised
    assert math.isclose(pose.size, 73, rel_tol=1e-4)
    assert np.allclose(pose.place, (400, 300), atol=0.01)


def test_angles_go_right_up_and_clockwise() -> None:
    straight = mean_head(0, 0)
    right, up, tilted = mean_head(30, 0), mean_head(0, 30), mean_head(0, 0, 30)
    assert (right - straight)[2, 0] > (right - straight)[:2, 0].mean() > 0  # the nose leads
    assert (up - straight)[2, 1] < (up - straight)[:2, 1].mean() < 0
    assert tilted[0, 1] < tilted[1, 1]  # y goes down: the right eye sinks


def test_the_standard_face_is_the_mean_head_from_the_front_with_its_box() -> None:
    face = standard_face().faces[0]
    pose = estimate(face.kps)
    assert np.allclose([pose.yaw, pose.pitch, pose.roll], 0, atol=1e-4)
    assert np.allclose(face_of(face.kps).box, face.box, atol=0.01)


@pytest.mark.parametrize("name", PHOTOS)
def test_turning_by_nothing_changes_no_bit(name: str) -> None:
    face = photo(name)
    source = Keypoints(512, 512, ((face,), (face,)))
    assert turn(face, 0.0, 0.0) is face
    for changed in (
        transform(source, turning=Turning()),
        place(source, 640, 480, 0.5, 0.5, 0.4, Turning()),
    ):
        plain = (
            transform(source) if changed.width == 512 else place(source, 640, 480, 0.5, 0.5, 0.4)
        )
        for one, other in zip(changed.faces, plain.faces, strict=True):
            assert one.kps.tobytes() == other.kps.tobytes()
            assert one.box.tobytes() == other.box.tobytes()


@pytest.mark.parametrize("angles", TURNS, ids=str)
@pytest.mark.parametrize("name", PHOTOS)
def test_there_and_back_in_two_turns_is_the_same_face(name: str, angles: tuple[int, int]) -> None:
    """Each turn knows only the points: nothing is remembered between them."""
    face = photo(name)
    pose = estimate(face.kps)
    yaw, pitch = angles
    if abs(pose.yaw + yaw) > head.FURTHEST:
        yaw = -yaw  # it would look away
    there = turn(face, yaw, pitch)
    assert np.abs(there.kps - face.kps).max() > 4  # of faces 30 to 50 pixels between the eyes
    back = turn(there, -yaw, -pitch)
    assert np.abs(back.kps - face.kps).max() < 0.01  # half a pixel is promised
    assert np.abs(back.box - face.box).max() < 0.01


@pytest.mark.parametrize("name", PHOTOS)
def test_two_halves_of_a_turn_are_the_whole(name: str) -> None:
    face = photo(name)
    yaw = -30 if estimate(face.kps).yaw > 0 else 30
    halves = turn(turn(face, yaw / 2, 5), yaw / 2, 5)
    assert np.abs(halves.kps - turn(face, yaw, 10).kps).max() < 0.01


@pytest.mark.parametrize("name", PHOTOS)
def test_a_turned_face_is_of_the_same_size_and_place_and_looks_where_it_was_told(
    name: str,
) -> None:
    before = estimate(PHOTOS[name])
    yaw, pitch = (-20 if before.yaw > 0 else 20), 10
    after = estimate(turn(photo(name), yaw, pitch).kps)
    wanted = (before.yaw + yaw, before.pitch + pitch, before.roll, before.size, *before.place)
    found = (after.yaw, after.pitch, after.roll, after.size, *after.place)
    assert np.allclose(found, wanted, atol=0.01)


@pytest.mark.parametrize("where", Look)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_look_is_where_it_is_called(name: str, where: Look) -> None:
    before, after = estimate(PHOTOS[name]), estimate(look(PHOTOS[name], where))
    yaw, pitch = LOOKS[where]
    wanted = (yaw, pitch, before.roll, before.size, *before.place)
    found = (after.yaw, after.pitch, after.roll, after.size, *after.place)
    assert np.allclose(found, wanted, atol=1e-6)
    assert ("left" in where.value) is (yaw < 0) and ("right" in where.value) is (yaw > 0)


def test_what_does_not_fit_the_mean_head_stays_as_it_is() -> None:
    """A wide face is as much wider than the mean head before and after a turn."""
    wide = standard_face().faces[0].kps * np.float32([1.3, 1.0])
    for yaw in (0.0, 40.0):
        seen_now = seen(turn(face_of(wide), yaw, 0).kps)
        ratio = seen_now.stretch[0, 0] / seen_now.stretch[1, 1]
        assert math.isclose(ratio, 1.3, rel_tol=1e-4)


def test_a_turned_box_keeps_what_the_detector_found_larger_or_smaller() -> None:
    own = photo("smile")
    larger = FacePoints(own.kps, own.box + np.float32([-10, -20, 10, 20]))
    for found, model in zip(turn(larger, 35, 0).box, turn(own, 35, 0).box, strict=True):
        assert 5 < abs(float(found - model)) < 25
    widths = [float(box[2] - box[0]) for box in (larger.box, turn(larger, 80, 0).box)]
    assert widths[1] < widths[0]  # from the side a face is less wide


def test_a_head_turns_no_further_than_it_is_seen_and_says_so() -> None:
    for yaw, pitch, found in ((60, 0, "yaw 85 and pitch 10"), (0, -130, "yaw 60 and pitch -85"),
                              (60, 110, "yaw 85 and pitch 85")):  # fmt: skip
        with listening() as heard:
            turned = estimate(turn(face_of(mean_head(60, 10)), yaw, pitch).kps)
        assert f"yaw {turned.yaw:.0f} and pitch {turned.pitch:.0f}" == found
        (said,) = heard.problems
        assert f"would look away from the camera: it is turned to {found} degrees and no" in said
    with listening() as heard:
        turn(face_of(mean_head(60, 10)), 20, -90)
    assert heard.problems == []


def test_a_head_that_looks_further_already_is_not_turned_back() -> None:
    far = face_of(mean_head(88, 0))
    assert math.isclose(estimate(turn(far, 20, 0).kps).yaw, 88, abs_tol=0.2)
    assert math.isclose(estimate(turn(far, 0, 5).kps).yaw, 88, abs_tol=0.2)


@pytest.mark.parametrize("step", [(0, 0), (9, 9), (0, 9), (9, 0), (9, 0.001)], ids=str)
def test_points_that_show_no_head_still_turn(step: tuple[float, float]) -> None:
    points = [[7 + n * step[0], 5 + n * step[1]] for n in range(5)]
    pose = estimate(points)
    assert (pose.yaw, pose.pitch, pose.roll) == (0, 0, 0)
    turned = turn(face_of(points), 30, 10)
    assert np.isfinite(turned.kps).all() and np.isfinite(turned.box).all()
    assert np.abs(turned.kps - np.float32(points)).max() > 0.1


# Over frames.


def test_a_single_frame_becomes_a_head_that_turns_evenly_from_first_to_last() -> None:
    source = standard_face(640, 480)
    turned = turn_all(source, Turning(-40, 5, 80, -10, frames=5))
    poses = [estimate(face.kps) for face in turned.faces]
    assert np.allclose([pose.yaw for pose in poses], [-40, -20, 0, 20, 40], atol=0.01)
    assert np.allclose([pose.pitch for pose in poses], [5, 2.5, 0, -2.5, -5], atol=0.01)
    assert (turned.width, turned.height, len(turned.frames)) == (640, 480, 5)


def test_frames_that_come_in_keep_their_number_and_their_empty_places() -> None:
    face = photo("smile")
    source = Keypoints(512, 512, ((face,), (), (face, photo("tilted"))))
    with listening() as heard:
        turned = turn_all(source, Turning(yaw_change=30, frames=9))
    assert [len(frame) for frame in turned.frames] == [1, 0, 2]
    assert turned.frames[0][0] is face
    change = estimate(turned.frames[2][0].kps).yaw - estimate(face.kps).yaw
    assert math.isclose(change, 30, abs_tol=0.01)
    assert heard.problems == ["3 frames came in and stay as many; `frames` is for a single one."]


def test_a_mirrored_head_turns_to_the_right_of_the_picture_as_any_other() -> None:
    face = face_of(mean_head(20, 0))
    made = transform(Keypoints(800, 600, ((face,),)), mirror=True, turning=Turning(yaw=35))
    assert math.isclose(estimate(made.faces[0].kps).yaw, 15, abs_tol=0.01)


def test_a_placed_head_is_turned_and_then_put_where_it_was_told() -> None:
    placed = place(standard_face(), 640, 480, 0.3, 0.6, 0.5, Turning(yaw=50))
    (face,) = placed.faces
    assert math.isclose(estimate(face.kps).yaw, 50, abs_tol=0.01)
    assert np.allclose((face.box[:2] + face.box[2:]) / 2, [192, 288], atol=0.01)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: Turning(yaw=math.nan), "yaw is nan. Wanted: an ordinary number"),
        (lambda: Turning(pitch_change=math.inf), "pitch_change is inf. Wanted"),
        (lambda: Turning(frames=0), "0 frames cannot be made of one: wanted 1 to 4096."),
        (lambda: Turning(frames=10**5), "100000 frames cannot be made of one"),
    ],
)
def test_impossible_turns_are_refused(wrong: Callable[[], Any], text: str) -> None:
    with pytest.raises(WrongInputError) as caught:
        wrong()
    assert str(caught.value).startswith(text)


def test_the_editors_cases_are_what_the_core_gives() -> None:
    """The browser holds the editor's JavaScript to the same file."""

    class Core:
        pass

    core = Core()
    core.head, core.fitting, core.keypoints = head, fitting, keypoints
    kept = json.loads(edit_cases.CASES.read_text(encoding="utf-8"))
    found = edit_cases.cases(core)
    assert {kind: len(ones) for kind, ones in kept.items()} == edit_cases.COUNTS
    assert sum(edit_cases.COUNTS.values()) == 200
    for kind, ones in found.items():
        for one, other in zip(ones, kept[kind], strict=True):
            assert one.keys() == other.keys()
            for name in one:
                if isinstance(one[name], str):
                    assert one[name] == other[name]
                else:
                    assert np.allclose(flat(one[name]), flat(other[name]), atol=1e-3), kind


def flat(values: Any) -> list[float]:
    return [x for one in values for x in flat(one)] if isinstance(values, list) else [values]


def test_a_head_is_what_its_parts_say() -> None:
    made = SeenHead(20.0, -10.0, 5.0, np.eye(2) * 50, np.array([100.0, 200.0]), NOTHING)
    assert np.allclose(made.points, mean_head(20, -10, 5, 50) - [300, 100], atol=1e-3)
