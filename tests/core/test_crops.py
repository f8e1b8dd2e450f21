"""A crop and its way back are one map: nothing else of the picture changes, not by a bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces, noise
from faithful_instantid.instantid_core.affine import Affine, resizing
from faithful_instantid.instantid_core.crops import (
    EVERY_FACE,
    OWN_PIXELS,
    CropSettings,
    FaceCrop,
    checked_crop,
    crop_masks,
    cut,
    on_crop,
    plan_crops,
)
from faithful_instantid.instantid_core.errors import NoFaceError, WrongInputError
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints
from faithful_instantid.instantid_core.pasting import paste
from faithful_instantid.instantid_core.regions import Outline, Shape, draw_regions
from torch import Tensor

LEVEL = 1 / 255
COPY = CropSettings(long_side=OWN_PIXELS, upright=False)
TURNED = CropSettings(long_side=OWN_PIXELS)
ENLARGED = CropSettings(long_side=512)
SMALLER = CropSettings(long_side=384)
OUTLINES = (Outline(Shape.ELLIPSE, 0.1, 0.15), Outline(Shape.BOX, 0.2, 0.1), Outline(Shape.BOX))


@dataclass(frozen=True)
class Case:
    """A picture of `width` x `height`, the face of each frame, and how it is cropped."""

    width: int
    height: int
    faces: tuple[DrawnFace, ...]
    settings: CropSettings

    @cached_property
    def images(self) -> Tensor:
        """(B,H,W,3): a face on noise in every frame, so that any shift would show."""
        drawn = [
            draw_faces([face], self.width, self.height, noise(self.width, self.height, number))
            for number, face in enumerate(self.faces)
        ]
        return torch.from_numpy(np.stack(drawn)).float() / 255

    @property
    def keypoints(self) -> Keypoints:
        frames = tuple((FacePoints(face.kps, face.box),) for face in self.faces)
        return Keypoints(self.width, self.height, frames)

    @cached_property
    def crop(self) -> FaceCrop:
        return plan_crops(self.keypoints, self.images, "largest", 0, self.settings)


CASES = {
    "upright copy": Case(640, 480, (DrawnFace(310.4, 222.7, 150),), COPY),
    "upright copy at the edge": Case(200, 300, (DrawnFace(20, 280, 90),), COPY),
    "upright, enlarged": Case(640, 480, (DrawnFace(300, 220, 150),), ENLARGED),
    "enlarged by less than two": Case(640, 480, (DrawnFace(300, 220, 150, 12),), SMALLER),
    "rotated": Case(640, 480, (DrawnFace(300, 220, 150, 33),), ENLARGED),
    "rotated, own pixels": Case(640, 480, (DrawnFace(300, 220, 150, -21),), TURNED),
    "upside down": Case(640, 480, (DrawnFace(300, 220, 150, 170),), TURNED),
    "at the edge": Case(640, 480, (DrawnFace(15, 470, 150, 20),), ENLARGED),
    "larger than the picture": Case(120, 90, (DrawnFace(60, 45, 80, 8),), CropSettings(4.0, 512)),
    "shrunk": Case(700, 500, (DrawnFace(350, 250, 360, -9),), CropSettings(long_side=96)),
    "tiny": Case(160, 130, (DrawnFace(80, 60, 7, 10),), ENLARGED),
    "odd sizes": Case(301, 223, (DrawnFace(133.3, 101.1, 77, 5),), CropSettings(1.7, 328, 0.7)),
    "wide": Case(500, 400, (DrawnFace(250, 200, 120, -4),), CropSettings(2.2, 448, 1.6, 64)),
    "batch": Case(
        320, 240,
        tuple(DrawnFace(90 + 50 * n, 100 + 9 * n, 80 + 10 * n, 10 * n, n) for n in range(3)),
        replace(ENLARGED, long_side=256),
    ),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_outline = pytest.mark.parametrize("outline", OUTLINES, ids=("head", "soft box", "hard box"))


def mask_of(case: Case, outline: Outline) -> Tensor:
    """(B,H,W): what is pasted, seen by pasting white into black."""
    crop = case.crop
    white = torch.ones(len(crop.pieces), crop.size[1], crop.size[0], 3)
    return paste(torch.zeros_like(case.images), white, crop, outline)[..., 0]


def there_and_back(picture: Tensor, matrix: Any, size: tuple[int, int]) -> Tensor:
    """(H,W,3) -> the same, by OpenCV alone: one bicubic warp onto the crop, and one back.

    Where a warp shrinks to half or less, whole blocks are averaged first.
    """
    height, width = picture.shape[:2]
    once = warped(picture.numpy(), np.vstack([matrix, [0, 0, 1]]), size)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    return torch.from_numpy(warped(once, back, (width, height)))


def warped(picture: Any, matrix: Any, size: tuple[int, int]) -> Any:
    lowest, highest = picture.min(axis=(0, 1)), picture.max(axis=(0, 1))
    block = int(1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if block > 1:
        height, width = picture.shape[:2]
        picture = np.pad(picture, ((0, -height % block), (0, -width % block), (0, 0)), "edge")
        rows, columns = (side // block for side in picture.shape[:2])
        picture = picture.reshape(rows, block, columns, block, 3).mean(axis=(1, 3))
        whole = [[block, 0, (block - 1) / 2], [0, block, (block - 1) / 2], [0, 0, 1]]
        matrix = matrix @ np.array(whole)
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    made = cv2.warpAffine(picture, matrix[:2], size, flags=flags, borderMode=border)
    return made.clip(lowest, highest)


@every_outline
@every_case
def test_outside_of_the_mask_not_a_bit_changes(case: Case, outline: Outline) -> None:
    images, crop = case.images, case.crop
    lent = images.clone()
    width, height = crop.size
    other = torch.rand(len(crop.pieces), height, width, 3)
    done = paste(images, other, crop, outline, colour_match=0.7)
    outside = mask_of(case, outline) == 0
    assert outside.any() and not outside.all()
    assert torch.equal(done[outside], images[outside])
    assert torch.equal(images, lent)


@every_case
def test_pasted_unchanged_a_crop_is_what_opencv_makes_of_it_there_and_back(case: Case) -> None:
    images, crop = case.images, case.crop
    done = paste(images, cut(images, crop), crop)
    whole = mask_of(case, Outline(Shape.ELLIPSE, 0.1, 0.15)) == 1
    assert whole.any()
    for number, piece in enumerate(crop.pieces):
        inside = whole[number]
        wanted = there_and_back(images[number], piece.place.matrix, crop.size)
        assert (done[number][inside] - wanted[inside]).abs().max() <= LEVEL
        if case.settings == COPY:
            assert (done[number] - images[number]).abs().max() <= LEVEL


@every_outline
@every_case
def test_a_crop_of_one_colour_gives_that_colour_inside_the_full_mask(
    case: Case, outline: Outline
) -> None:
    crop = case.crop
    colour = torch.tensor([0.21, 0.63, 0.87])
    plain = colour.expand(len(crop.pieces), crop.size[1], crop.size[0], 3)
    done = paste(case.images, plain, crop, outline)
    inside = mask_of(case, outline) == 1
    assert inside.any()
    assert torch.equal(done[inside], colour.expand(int(inside.sum()), 3))


@every_case
def test_the_mask_is_the_region_of_the_face(case: Case) -> None:
    """In the picture it is the region that Face Region Mask draws, as far as the crop reaches."""
    outline = Outline(Shape.ELLIPSE, 0.05, 0.1)
    mask, wanted = mask_of(case, outline), draw_regions(case.keypoints, outline)
    assert (mask <= wanted + 0.02 + 1.5 / (0.1 * case.faces[0].height)).all()
    if case.settings.context >= 2:  # all of it lies on the crop
        assert ((wanted == 1) <= (mask >= 0.98)).float().mean() > 0.999


@every_case
def test_the_mask_of_a_crop_is_the_region_of_its_face_but_for_the_rim(case: Case) -> None:
    crop, outline = case.crop, Outline(Shape.ELLIPSE, 0.05, 0.1)
    masks = crop_masks(crop, outline)
    width, height = crop.size
    assert masks.shape == (len(crop.pieces), height, width)
    rim = round(0.2 * min(crop.size))
    within = (slice(None), slice(rim, height - rim), slice(rim, width - rim))
    assert torch.equal(masks[within], draw_regions(crop.keypoints, outline)[within])


def test_the_rim_falls_off_alike_along_all_four_borders() -> None:
    """On a crop that lies within its face the mask is the rim alone: its value tells how far."""
    context = 0.5
    face = DrawnFace(160, 120, 100)
    case = Case(320, 240, (face,), CropSettings(context, 64, 1.0, upright=False))
    size = 64 / context  # of the face, on the crop
    (mask,) = crop_masks(case.crop, Outline(Shape.BOX, 1.0, 0.05))
    from_side = torch.minimum(torch.arange(64) + 0.5, 63.5 - torch.arange(64))
    wanted = torch.minimum(from_side[:, None], from_side[None, :]) / (0.05 * size)
    assert torch.allclose(mask, wanted.clamp(max=1), atol=1e-6)
    (hard,) = crop_masks(case.crop, Outline(Shape.BOX, 1.0))
    assert torch.equal(hard, torch.ones(64, 64))


@every_case
def test_a_crop_is_as_large_as_told_and_has_the_upright_face_in_its_middle(case: Case) -> None:
    crop, settings = case.crop, case.settings
    width, height = crop.size
    assert width % settings.grid == height % settings.grid == 0
    if settings.long_side:
        assert max(width, height) == settings.long_side
        assert abs(width - height * settings.aspect) <= settings.grid * settings.aspect
    assert cut(case.images, crop).shape == (len(case.faces), height, width, 3)
    for face, piece, (placed,) in zip(case.faces, crop.pieces, crop.keypoints.frames, strict=True):
        middle = (placed.box[:2] + placed.box[2:]) / 2
        assert np.allclose(middle, [(width - 1) / 2, (height - 1) / 2], atol=0.51)
        eyes, mouth = placed.kps[:2].mean(axis=0), placed.kps[3:].mean(axis=0)
        if settings.upright:
            assert abs(placed.kps[0, 1] - placed.kps[1, 1]) < 0.02 * width
            assert mouth[1] > eyes[1]
        box = face.box[2:] - face.box[:2]
        share = min(width, height) / piece.place.scale / box.max()
        assert share == pytest.approx(settings.context, abs=0.01 if settings.long_side else 0.2)


@every_case
def test_keypoints_come_back_from_the_crop_within_a_tenth_of_a_pixel(case: Case) -> None:
    crop, keypoints = case.crop, case.keypoints
    placed = on_crop(keypoints, crop)
    assert (placed.width, placed.height) == crop.size
    assert len(placed.frames) == len(crop.pieces) == len(case.faces)
    for wanted, piece, own, on in zip(
        keypoints.faces, crop.pieces, crop.keypoints.faces, placed.faces, strict=True
    ):
        found = piece.place.inverse.face(on)
        assert np.abs(wanted.kps - found.kps).max() < 0.1
        assert np.array_equal(own.kps, on.kps)


@every_case
def test_a_point_of_the_picture_is_found_where_its_keypoint_is_placed(case: Case) -> None:
    """Light falls off around the nose; its middle on the crop is where the crop's keypoint is."""
    y, x = np.mgrid[: case.height, : case.width]
    crop = case.crop
    wide = max(3.0, 2 / crop.pieces[0].place.scale)
    lights = [
        np.exp(-((x - nose[0]) ** 2 + (y - nose[1]) ** 2) / (2 * wide**2))
        for nose in (face.kps[2] for face in case.faces)
    ]
    images = torch.from_numpy(np.stack(lights)).float()[..., None].expand(-1, -1, -1, 3)
    shown = cut(images, crop)[..., 0].numpy().astype(np.float64)
    height, width = shown.shape[1:]
    down, across = np.mgrid[:height, :width]
    for light, face, drawn in zip(shown, crop.keypoints.faces, case.faces, strict=True):
        room = min(drawn.x, drawn.y, case.width - drawn.x, case.height - drawn.y)
        if room < 4 * wide:
            continue  # continued beyond the edge, the light has its middle elsewhere
        light = np.where(light > 0.1, light, 0)
        middle = np.array([(across * light).sum(), (down * light).sum()]) / light.sum()
        assert np.abs(middle - face.kps[2]).max() / crop.pieces[0].place.scale < 0.1


