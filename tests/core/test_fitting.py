"""Keypoints get onto other canvases without being stretched or cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import (
    SMALL_FACE,
    Fit,
    fit,
    official_canvas,
    place,
    standard_face,
    transform,
    warn_of_small_faces,
)
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints, draw_frames
from faithful_instantid.instantid_core.regions import FaceRegion

# width, height and face box of photos of very different size and aspect.
PHOTOS = {
    "group, face at the left": (3000, 2000, (120, 500, 620, 1150)),
    "old portrait": (480, 640, (150, 120, 330, 360)),
    "close-up, wide": (1920, 1080, (500, 40, 1400, 1060)),
    "phone, face at the bottom": (1080, 2400, (300, 1900, 620, 2330)),
    "panorama, small face": (6000, 1500, (5700, 600, 5800, 740)),
}
CANVASES = [(1016, 1016), (832, 1216), (2048, 2048), (512, 512), (1536, 640)]


def photo(name: str) -> Keypoints:
    """The keypoints of a frontal face in its box."""
    width, height, box = PHOTOS[name]
    return face_in(width, height, box)


def face_in(width: int, height: int, box: tuple[float, ...]) -> Keypoints:
    left, top, right, bottom = box
    inside = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.33, 0.78], [0.67, 0.78]], np.float32)
    kps = inside * np.float32([right - left, bottom - top]) + np.float32([left, top])
    return Keypoints(width, height, ((FacePoints(kps, np.array(box, np.float32)),),))


def points(keypoints: Keypoints) -> Any:
    return keypoints.faces[0].kps


def shape_of(kps: Any) -> Any:
    """A face's proportions, whatever its size and place."""
    centred = kps - kps.mean(axis=0)
    return centred / np.linalg.norm(centred)


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("mode", Fit)
def test_the_face_is_whole_and_not_stretched(name: str, canvas: tuple[int, int], mode: Fit) -> None:
    fitted = fit(photo(name), *canvas, mode)
    assert (fitted.width, fitted.height) == canvas
    left, top, right, bottom = fitted.faces[0].box
    assert left >= -0.01
    assert top >= -0.01
    assert right <= canvas[0] + 0.01
    assert bottom <= canvas[1] + 0.01
    assert np.allclose(shape_of(points(fitted)), shape_of(points(photo(name))), atol=1e-4)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("mode", Fit)
def test_a_canvas_of_the_photos_own_size_changes_nothing(name: str, mode: Fit) -> None:
    source = photo(name)
    fitted = fit(source, source.width, source.height, mode)
    assert np.array_equal(points(fitted), points(source))


@pytest.mark.parametrize("box", [(-40, 300, 200, 700), (800, -90, 1100, 1090)])
def test_a_face_that_the_photo_cuts_is_not_moved_on_the_same_canvas(
    box: tuple[float, ...],
) -> None:
    source = face_in(1024, 1024, box)
    assert np.array_equal(points(fit(source, 1024, 1024)), points(source))


def test_crop_fills_the_canvas_from_the_middle_where_the_face_allows_it() -> None:
    source = face_in(2000, 1000, (900, 300, 1100, 600))
    found = points(fit(source, 1000, 1000, Fit.CROP))
    assert np.allclose(found, points(source) - [500, 0])


def test_crop_moves_no_further_than_the_face_needs() -> None:
    source = face_in(2000, 1000, (100, 300, 300, 600))
    found = fit(source, 1000, 1000, Fit.CROP).faces[0].box
    assert np.allclose(found, [0, 300, 200, 600])


def test_crop_makes_a_face_smaller_only_if_it_has_no_room() -> None:
    source = face_in(1920, 1080, (400, 0, 1500, 1080))  # 1100 wide, would be 1238 of 832
    found = fit(source, 832, 1216, Fit.CROP).faces[0].box
    assert np.allclose(found[[0, 2]], [0, 832], atol=0.01)


def test_pad_shows_the_whole_photo_in_the_middle() -> None:
    source = face_in(2000, 1000, (100, 300, 300, 600))
    found = points(fit(source, 1000, 1000, Fit.PAD))
    assert np.allclose(found, points(source) / 2 + [0, 250])


def test_all_faces_of_all_frames_share_one_cut() -> None:
    left, right = face_in(2000, 500, (0, 0, 100, 100)), face_in(2000, 500, (1900, 0, 2000, 100))
    video = Keypoints(2000, 500, (left.frames[0], (), right.frames[0]))
    fitted = fit(video, 500, 500)
    assert [len(frame) for frame in fitted.frames] == [1, 0, 1]
    assert np.allclose(fitted.faces[0].box[[0, 2]], [0, 25], atol=0.01)
    assert np.allclose(fitted.faces[1].box[[0, 2]], [475, 500], atol=0.01)


@pytest.mark.parametrize(
    ("photo_size", "canvas"),
    [
        ((3000, 2000), (1280, 832)),
        ((4032, 3024), (1280, 960)),
        ((1080, 1920), (704, 1280)),
        ((512, 512), (1280, 1280)),
        ((8000, 100), (1280, 64)),
    ],
)
def test_the_official_canvas_has_a_long_side_of_1280_on_a_grid_of_64(
    photo_size: tuple[int, int], canvas: tuple[int, int]
) -> None:
    assert official_canvas(*photo_size) == canvas


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
def test_a_placed_face_is_where_and_as_large_as_it_was_told(canvas: tuple[int, int]) -> None:
    width, height = canvas
    placed = place(photo("old portrait"), width, height, x=0.25, y=0.5, size=0.3)
    left, top, right, bottom = placed.faces[0].box
    assert np.allclose([(left + right) / 2, (top + bottom) / 2], [width / 4, height / 2], atol=0.01)
    assert np.isclose(bottom - top, 0.3 * height, atol=0.01)
    assert np.array_equal(points(fit(placed, width, height)), points(placed))


