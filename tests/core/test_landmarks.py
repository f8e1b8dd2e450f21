"""The 106 landmarks: drawn as the retraining for SD1.5 draws them, and moved with their face."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core.affine import about, nearest_similarity
from faithful_instantid.instantid_core.crops import CropSettings, on_crop, plan_crops
from faithful_instantid.instantid_core.editing import edited, source_of, written
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.faces.frames import fill_frames
from faithful_instantid.instantid_core.faces.steady import (
    SMOOTHINGS,
    SOME_WITHOUT_LANDMARKS,
    Steadying,
    steady,
)
from faithful_instantid.instantid_core.fitting import Fit, fit, place, standard_face, transform
from faithful_instantid.instantid_core.head import LANDMARKS_NOT_TURNED, Turning, turn_all
from faithful_instantid.instantid_core.keypoints import (
    DRAWINGS,
    SD15_DRAWING,
    SDXL_DRAWING,
    FacePoints,
    Keypoints,
    draw_frames,
    draw_keypoints,
    drawing_scale,
    only_frames,
)
from faithful_instantid.instantid_core.landmarks import (
    MIRRORED,
    PARTS,
    checked_landmarks,
    draw_landmarks,
    landmark_radius,
)
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.instantid_core.people import choose_faces
from faithful_instantid.instantid_core.unet_layout import FAMILIES

WIDTH, HEIGHT = 640, 480


def marked(face: FacePoints, seed: int = 0) -> FacePoints:
    """The face with landmarks, of which the first five are its own points."""
    random = np.random.default_rng(seed)
    low, high = face.box[:2], face.box[2:]
    others = (low + random.random((101, 2)) * (high - low)).astype(np.float32)
    return replace(face, landmarks=np.concatenate([face.kps, others]))


def one_face(x: float = 0.4, size: float = 0.5, seed: int = 0) -> Keypoints:
    found = place(standard_face(), WIDTH, HEIGHT, x, 0.5, size)
    return replace(found, frames=((marked(found.faces[0], seed),),))


# The picture.


def as_the_retraining_draws(
    faces: list[tuple[np.ndarray, np.ndarray]], width: int, height: int
) -> np.ndarray:
    """A second implementation, for pictures of 512 to 768 pixels; smaller faces first."""
    colours = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
    picture = np.zeros((height, width, 3), np.uint8)
    for kps, _ in faces:
        for point in (0, 1, 3, 4):
            (x0, y0), (x1, y1) = kps[point], kps[2]
            middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
            axes = int(math.hypot(x0 - x1, y0 - y1) / 2), 4
            angle = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
            outline = cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1)
            cv2.fillConvexPoly(picture, outline, [int(c * 0.6) for c in colours[point]])
        for (x, y), colour in zip(kps, colours, strict=True):
            cv2.circle(picture, (int(x), int(y)), 10, colour, -1)
    picture = (picture.astype(np.float64) * 0.6).astype(np.uint8)
    for _, landmarks in faces:
        for number, (x, y) in enumerate(landmarks):
            if number <= 32:
                colour = (0, 255, 255)
            elif number <= 51:
                colour = (255, 0, 0)
            elif number <= 71:
                colour = (255, 255, 0)
            elif number <= 86:
                colour = (0, 0, 255)
            else:
                colour = (0, 255, 0)
            cv2.circle(picture, (int(x), int(y)), 3, colour, -1)
    return picture


@pytest.mark.parametrize("size", [(512, 512), (512, 768), (640, 480), (768, 512)], ids=str)
def test_every_pixel_is_the_retrainings(size: tuple[int, int]) -> None:
    whole = fit(one_face(), *size)
    face = whole.faces[0]
    wanted = as_the_retraining_draws([(face.kps, face.landmarks)], *size)
    assert np.array_equal(draw_frames(whole, SD15_DRAWING)[0], wanted)
    assert set(np.unique(wanted)) == {0, 91, 153, 255}  # sticks 0.36, dots 0.6, landmarks 1


def test_of_several_faces_the_larger_is_in_front_and_landmarks_are_over_all_points() -> None:
    small, large = one_face(0.3, 0.3, 1).faces[0], one_face(0.5, 0.7, 2).faces[0]
    wanted = as_the_retraining_draws(
        [(small.kps, small.landmarks), (large.kps, large.landmarks)], WIDTH, HEIGHT
    )
    for order in ((small, large), (large, small)):
        drawn = draw_frames(Keypoints(WIDTH, HEIGHT, (order,)), SD15_DRAWING)[0]
        assert np.array_equal(drawn, wanted)


def test_without_landmarks_the_five_points_are_drawn_dimmed() -> None:
    face = one_face().faces[0]
    bare = Keypoints(WIDTH, HEIGHT, ((replace(face, landmarks=None),), ()))
    drawn = draw_frames(bare, SD15_DRAWING)
    assert np.array_equal(drawn[0], as_the_retraining_draws([(face.kps, np.empty(0))], 640, 480))
    assert not drawn[1].any()
    beside = Keypoints(WIDTH, HEIGHT, ((face, replace(face, landmarks=None)),))
    both = draw_frames(beside, SD15_DRAWING)[0]
    assert np.array_equal(both, draw_frames(one_face(), SD15_DRAWING)[0])


@pytest.mark.parametrize("side", [512, 1024, 1500])
def test_sdxls_drawing_knows_nothing_of_landmarks(side: int) -> None:
    given = fit(one_face(), side, side)
    bare = replace(given, frames=((replace(given.faces[0], landmarks=None),),))
    assert np.array_equal(draw_frames(given), draw_frames(bare))
    assert np.array_equal(draw_frames(given)[0], draw_keypoints(given.faces[0].kps, side, side))


@pytest.mark.parametrize(
    ("size", "scale", "radius"),
    [
        ((512, 512), 1.0, 3),
        ((768, 320), 1.0, 3),
        ((640, 768), 1.0, 3),
        ((256, 128), 0.5, 2),
        ((64, 64), 0.125, 1),
        ((1024, 1024), 4 / 3, 4),
        ((1536, 700), 2.0, 6),
    ],
)
def test_dots_follow_the_long_side_outside_of_512_to_768(
    size: tuple[int, int], scale: float, radius: int
) -> None:
    assert drawing_scale(*size, SD15_DRAWING) == pytest.approx(scale)
    assert landmark_radius(drawing_scale(*size, SD15_DRAWING)) == radius
    canvas = np.zeros((65, 65, 3), np.uint8)
    draw_landmarks(canvas, np.full((106, 2), 32.9, np.float32), scale)
    rows = np.flatnonzero(canvas.any(axis=(1, 2)))
    assert (rows[0], rows[-1]) == (32 - radius, 32 + radius)


def test_every_family_has_a_drawing_of_its_own() -> None:
    assert {name: DRAWINGS[name] for name in (one.name for one in FAMILIES)} == {
        "SDXL": SDXL_DRAWING,
        "SD1.5": SD15_DRAWING,
    }


@pytest.mark.parametrize(
    ("landmarks", "found"),
    [
        (np.zeros((68, 2)), "of the size 68 x 2"),
        (np.zeros((2, 106, 2)), "of the size 2 x 106 x 2"),
        (np.full((106, 2), np.nan), "not finite"),
        ("many", "a text"),
    ],
)
def test_what_is_no_set_of_landmarks_is_refused(landmarks: Any, found: str) -> None:
    with pytest.raises(WrongInputError, match=rf"{found}.*; wanted 106 times x and y"):
        checked_landmarks(landmarks)


# What moves a face moves its landmarks.

MOVES: dict[str, Callable[[Keypoints], Keypoints]] = {
    "cropped onto a tall canvas": lambda k: fit(k, 320, 512, Fit.CROP),
    "padded onto a tall canvas": lambda k: fit(k, 320, 512, Fit.PAD),
    "placed": lambda k: place(k, 700, 500, 0.3, 0.6, 0.4),
    "moved": lambda k: transform(k, move_x=0.1, move_y=-0.2),
    "scaled": lambda k: transform(k, scale=1.7),
    "rotated": lambda k: transform(k, rotate=33),
    "on a crop": lambda k: on_crop(k, plan_crops(k, BLANK, "largest", 0, CropSettings())),
    "cropped": lambda k: plan_crops(transform(k, rotate=9), BLANK, "largest", 0, SMALL).keypoints,
    "chosen": lambda k: choose_faces(only_frames(k, [0, 0]), "largest", 0, 0),
    "turned by nothing": lambda k: turn_all(k, Turning(frames=3)),
}
BLANK = torch.zeros(1, HEIGHT, WIDTH, 3)
SMALL = CropSettings(long_side=320, aspect=0.75)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_landmarks_go_where_the_points_go(move: Callable[[Keypoints], Keypoints]) -> None:
    given = one_face()
    for face in move(given).faces:
        assert face.landmarks is not None and face.landmarks.dtype == np.float32
        assert np.allclose(face.landmarks[:5], face.kps, atol=1e-2)
        shape = nearest_similarity(given.faces[0].kps, face.kps)
        assert np.allclose(face.landmarks, shape.points(given.faces[0].landmarks), atol=5e-2)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_face_without_landmarks_gets_none(move: Callable[[Keypoints], Keypoints]) -> None:
    face = one_face().faces[0]
    given = Keypoints(WIDTH, HEIGHT, ((replace(face, landmarks=None),),))
    with_some = move(one_face())
    for bare, other in zip(move(given).faces, with_some.faces, strict=True):
        assert bare.landmarks is None
        assert np.array_equal(bare.kps, other.kps) and np.array_equal(bare.box, other.box)


def test_landmarks_far_off_every_picture_are_refused() -> None:
    face = one_face().faces[0]
    far = replace(face, landmarks=np.full((106, 2), 9e5, np.float32))
    with pytest.raises(WrongInputError, match="more than 1,000,000 pixels off"):
        fit(Keypoints(WIDTH, HEIGHT, ((far,),)), 4 * WIDTH, 4 * HEIGHT)


# The parts of the layout as lines that a mirror turns round: from left to right, or from the left
# one's outer corner round the eye and from the right one's outer corner round it the other way.
CONTOUR = [1, *range(9, 17), *range(2, 9), 0, *range(24, 17, -1), *range(32, 24, -1), 17]
MIRRORING_LINES = {
    "contour": (CONTOUR, CONTOUR[::-1]),
    "eyes": ([35, 36, 33, 37, 39, 42, 40, 41], [93, 91, 87, 90, 89, 95, 94, 96]),
    "pupils": ([34, 38], [88, 92]),
    "brows above": ([43, 48, 49, 51, 50], [101, 105, 104, 103, 102]),
    "brows below": ([44, 45, 47, 46], [100, 99, 98, 97]),
    "bridge of the nose": ([72, 73, 74, 86], [72, 73, 74, 86]),
    "nose": ([75, 76, 77, 78, 79, 80], [81, 82, 83, 84, 85, 80]),
    "outer lips above": ([52, 64, 63, 71, 67, 68, 61], [61, 68, 67, 71, 63, 64, 52]),
    "outer lips below": ([55, 56, 53, 59, 58], [58, 59, 53, 56, 55]),
    "inner lips above": ([65, 66, 62, 70, 69], [69, 70, 62, 66, 65]),
    "inner lips below": ([54, 60, 57], [57, 60, 54]),
}  # fmt: skip


def test_a_mirror_brings_each_landmark_to_its_counterpart() -> None:
    seen = []
    for line, other in MIRRORING_LINES.values():
        assert list(MIRRORED[line]) == other and list(MIRRORED[other]) == line
        seen += {*line, *other}
    assert sorted(seen) == list(range(106))


def test_a_mirrored_face_keeps_the_colours_of_left_and_right() -> None:
    part = np.searchsorted([end for end, _ in PARTS], np.arange(106), side="right")
    swapped = {0: 0, 1: 4, 2: 2, 3: 3, 4: 1}  # only the eyes and brows change sides
    assert [swapped[p] for p in part] == list(part[MIRRORED])
    given = one_face()
    mirrored = transform(given, mirror=True).faces[0].landmarks
    assert mirrored is not None
    before = given.faces[0].landmarks
    assert np.array_equal(mirrored[40], [WIDTH - 1 - before[94, 0], before[94, 1]])
    back = transform(transform(given, mirror=True), mirror=True).faces[0].landmarks
    assert np.allclose(back, before, atol=1e-3)


def test_a_face_that_is_mirrored_and_turned_round_has_its_left_eye_at_the_left() -> None:
    face = one_face().faces[0]
    marks = np.tile(face.kps.mean(axis=0), (106, 1)).astype(np.float32)
    marks[33:52], marks[87:106] = face.kps[0], face.kps[1]
    given = Keypoints(WIDTH, HEIGHT, ((replace(face, landmarks=marks),),))
    mirrored = transform(given, mirror=True).faces[0]
    assert np.allclose(mirrored.landmarks[33:52], mirrored.kps[0], atol=1e-3)
    assert np.allclose(mirrored.landmarks[87:106], mirrored.kps[1], atol=1e-3)


# What does not.


@pytest.mark.parametrize("turning", [Turning(yaw=20), Turning(pitch_change=10, frames=3)])
def test_a_turned_head_has_no_landmarks_and_it_is_said(turning: Turning) -> None:
    for change in (
        lambda k: transform(k, turning=turning),
        lambda k: place(k, 500, 400, 0.5, 0.5, 0.4, turning),
    ):
        with listening() as heard:
            made = change(one_face())
        assert heard.problems == [LANDMARKS_NOT_TURNED]
        assert made.faces[-1].landmarks is None
        with listening() as heard:
            change(standard_face())
        assert heard.problems == []
    still = turn_all(one_face(), Turning(pitch_change=10, frames=3)).faces[0]
    assert still.landmarks is not None  # the first frame is not turned yet


def test_what_is_between_two_frames_has_landmarks_between() -> None:
    first, last = one_face(0.3).faces[0], one_face(0.6).faces[0]
    filled = fill_frames([(first,), (), (last,)], ["", "none", ""], "interpolate")
    assert np.allclose(filled[1][0].landmarks[:5], filled[1][0].kps, atol=1e-3)
    bare = replace(last, landmarks=None)
    assert fill_frames([(first,), (), (bare,)], ["", "", ""], "interpolate")[1][0].landmarks is None
    held = fill_frames([(first,), ()], ["", ""], "hold")
    assert np.array_equal(held[1][0].landmarks, first.landmarks)


def shaken(count: int) -> list[FacePoints]:
    """A face at rest whose points and landmarks shiver, each in the same way."""
    random = np.random.default_rng(3)
    face = one_face().faces[0]
    made = []
    for _ in range(count):
        off = random.normal(0, 2, (106, 2)).astype(np.float32)
        made.append(replace(face, kps=face.kps + off[:5], landmarks=face.landmarks + off))
    return made


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_landmarks_are_smoothed_as_the_points_are(smoothing: str) -> None:
    faces = shaken(24)
    frames = tuple((face,) if n not in (9, 10) else () for n, face in enumerate(faces))
    bare = tuple(tuple(replace(face, landmarks=None) for face in frame) for frame in frames)
    made = steady(Keypoints(WIDTH, HEIGHT, frames), Steadying(smoothing))
    other = steady(Keypoints(WIDTH, HEIGHT, bare), Steadying(smoothing))
    for (face,), (without,) in zip(made.frames, other.frames, strict=True):
        assert np.allclose(face.landmarks[:5], face.kps, atol=1e-3)
        assert without.landmarks is None
        assert np.allclose(face.kps, without.kps, atol=1e-3)
        assert np.allclose(face.box, without.box, atol=1e-3)
    last = np.stack([f.landmarks for (f,) in made.frames])
    before = np.stack([face.landmarks for face in faces])
    left = float(last.std(axis=0).mean() / before.std(axis=0).mean())
    assert left < 0.4 if smoothing != "none" else left > 0.9


def test_frames_in_a_row_of_which_some_have_landmarks_keep_none_and_it_is_said() -> None:
    faces = shaken(8)
    faces[3] = replace(faces[3], landmarks=None)
    with listening() as heard:
        made = steady(Keypoints(WIDTH, HEIGHT, tuple((face,) for face in faces)), Steadying())
    assert all(face.landmarks is None for face in made.faces)
    assert heard.problems == [SOME_WITHOUT_LANDMARKS]


# The editor.


def edit_of(face: FacePoints, incoming: Keypoints) -> str:
    return written([face], WIDTH, HEIGHT, source_of(incoming))


def test_landmarks_go_with_a_face_that_was_dragged_turned_and_scaled_in_the_editor() -> None:
    incoming = one_face()
    moved = transform(incoming, move_x=0.1, scale=0.6, rotate=40).faces[0]
    with listening() as heard:
        made = edited(edit_of(moved, incoming), 320, 240, incoming)
    assert heard.problems == []
    assert np.allclose(made.faces[0].landmarks, moved.landmarks / 2, atol=0.05)
    nothing = edited("", WIDTH, HEIGHT, incoming)
    assert nothing is incoming


def test_of_several_edited_faces_each_has_its_own_landmarks() -> None:
    left, right = one_face(0.25, 0.4, 1).faces[0], one_face(0.7, 0.4, 2).faces[0]
    own_shape = np.array([[0, 0], [0, 9], [5, 0], [0, 0], [0, 0]], np.float32)
    right = marked(replace(right, kps=right.kps + own_shape), 2)
    incoming = Keypoints(WIDTH, HEIGHT, ((left, right),))
    only_right = edited(edit_of(right, incoming), WIDTH, HEIGHT, incoming)
    assert np.allclose(only_right.faces[0].landmarks, right.landmarks, atol=0.1)


def test_a_face_whose_points_were_moved_one_by_one_has_none_and_it_is_said() -> None:
    incoming = one_face()
    face = incoming.faces[0]
    dragged = np.array([[0, 0], [0, 0], [25, 0], [0, 0], [0, 0]], np.float32)
    bent = replace(face, kps=face.kps + dragged)
    texts = {
        "bent": edit_of(bent, incoming),
        "from other keypoints": written([face], WIDTH, HEIGHT, "00000000"),
    }
    for text in texts.values():
        with listening() as heard:
            made = edited(text, WIDTH, HEIGHT, incoming)
        assert made.faces[0].landmarks is None
        assert any("Of the edit's face 0 no landmarks are known" in one for one in heard.problems)
    bare = Keypoints(WIDTH, HEIGHT, ((replace(face, landmarks=None),),))
    with listening() as heard:
        edited(edit_of(bent, bare), WIDTH, HEIGHT, bare)
    assert heard.problems == []


def test_the_nearest_similarity_is_the_one_that_was_made() -> None:
    points = one_face().faces[0].kps
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    made = about(points.mean(axis=0), [100, 50], 1.5, turn)
    assert np.allclose(nearest_similarity(points, made.points(points)).matrix, made.matrix)
    moved = nearest_similarity(np.ones((5, 2)), np.full((5, 2), 3.0))
    assert np.allclose(moved.points([[1, 1], [5, 2]]), [[3, 3], [7, 4]])
