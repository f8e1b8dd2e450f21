"""Old workflows start from the photo: what insightface finds in it, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.faces import FaceAnalyzer
from faithful_instantid.instantid_core.faces.as_insightface import SIZES, sizes_of
from faithful_instantid.instantid_core.images import Picture, to_pictures
from insightface.data import get_image
from insightface.model_zoo import get_model

Look = Callable[[Picture], tuple[Any, Any, Any, tuple[int, int]]]


@pytest.fixture(scope="module")
def theirs(insightface_folder: Path) -> Look:
    """insightface's own objects on the same two files, asked as the old pack asks them.

    Gives boxes with scores (n, 5), points (n, 5, 2), embeddings (n, 512), and the size looked at.
    """
    pack = insightface_folder / "models" / "antelopev2"
    cpu = ["CPUExecutionProvider"]
    detector = get_model(str(pack / "scrfd_10g_bnkps.onnx"), providers=cpu)
    recogniser = get_model(str(pack / "glintr100.onnx"), providers=cpu)

    def look(picture: Picture) -> tuple[Any, Any, Any, tuple[int, int]]:
        for side in range(640, 128, -64):
            boxes, points = detector.detect(picture, input_size=(side, side))
            if len(boxes):
                made = [recogniser.get(picture, SimpleNamespace(kps=kps)) for kps in points]
                return boxes, points, np.stack(made), (side, side)
        raise AssertionError("insightface finds nobody")

    return look


def photo(width: int, height: int) -> Picture:
    """Two faces; a large photo is drawn small and enlarged."""
    scale = 4 if max(width, height) > 1500 else 1
    w, h = width // scale, height // scale
    faces = [DrawnFace(0.36 * w, 0.45 * h, 0.4 * min(w, h), 9, 3)]
    faces += [DrawnFace(0.75 * w, 0.7 * h, 0.24 * min(w, h), -14, 5)]
    rgb = cv2.resize(draw_faces(faces, w, h), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(rgb[..., ::-1])


def check_same(analyzer: FaceAnalyzer, theirs: Look, picture: Picture) -> None:
    boxes, points, embeddings, size = theirs(picture)
    search = analyzer.find_as_insightface(picture)
    assert search.tried[-1] == f"{size[0]}"
    assert len(search.faces) == len(boxes)
    for face, box, kps, embedding in zip(search.faces, boxes, points, embeddings, strict=True):
        np.testing.assert_array_equal(face.points.box, box[:4], strict=True)
        np.testing.assert_array_equal(face.points.kps, kps, strict=True)
        np.testing.assert_array_equal(analyzer.embed(picture, face), embedding, strict=True)
        assert np.float32(face.score) == box[4]


SIDES = [(296, 296), (512, 512), (1024, 1024), (1500, 2000), (2000, 1500), (3000, 4000)]


@pytest.mark.parametrize(("width", "height"), SIDES)
def test_points_boxes_and_embeddings_are_insightfaces_bit_for_bit(
    analyzer: FaceAnalyzer, theirs: Look, width: int, height: int
) -> None:
    picture = photo(width, height)
    check_same(analyzer, theirs, picture)
    assert len(analyzer.find_as_insightface(picture).faces) == 2


def test_a_real_photo_with_six_people_is_looked_at_the_same(
    analyzer: FaceAnalyzer, theirs: Look
) -> None:
    """With a drawn face in it, since the stand-in detector knows no real ones."""
    picture = get_image("t1").copy()
    drawn = photo(400, 300)
    picture[200:500, 300:700] = drawn
    check_same(analyzer, theirs, picture)


def test_the_sizes_come_in_the_old_packs_order_and_the_first_with_a_face_counts(
    analyzer: FaceAnalyzer, theirs: Look
) -> None:
    assert tuple((side, side) for side in (640, 576, 512, 448, 384, 320, 256, 192)) == SIZES
    rgb = draw_faces([DrawnFace(300, 320, 600, 4, 2)], 600, 640)  # too large at 640
    picture = np.ascontiguousarray(rgb[..., ::-1])
    assert analyzer.find_as_insightface(picture).tried == ("640", "576", "512", "448")
    check_same(analyzer, theirs, picture)


def test_the_exact_way_and_insightfaces_differ_on_a_large_photo(analyzer: FaceAnalyzer) -> None:
    picture = photo(3000, 4000)
    exact, old = analyzer.find(picture).faces, analyzer.find_as_insightface(picture).faces
    largest = max(old, key=lambda face: face.area)
    assert 1 < np.abs(exact[0].points.kps - largest.points.kps).max() < 8


def test_looking_twice_as_insightface_runs_no_session(analyzer: FaceAnalyzer) -> None:
    picture = photo(296, 200)
    analyzer.find_as_insightface(picture)
    calls = analyzer.calls
    analyzer.find_as_insightface(picture.copy())
    assert analyzer.calls == calls


def test_the_detector_that_was_lent_stays_as_it_was(analyzer: FaceAnalyzer) -> None:
    before = {k: v for k, v in vars(analyzer.det_model).items() if k != "center_cache"}
    analyzer.find_as_insightface(photo(296, 200))
    assert {k: v for k, v in vars(analyzer.det_model).items() if k != "center_cache"} == before


def test_a_detector_of_one_size_is_asked_for_that_size() -> None:
    assert sizes_of(SimpleNamespace(static_input_size=(480, 320))) == ((480, 320),)
    assert sizes_of(SimpleNamespace(static_input_size=None)) == SIZES


def test_bytes_are_cut_off_or_rounded_as_asked() -> None:
    image = torch.tensor([0.0, 0.4, 0.6, 254.6, 255.0, 300.0]).div(255).reshape(1, 1, 2, 3)
    assert to_pictures(image, truncated=True)[0].ravel().tolist() == [0, 0, 0, 255, 255, 254]
    assert to_pictures(image)[0].ravel().tolist() == [1, 0, 0, 255, 255, 255]
