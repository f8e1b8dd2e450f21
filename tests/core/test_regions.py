"""Face regions: the official box to the pixel, and a head's ellipse that tilts with the face."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face, transform
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints
from faithful_instantid.instantid_core.masks import checked
from faithful_instantid.instantid_core.regions import (
    FaceRegion,
    Outline,
    Shape,
    draw_regions,
    head_ellipse,
)
from faithful_instantid.instantid_core.weighting import WeightCurve

CLOSING = WeightCurve(((0.0, 3.0), (1.0, 0.0)))


def box_at(*box: float) -> Keypoints:
    kps = standard_face(512, 512).faces[0].kps
    return Keypoints(512, 512, ((FacePoints(kps, np.array(box, np.float32)),),))


def test_the_box_is_the_official_mask_to_the_pixel() -> None:
    wanted = torch.zeros(1, 512, 512)
    wanted[:, 50:333, 100:300] = 1.0  # the official code fills [y1:y2, x1:x2] of truncated integers
    assert torch.equal(draw_regions(box_at(100.7, 50.2, 300.9, 333.3)), wanted)


def test_a_box_beyond_the_picture_is_cut_off_at_its_sides() -> None:
    wanted = torch.zeros(1, 512, 512)
    wanted[:, :100, :200] = 1.0
    assert torch.equal(draw_regions(box_at(-50, -80, 200, 100)), wanted)
    assert not draw_regions(box_at(600, 600, 700, 700)).any()


def test_padding_and_feather_are_parts_of_the_faces_size() -> None:
    """A face of 200 x 170 pixels: padding 0.1 is 20 pixels, feather 0.2 a ramp of 40."""
    mask = draw_regions(box_at(150, 250, 350, 420), Outline(Shape.BOX, 0.1, 0.2))[0]
    row = mask[330]
    assert torch.equal(row[130:370], torch.ones(240))
    assert row[130 - 20].item() == pytest.approx(0.5, abs=0.03)
    assert row[130 - 41].item() == 0.0
    assert (row[89:131].diff() >= 0).all()


@pytest.mark.parametrize("angle", [-30.0, 0.0, 25.0])
def test_the_ellipse_follows_the_tilt_of_the_face(angle: float) -> None:
    tilted = transform(standard_face(512, 512), rotate=angle)
    mask = draw_regions(tilted, Outline(Shape.ELLIPSE))[0]
    y, x = (part.float() for part in torch.where(mask > 0.5))
    points = torch.stack([x - x.mean(), y - y.mean()])
    _, vectors = torch.linalg.eigh(points @ points.T)
    long_axis = vectors[:, 1]
    found = math.degrees(math.atan2(-long_axis[0], long_axis[1]))
    assert (found - angle + 90) % 180 - 90 == pytest.approx(0, abs=2)


@pytest.mark.parametrize("across", [0.3, 0.7])
def test_the_ellipse_lies_where_the_head_is(across: float) -> None:
    """Its middle is a quarter of the distance of the eyes below them, halfway between."""
    face = place(standard_face(), 500, 400, x=across, y=0.5, size=0.3)
    kps = face.faces[0].kps
    eyes, apart = kps[:2].mean(axis=0), np.linalg.norm(kps[1] - kps[0])
    y, x = (part.float() for part in torch.where(draw_regions(face, Outline(Shape.ELLIPSE))[0] > 0))
    assert float(x.mean()) == pytest.approx(eyes[0], abs=0.5)
    assert float(y.mean()) == pytest.approx(eyes[1] + 0.25 * apart, abs=0.5)


def test_the_ellipse_holds_the_whole_face() -> None:
    face = standard_face(1024, 1024)
    mask = draw_regions(face, Outline(Shape.ELLIPSE))[0]
    for px, py in face.faces[0].kps.round().astype(int):
        assert mask[py, px] == 1.0
    box = face.faces[0].box
    _, axes, _ = head_ellipse(face.faces[0])
    assert 2 * axes[1] > box[3] - box[1]  # from the hair to the chin is more than the detector's


def test_every_face_of_every_frame_has_its_region() -> None:
    faces = [place(standard_face(), 256, 256, x=x, y=0.5, size=0.3).faces[0] for x in (0.25, 0.75)]
    frames = ((faces[0], faces[1]), (), (faces[1],))
    mask = draw_regions(Keypoints(256, 256, frames))
    assert mask.shape == (3, 256, 256)
    assert mask[0, 128, 64] == mask[0, 128, 192] == 1.0
    assert not mask[1].any()
    assert mask[2, 128, 64] == 0.0 and mask[2, 128, 192] == 1.0


def test_a_region_is_fitted_as_the_drawn_keypoints_are() -> None:
    pose = place(standard_face(), 800, 400, x=0.8, y=0.5, size=0.5)
    small, large = (FaceRegion(pose, Fit.CROP).render(s, s)[0] for s in (128, 256))
    doubled = small.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert (doubled != large).float().mean() < 0.02  # edges round to whole pixels


@pytest.mark.parametrize(
    ("outline", "curve", "changes"),
    [
        (Outline(), CLOSING, False),
        (Outline(padding=0.1), None, False),
        (Outline(padding=0.1), CLOSING, True),
        (Outline(feather=0.1), CLOSING, True),
    ],
    ids=["nothing to scale", "no curve", "padding", "feather"],
)
def test_a_region_changes_while_sampling_where_its_curve_changes_something(
    outline: Outline, curve: WeightCurve | None, changes: bool
) -> None:
    region = FaceRegion(standard_face(64, 64), outline=outline, curve=curve)
    assert region.changes is changes
    first, last = (region.at(percent).render(64, 64) for percent in (0.0, 1.0))
    assert torch.equal(first, last) is not changes


def test_impossible_outlines_are_refused_with_a_sentence() -> None:
    with pytest.raises(WrongInputError, match=r"Padding from -0.5 to 10 and feather from 0 to 10"):
        Outline(Shape.BOX, padding=-0.6)
    with pytest.raises(WrongInputError, match="cannot be made"):
        Outline(Shape.BOX, feather=float("nan"))


class Drawing:
    """Of another pack: it renders, but no mask."""

    frame_count = 1

    def render(self, width: int, height: int) -> str:
        return f"{width}x{height}"


def test_what_merely_has_a_method_render_is_no_mask() -> None:
    with pytest.raises(WrongInputError, match="The mask is a Drawing object. A MASK is wanted"):
        checked(Drawing())