@pytest.mark.parametrize("outline", OUTLINES, ids=("head", "soft box", "hard box"))
def test_two_faces_that_do_not_overlap_are_pasted_in_either_order_to_the_same_bits(
    outline: Outline,
) -> None:
    faces = (DrawnFace(150, 140, 120, 20), DrawnFace(390, 230, 150, -14, 2))
    drawn = draw_faces(list(faces), 560, 400, noise(560, 400))
    images = torch.from_numpy(drawn).float()[None] / 255
    keypoints = Keypoints(560, 400, (tuple(FacePoints(f.kps, f.box) for f in faces),))
    crops = [plan_crops(keypoints, images, "left_to_right", n, ENLARGED) for n in (0, 1)]
    made = [torch.rand(1, 512, 512, 3, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]

    def pasted(order: tuple[int, ...]) -> Tensor:
        done = images
        for number in order:
            done = paste(done, made[number], crops[number], outline, colour_match=1.0)
        return done

    assert torch.equal(pasted((0, 1)), pasted((1, 0)))
    every = plan_crops(keypoints, images, "left_to_right", EVERY_FACE, ENLARGED)
    assert torch.equal(paste(images, torch.cat(made), every, outline, 1.0), pasted((0, 1)))


def test_beyond_its_edge_the_picture_is_continued_not_stretched() -> None:
    case = CASES["upright copy at the edge"]
    (piece,) = case.crop.pieces
    left, top = (int(v) for v in -piece.place.matrix[:, 2])
    width, height = case.crop.size
    assert left < 0 and top + height > case.height
    picture = case.images[0].numpy()
    padded = np.pad(picture, ((300, 300), (300, 300), (0, 0)), "edge")
    wanted = padded[300 + top : 300 + top + height, 300 + left : 300 + left + width]
    assert np.array_equal(cut(case.images, case.crop)[0].numpy(), wanted)


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.0])
def test_a_result_of_another_size_lands_where_the_crop_was(factor: float) -> None:
    case = CASES["rotated"]
    crop = case.crop
    y, x = torch.meshgrid(torch.linspace(0, 1, 512), torch.linspace(0, 1, 512), indexing="ij")
    ramps = torch.stack([x, y, (x + y) / 2], dim=-1).numpy()
    size = (round(512 * factor), round(512 * factor))
    other = cv2.resize(
        ramps, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    same = paste(case.images, torch.from_numpy(ramps)[None], crop)
    scaled = paste(case.images, torch.from_numpy(other)[None], crop)
    assert (same - scaled).abs().max() <= 1.5 * LEVEL


def test_the_colour_of_the_seam_is_matched_as_far_as_asked() -> None:
    case = CASES["upright, enlarged"]
    images = torch.full_like(case.images, 0.5)
    darker = torch.full((1, 512, 512, 3), 0.3)
    for amount, wanted in ((0.0, 0.3), (0.5, 0.4), (1.0, 0.5)):
        done = paste(images, darker, case.crop, colour_match=amount)
        assert done[0, 220, 300].numpy() == pytest.approx([wanted] * 3, abs=1e-5)


def test_frames_without_the_face_keep_their_place_and_stay_as_they_are() -> None:
    case = CASES["batch"]
    keypoints = replace(
        case.keypoints, frames=(*case.keypoints.frames[:1], (), *case.keypoints.frames[2:])
    )
    crop = plan_crops(keypoints, case.images, "largest", 0, ENLARGED)
    assert [len(frame) for frame in crop.keypoints.frames] == [1, 0, 1]
    made = cut(case.images, crop)
    assert len(made) == 3 and made[1].std() > 0.1
    assert [bool(mask.any()) for mask in crop_masks(crop)] == [True, False, True]
    done = paste(case.images, torch.zeros_like(made), crop)
    changed = (done != case.images).flatten(1).any(dim=1)
    assert changed.tolist() == [True, False, True]
    assert [len(frame) for frame in on_crop(keypoints, crop).frames] == [1, 0, 1]


@pytest.mark.parametrize("index", [0, EVERY_FACE])
def test_without_any_face_the_picture_goes_through_as_it_is_with_a_word(
    index: int, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES["batch"]
    nobody = replace(case.keypoints, frames=((),))
    crop = plan_crops(nobody, case.images, "largest", index, ENLARGED)
    assert "The keypoints hold no face: Paste Face will leave the picture as it is." in caplog.text
    made = cut(case.images, crop)
    assert made.shape == (3, 512, 512, 3)
    assert torch.equal(paste(case.images, torch.zeros_like(made), crop), case.images)


def test_several_results_of_one_crop_give_as_many_pictures() -> None:
    case = CASES["upright, enlarged"]
    made = torch.rand(4, 64, 64, 3)
    done = paste(case.images, made, case.crop)
    assert done.shape == (4, 480, 640, 3)
    for number in range(4):
        assert torch.equal(
            done[number], paste(case.images, made[number : number + 1], case.crop)[0]
        )
    again = paste(done, made.flip(0), case.crop)
    assert torch.equal(again[0], paste(done[:1], made[3:], case.crop)[0])


def test_keypoints_of_one_frame_serve_a_whole_batch() -> None:
    case = CASES["batch"]
    first = replace(case.keypoints, frames=case.keypoints.frames[:1])
    crop = plan_crops(first, case.images, "largest", 0, ENLARGED)
    assert [piece.frame for piece in crop.pieces] == [0, 1, 2]
    assert len({piece.place.matrix.tobytes() for piece in crop.pieces}) == 1


def test_of_the_other_faces_those_on_the_crop_are_placed_too() -> None:
    case = CASES["upright, enlarged"]
    near = DrawnFace(380, 250, 60)
    far = [DrawnFace(x, y, 50) for x, y in ((40, 220), (600, 220), (300, 20), (300, 460))]
    faces = tuple(FacePoints(f.kps, f.box) for f in (*case.faces, near, *far))
    keypoints = replace(case.keypoints, frames=(faces,))
    placed = on_crop(keypoints, case.crop)
    assert len(placed.faces) == 2
    scale = case.crop.pieces[0].place.scale
    apart = placed.faces[1].kps - placed.faces[0].kps
    assert np.allclose(apart, (faces[1].kps - faces[0].kps) * scale, atol=0.01)


def test_grey_pictures_become_coloured_and_alpha_stays() -> None:
    case = CASES["upright, enlarged"]
    red = torch.tensor([1.0, 0.0, 0.0]).expand(1, 512, 512, 3)
    assert paste(case.images[..., :1], red, case.crop).shape == (1, 480, 640, 3)
    alpha = torch.rand(1, 480, 640, 1)
    done = paste(torch.cat([case.images, alpha], dim=-1), red, case.crop)
    assert torch.equal(done[..., 3:], alpha)
    assert done[0, 220, 300, :3].tolist() == [1.0, 0.0, 0.0]
    assert cut(torch.cat([case.images, alpha], dim=-1), case.crop).shape == (1, 512, 512, 3)


def test_a_map_and_its_inverse_undo_each_other() -> None:
    place = Affine(np.array([[0.3, -1.2, 40.0], [1.1, 0.4, -7.5]]))
    points = np.array([[0.0, 0.0], [333.25, -12.5]])
    assert np.allclose(place.then(place.inverse).points(points), points, atol=1e-9)
    assert np.allclose(
        resizing((4, 2), (8, 6)).points([[-0.5, -0.5], [3.5, 1.5]]), [[-0.5, -0.5], [7.5, 5.5]]
    )


REFUSED: dict[str, tuple[type[Exception], str, Callable[[Case, FaceCrop], Any]]] = {
    "another picture": (
        WrongInputError, "The picture has 320 x 240 pixels, the one that was cropped had 640 x 480",
        lambda case, crop: paste(CASES["batch"].images, torch.rand(1, 8, 8, 3), crop),
    ),
    "another shape": (
        WrongInputError, "The crop to paste has 64 x 80 pixels; wanted 512 x 512, or another size",
        lambda case, crop: paste(case.images, torch.rand(1, 80, 64, 3), crop),
    ),
    "another number": (
        WrongInputError, "There are 2 pictures and 3 crops to paste; 1 and 1 were cropped",
        lambda case, crop: paste(case.images.repeat(2, 1, 1, 1), torch.rand(3, 64, 64, 3), crop),
    ),
    "keypoints of another picture": (
        WrongInputError, "The keypoints are of a picture of 301 x 223, this one has 640 x 480",
        lambda case, crop: on_crop(CASES["odd sizes"].keypoints, crop),
    ),
    "keypoints of other frames": (
        WrongInputError, "The keypoints have 3 frames, the picture 1",
        lambda case, crop: plan_crops(
            replace(case.keypoints, frames=case.keypoints.frames * 3), case.images, "largest", 0,
            COPY,
        ),
    ),
    "a face that is not there": (
        NoFaceError, "There is no face number 2 to crop: the keypoints hold 1 face at most",
        lambda case, crop: plan_crops(case.keypoints, case.images, "largest", 2, COPY),
    ),
    "an order that is not there": (
        WrongInputError, "order is 'oldest'; wanted one of: left_to_right",
        lambda case, crop: plan_crops(case.keypoints, case.images, "oldest", 0, COPY),
    ),
    "no context": (
        WrongInputError, "context is 0; a number from 0.5 to 16 is wanted",
        lambda case, crop: CropSettings(context=0.0),
    ),
    "another grid": (
        WrongInputError, "multiple_of is 7; wanted one of: 8, 64",
        lambda case, crop: CropSettings(grid=7),
    ),
    "too large": (
        WrongInputError, "The crop's long side is 20000; 0 .* to 16384 is wanted",
        lambda case, crop: CropSettings(long_side=20000),
    ),
    "no record": (
        WrongInputError, "`face_crop` is a dictionary .* Connect the output face_crop of Crop Face",
        lambda case, crop: checked_crop({}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("context", 0.5, 16), ("aspect", 1 / 16, 16), ("long_side", 0, 2**14)],
)
def test_settings_are_taken_up_to_their_bounds_and_refused_beyond(
    name: str, least: float, most: float
) -> None:
    for bound in (least, most):
        assert getattr(CropSettings(**{name: bound}), name) == bound
    for beyond in (least - 0.001, most + 1):
        with pytest.raises(WrongInputError, match=f"{name.replace('_', ' ')} is "):
            CropSettings(**{name: beyond})


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_numbers(name: str) -> None:
    kind, text, act = REFUSED[name]
    case = CASES["upright, enlarged"]
    with pytest.raises(kind, match=text):
        act(case, case.crop)