def test_the_standard_face_is_upright_symmetric_and_whole_on_every_canvas() -> None:
    for width, height in CANVASES:
        face = standard_face(width, height).faces[0]
        left_eye, right_eye, nose, left_mouth, right_mouth = face.kps
        assert left_eye[1] == right_eye[1] < nose[1] < left_mouth[1] == right_mouth[1]
        assert np.isclose((left_eye + right_eye)[0] / 2, nose[0], atol=0.01)
        assert np.isclose(nose[0], width / 2, atol=0.01)
        assert (face.box[:2] >= 0).all()
        assert (face.box[2:] <= [width, height]).all()


def test_a_mirrored_drawing_is_the_drawing_mirrored_with_the_eyes_exchanged() -> None:
    source = face_in(1024, 1024, (100, 200, 400, 600))
    whole = np.round(points(source))
    source = Keypoints(1024, 1024, ((FacePoints(whole, source.faces[0].box),),))
    mirrored = points(transform(source, mirror=True))
    assert mirrored[0][0] < mirrored[1][0]  # the left eye is still the one seen at the left
    assert np.array_equal(mirrored[:, 0], 1023 - whole[[1, 0, 2, 4, 3], 0])
    dots = draw_frames(transform(source, mirror=True))[0].any(axis=2)
    assert (dots[:, ::-1] != draw_frames(source)[0].any(axis=2)).mean() < 1e-3


def test_moved_scaled_and_rotated_faces_do_so_about_their_own_middle() -> None:
    source = face_in(1000, 500, (400, 100, 600, 300))
    moved = transform(source, move_x=0.1, move_y=-0.2)
    assert np.allclose(points(moved), points(source) + [100, -100])
    doubled = transform(source, scale=2)
    assert np.allclose(points(doubled), (points(source) - [500, 200]) * 2 + [500, 200])
    assert np.allclose(doubled.faces[0].box, [300, 0, 700, 400])
    turned = points(transform(source, rotate=90)) - [500, 200]
    x, y = (points(source) - [500, 200]).T
    assert np.allclose(turned, np.stack([-y, x], axis=1), atol=1e-3)  # clockwise, y goes down


def test_a_turned_box_is_that_of_a_round_face() -> None:
    turned = transform(face_in(1000, 1000, (400, 300, 600, 700)), rotate=90).faces[0].box
    assert np.allclose(turned, [300, 400, 700, 600], atol=0.01)
    tilted = transform(face_in(1000, 1000, (400, 400, 600, 600)), rotate=45).faces[0].box
    assert np.allclose(tilted, [400, 400, 600, 600], atol=0.01)


def test_nothing_to_transform_changes_nothing() -> None:
    source = photo("old portrait")
    assert np.allclose(points(transform(source)), points(source))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: place(standard_face(), 64, 64, 0.5, 0.5, 0), "size 0 cannot be placed"),
        (lambda: place(standard_face(), 64, 0, 0.5, 0.5, 1), "canvas of 64 x 0 pixels"),
        (lambda: place(Keypoints(9, 9, ((),)), 64, 64, 0.5, 0.5, 1), "hold no face"),
        (lambda: transform(standard_face(), scale=0), "cannot be scaled by 0"),
        (lambda: fit(standard_face(), 0, 64), "canvas of 0 x 64 pixels"),
    ],
)
def test_impossible_wishes_are_refused(wrong: Callable[[], Any], text: str) -> None:
    with pytest.raises(WrongInputError, match=text):
        wrong()


@pytest.mark.parametrize(("size", "warned"), [(SMALL_FACE - 2, True), (SMALL_FACE, False)])
def test_small_faces_are_told_with_numbers(
    size: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    large = face_in(1024, 1024, (300, 300, 700, 700)).frames[0]
    small = face_in(1024, 1024, (0, 0, size - 20, size)).frames[0]
    warn_of_small_faces(Keypoints(1024, 1024, (large, small)))
    assert (f"only {size} pixels large on the 1024 x 1024 picture" in caplog.text) is warned


def test_the_region_is_the_fitted_box_filled() -> None:
    source = face_in(2000, 1000, (100.7, 300.2, 300.9, 600.5))
    mask = FaceRegion(source).render(1000, 1000)
    left, top, right, bottom = (int(side) for side in fit(source, 1000, 1000).faces[0].box)
    assert mask.shape == (1, 1000, 1000)
    assert mask.sum() == (right - left) * (bottom - top) == mask[0, top:bottom, left:right].sum()


def test_a_region_beyond_the_picture_is_cut_and_a_frame_without_a_face_is_empty() -> None:
    cut = face_in(100, 100, (-30, -20, 40, 50)).frames[0]
    outside = face_in(100, 100, (-30, -20, -10, 50)).frames[0]
    masks = FaceRegion(Keypoints(100, 100, (cut, (), outside))).render(100, 100)
    assert [int(mask.sum()) for mask in masks] == [40 * 50, 0, 0]
    assert masks[0, :50, :40].all()
