"""Drawn keypoints are the official picture, at every size."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from faithful_instantid.instantid_core import keypoints as keypoints_module
from faithful_instantid.instantid_core.errors import MissingDependencyError, WrongInputError
from faithful_instantid.instantid_core.keypoints import (
    FacePoints,
    Keypoints,
    draw_frames,
    draw_keypoints,
    drawing_scale,
)

from ..conftest import ROOT

GOLDEN = np.load(ROOT / "tests" / "golden" / "keypoints.npz")
CASES = sorted({name.split(".")[0] for name in GOLDEN})
FACE = GOLDEN["frontal_1024.kps"]


@pytest.mark.parametrize("case", CASES)
def test_every_pixel_is_the_official_drawings(case: str) -> None:
    width, height = (int(side) for side in GOLDEN[f"{case}.size_wh"])
    drawn = draw_keypoints(GOLDEN[f"{case}.kps"], width, height)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, GOLDEN[f"{case}.image"])


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [
        (1024, 1024, 1.0),
        (832, 1216, 1.0),
        (1280, 720, 1.0),
        (512, 512, 0.5),
        (256, 512, 0.5),
        (2048, 2048, 1.6),
        (2560, 1440, 2.0),
    ],
)
def test_dots_and_sticks_follow_the_long_side_outside_of_1024_to_1280(
    width: int, height: int, scale: float
) -> None:
    assert drawing_scale(width, height) == scale


@pytest.mark.parametrize(("official", "other"), [(1024, 512), (1280, 2560), (1280, 3840)])
def test_a_smaller_or_larger_canvas_shows_the_same_picture_scaled(
    official: int, other: int
) -> None:
    face = FACE * (official / 1024)
    wanted = draw_keypoints(face, official, official)
    found = draw_keypoints(face * (other / official), other, other)
    small, large = sorted((wanted, found), key=len)
    step = len(large) // len(small)
    averaged = large.reshape(len(small), step, len(small), step, 3).mean(axis=(1, 3))
    differing = np.abs(averaged - small).max(axis=2) > 128
    # Whole pixels: only the rims of dots and sticks may differ, by about half a small pixel.
    assert differing.sum() < 0.08 * small.any(axis=2).sum()


def test_a_far_face_has_full_size_dots_as_officially() -> None:
    drawn = draw_keypoints(GOLDEN["small_1016.kps"], 1016, 1016)
    rows = np.flatnonzero(drawn.any(axis=(1, 2)))
    assert rows[-1] - rows[0] + 1 == 14 + 2 * 10 + 1  # from the eyes' to the mouth's dots


def test_of_two_faces_the_larger_is_in_front_in_either_order() -> None:
    large, small = FACE, (FACE - FACE.mean(axis=0)) * 0.5 + FACE.mean(axis=0)
    both = draw_keypoints(np.stack([large, small]), 1024, 1024)
    assert np.array_equal(both, draw_keypoints(np.stack([small, large]), 1024, 1024))
    alone = draw_keypoints(large, 1024, 1024)
    drawn = alone.any(axis=2)
    assert np.array_equal(both[drawn], alone[drawn])
    assert both[~drawn].any()


def test_a_frame_without_a_face_is_black() -> None:
    face = FacePoints(FACE, np.array([0, 0, 1, 1], np.float32))
    frames = draw_frames(Keypoints(1024, 1024, ((face,), (), (face,))))
    assert frames.shape == (3, 1024, 1024, 3)
    assert [bool(frame.any()) for frame in frames] == [True, False, True]


def test_points_off_the_canvas_are_cut_off() -> None:
    assert not draw_keypoints(FACE + 4000, 1024, 1024).any()


@pytest.mark.parametrize("shape", [(5, 3), (4, 2), (10,), (1, 1, 5, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongInputError, match=r"five points of x and y per face are wanted"):
        draw_keypoints(np.zeros(shape), 64, 64)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(WrongInputError, match="not finite"):
        draw_keypoints(np.full((5, 2), np.nan), 64, 64)


def test_without_opencv_the_install_command_of_this_python_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError) as caught:
        keypoints_module.draw_keypoints(FACE, 64, 64)
    assert f'"{sys.executable}" -m pip install opencv-python-headless' in str(caught.value)
