"""Faces are found where others fail, at the right place, and cost nothing the second time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.faces import (
    FaceAnalyzer,
    FoundFace,
    Pick,
    as_analyzer,
    cache,
    rank_faces,
)
from faithful_instantid.instantid_core.faces import analyzer as analyzer_module
from faithful_instantid.instantid_core.faces.detection import (
    ALWAYS,
    OFFICIAL,
    Pass,
    further_passes,
    letterbox,
)
from faithful_instantid.instantid_core.images import Picture, to_pictures
from insightface.app import FaceAnalysis
from insightface.model_zoo import get_model

DETECTOR_SIDE = 640
CLOSE_UP_SIDE = 256  # where faces are found that are too large for 640


def picture_of(faces: list[DrawnFace], width: int, height: int) -> Picture:
    rgb = draw_faces(faces, width, height)
    return np.ascontiguousarray(rgb[..., ::-1])


def crowd(count: int, width: int, height: int) -> list[DrawnFace]:
    """As many faces as told, 26 detector pixels high, turned by up to 30 degrees."""
    size = 26 * max(width, height) / DETECTOR_SIDE
    columns = -(-count // 5)
    return [
        DrawnFace(
            x=(i // 5 + 0.6) * width / (columns + 0.2),
            y=(i % 5 + 0.6) * height / 5.2,
            height=size,
            angle=(i * 17) % 61 - 30,
            person=i % 8,
        )
        for i in range(count)
    ]


def worst_error(found: tuple[FoundFace, ...], drawn: list[DrawnFace]) -> float:
    """Largest distance of any of the drawn points from the nearest face's, in pixels."""
    return max(
        min(np.linalg.norm(face.points.kps - one.kps, axis=1).max() for face in found)
        for one in drawn
    )


CLOSE_UPS = [(64, 64, 7), (200, 333, -30), (1024, 1024, 30), (1920, 1080, 10)]
CLOSE_UPS += [(6000, 4000, -15)]


@pytest.mark.parametrize(("width", "height", "angle"), CLOSE_UPS)
def test_a_close_up_that_fills_the_frame_is_found_within_one_detector_pixel(
    analyzer: FaceAnalyzer, width: int, height: int, angle: int
) -> None:
    scale = 4 if width > 2000 else 1  # a large picture is drawn small and enlarged: quicker
    small = DrawnFace(
        width / scale / 2, height / scale / 2, 0.95 * min(width, height) / scale, angle, 3
    )
    picture = picture_of([small], width // scale, height // scale)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    middle = (small.x + 0.5) * scale - 0.5, (small.y + 0.5) * scale - 0.5
    face = DrawnFace(*middle, small.height * scale, angle, 3)
    found = analyzer.find(picture).faces
    assert worst_error(found, [face]) * CLOSE_UP_SIDE / max(width, height) < 1
    assert found[0].height > 0.8 * face.height


CROWDS = [(640, 640, 40), (1280, 886, 7), (1280, 886, 40), (4000, 6000, 1), (6000, 4000, 40)]


@pytest.mark.parametrize(("width", "height", "count"), CROWDS)
def test_small_faces_are_all_found_within_one_detector_pixel(
    analyzer: FaceAnalyzer, width: int, height: int, count: int
) -> None:
    faces = crowd(count, width, height)
    found = analyzer.find(picture_of(faces, width, height)).faces
    assert len(found) == count
    assert worst_error(found, faces) * DETECTOR_SIDE / max(width, height) < 1


def test_a_tiny_face_in_an_8k_photo_is_found(analyzer: FaceAnalyzer) -> None:
    face = DrawnFace(5200, 900, 120, 5, 2)
    search = analyzer.find(picture_of([face], 7680, 1400))
    assert worst_error(search.faces, [face]) * 2560 / 7680 < 1
    assert search.tried[:2] == ("640", "256")
    assert search.tried[-1] in ("1280", "2560")


def test_thorough_finds_the_tiny_face_beside_a_large_one(analyzer: FaceAnalyzer) -> None:
    faces = [DrawnFace(600, 500, 700, 9, 1), DrawnFace(2500, 300, 60, 9, 2)]
    picture = picture_of(faces, 3000, 1000)
    assert len(analyzer.find(picture).faces) == 1
    found = analyzer.find(picture, thorough=True).faces
    assert len(found) == 2
    assert worst_error(found, faces) < 2


@pytest.mark.parametrize(("width", "height"), [(4200, 500), (500, 4200)])
def test_faces_of_a_panorama_are_found(analyzer: FaceAnalyzer, width: int, height: int) -> None:
    faces = [DrawnFace(width / 2, height / 2, 220, 10, 4)]
    found = analyzer.find(picture_of(faces, width, height)).faces
    assert worst_error(found, faces) * DETECTOR_SIDE / 4200 < 1


def test_a_32_pixel_picture_is_looked_at(analyzer: FaceAnalyzer) -> None:
    face = DrawnFace(15.5, 15.5, 28, 0, 1)
    assert worst_error(analyzer.find(picture_of([face], 32, 32)).faces, [face]) < 1


def test_the_threshold_decides_and_the_best_score_is_told(analyzer: FaceAnalyzer) -> None:
    picture = picture_of([DrawnFace(100, 100, 90)], 256, 200)
    score = analyzer.find(picture).faces[0].score
    below = analyzer.find(picture, threshold=min(0.99, score + 0.02))
    assert below.faces == ()
    assert below.best_score == pytest.approx(score, abs=0.03)


def test_faces_come_largest_first(analyzer: FaceAnalyzer) -> None:
    sizes = {100: 80, 300: 160, 500: 110}
    faces = [DrawnFace(x, 150, height) for x, height in sizes.items()]
    found = analyzer.find(picture_of(faces, 640, 300)).faces
    assert [round(face.center[0] / 100) for face in found] == [3, 5, 1]


@pytest.mark.parametrize("width", [1, 31, 640, 641, 1333, 6000])
@pytest.mark.parametrize("look", [*ALWAYS, Pass(320, 0.5), Pass(1280), Pass(2560)])
@pytest.mark.parametrize("squares", [True, False])
def test_the_way_into_the_detector_and_back_is_exact(width: int, look: Pass, squares: bool) -> None:
    box = letterbox(width, 886, look, None, squares=squares)
    middle = np.array([[(box.size[0] - 1) / 2, (box.size[1] - 1) / 2]], np.float32) + box.offset
    assert box.to_picture(middle.astype(np.float32))[0] == pytest.approx(
        [(width - 1) / 2, 442.5], abs=2e-3
    )
    assert box.canvas[0] % 32 == box.canvas[1] % 32 == 0
    for before, size, whole in zip(box.offset, box.size, box.canvas, strict=True):
        behind = whole - size - before
        assert behind >= 0
        assert before == 0 if look.margin == 0 else 0 <= behind - before <= 1


def test_a_detector_of_one_size_is_fed_that_size() -> None:
    for look in (*ALWAYS, *further_passes(6000, 4000)):
        assert letterbox(6000, 4000, look, (640, 640)).canvas == (640, 640)


def test_the_official_size_is_laid_in_as_officially() -> None:
    box = letterbox(1280, 886, OFFICIAL, None)
    assert (box.canvas, box.size, box.offset) == ((640, 640), (640, 443), (0, 0))


def test_the_embedding_is_insightfaces_own(
    analyzer: FaceAnalyzer, insightface_folder: Path
) -> None:
    picture = picture_of([DrawnFace(300, 260, 240, 12, 5)], 640, 520)
    face = analyzer.find(picture).faces[0]
    path = insightface_folder / "models" / "antelopev2" / "glintr100.onnx"
    theirs = get_model(str(path), providers=["CPUExecutionProvider"])
    wanted = theirs.get(picture, SimpleNamespace(kps=face.points.kps))
    np.testing.assert_allclose(analyzer.embed(picture, face), wanted, atol=1e-5)
    assert np.linalg.norm(wanted) > 5  # raw, not normalised


def test_swapped_channels_give_another_face(analyzer: FaceAnalyzer) -> None:
    rgb = draw_faces([DrawnFace(128, 128, 180, 0, 3)], 256, 256)
    image = torch.from_numpy(rgb).float()[None] / 255
    picture = to_pictures(image)[0]
    np.testing.assert_array_equal(picture[..., ::-1], rgb)
    face = analyzer.find(picture).faces[0]
    swapped = np.ascontiguousarray(picture[..., ::-1])
    right, wrong = analyzer.embed(picture, face), analyzer.embed(swapped, face)
    cosine = np.dot(right, wrong) / np.linalg.norm(right) / np.linalg.norm(wrong)
    assert cosine < 0.9


def test_looking_twice_runs_no_session(analyzer: FaceAnalyzer) -> None:
    picture = picture_of([DrawnFace(100, 100, 90)], 256, 200)
    face = analyzer.find(picture).faces[0]
    analyzer.embed(picture, face)
    assert analyzer.calls == 3  # two sizes, one embedding
    again = analyzer.find(picture.copy()).faces[0]
    analyzer.embed(picture.copy(), again)
    analyzer.find(picture, threshold=0.3)
    assert analyzer.calls == 3
    analyzer.find(picture_of([DrawnFace(101, 100, 90)], 256, 200))
    assert analyzer.calls == 5


def test_a_photo_is_hashed_once_for_a_search_and_all_of_its_faces(
    analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    known = cache.content_key

    def counted(array: Picture) -> Any:
        hashed.append(array.size)
        return known(array)

    monkeypatch.setattr(cache, "content_key", counted)
    monkeypatch.setattr(analyzer_module, "content_key", counted)
    picture = picture_of(crowd(7, 900, 600), 900, 600)
    like = analyzer.embed(picture, analyzer.find(picture).faces[0])
    hashed.clear()
    faces = rank_faces(
        analyzer, picture, analyzer.find(picture).faces, Pick("most_like", like=like)
    )
    analyzer.embed(picture, faces[0])
    assert len(faces) == 7
    assert hashed == [picture.size]
    analyzer.embed(picture.copy(), faces[0])  # another array may hold another picture
    assert len(hashed) == 2


def test_what_is_remembered_cannot_be_changed_from_outside(analyzer: FaceAnalyzer) -> None:
    picture = picture_of([DrawnFace(100, 100, 90)], 256, 200)
    face = analyzer.find(picture).faces[0]
    first = analyzer.embed(picture, face)
    wanted = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(analyzer.embed(picture, face), wanted)


# The FACEANALYSIS socket is shared with other packs.


def as_other_packs_do(analysis: Any, picture: Picture) -> list[Any]:
    for size in [(size, size) for size in range(640, 256, -64)]:
        analysis.det_model.input_size = size
        faces = analysis.get(picture)
        if faces:
            return faces
    return []


def test_our_analyzer_behaves_as_face_analysis_in_other_packs(analyzer: FaceAnalyzer) -> None:
    drawn = [DrawnFace(150, 150, 200, 5, 1), DrawnFace(450, 150, 150, 0, 2)]
    picture = picture_of(drawn, 640, 320)
    analyzer.prepare(ctx_id=0, det_size=(640, 640))
    faces = as_other_packs_do(analyzer, picture)
    assert len(faces) == 2
    largest = sorted(faces, key=lambda f: (f.bbox[2] - f.bbox[0]) * (f["bbox"][3] - f.bbox[1]))[-1]
    assert np.abs(largest.kps - drawn[0].kps).max() < 1
    assert largest["embedding"].shape == (512,)
    assert np.linalg.norm(largest.normed_embedding) == pytest.approx(1, abs=1e-4)
    assert 0.5 < largest.det_score <= 1
    assert largest.landmark_2d_106 is None
    assert set(analyzer.models) == {"detection", "recognition"}
    assert analyzer.draw_on(picture, faces).shape == picture.shape
    assert len(analyzer.get(picture, max_num=1, det_metric="max")) == 1


def test_a_face_of_the_very_score_that_is_wanted_is_found(analyzer: FaceAnalyzer) -> None:
    picture = picture_of([DrawnFace(260, 190, 150, 0, 1)], 640, 400)
    (face,) = analyzer.find(picture).faces
    assert len(analyzer.find(picture, threshold=face.score).faces) == 1
    above = float(np.nextafter(np.float32(face.score), np.float32(2)))
    assert analyzer.find(picture, threshold=above).faces == ()


def test_of_one_face_that_is_wanted_the_largest_or_the_one_near_the_middle_is_kept(
    analyzer: FaceAnalyzer,
) -> None:
    # 640 x 400: the largest at the left, a smaller one in the middle, another at the right.
    large, middle = DrawnFace(110, 130, 190, 0, 1), DrawnFace(320, 200, 150, 0, 2)
    right = DrawnFace(560, 290, 150, 0, 3)
    picture = picture_of([large, middle, right], 640, 400)
    (near,) = analyzer.get(picture, max_num=1)
    (largest,) = analyzer.get(picture, max_num=1, det_metric="max")
    for kept, drawn in ((near, middle), (largest, large)):
        assert np.abs(kept.kps - drawn.kps).max() < 1
    assert {round(float(face.kps[2, 0])) for face in analyzer.get(picture, max_num=2)} == {
        round(float(face.kps[2, 0])) for face in (middle, large)
    }


def test_what_others_leave_on_the_detector_changes_nothing_for_us(
    analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = picture_of([DrawnFace(300, 200, 380, 0, 1)], 640, 400)
    before = analyzer.find(picture).faces[0].points.kps
    monkeypatch.setattr(analyzer.det_model, "input_size", (32, 32))
    monkeypatch.setattr(analyzer.det_model, "det_thresh", 0.99)
    fresh = FaceAnalyzer(analyzer.det_model, analyzer.models["recognition"])
    np.testing.assert_array_equal(fresh.find(picture).faces[0].points.kps, before)


@pytest.fixture(scope="module")
def face_analysis(insightface_folder: Path) -> Any:
    """insightface's own FaceAnalysis on the same two files, as other packs' loaders make it."""
    made = FaceAnalysis(
        name="antelopev2", root=str(insightface_folder), providers=["CPUExecutionProvider"]
    )
    made.prepare(ctx_id=0, det_size=(640, 640))
    return made


def test_face_analysis_of_other_packs_is_accepted(
    face_analysis: Any, analyzer: FaceAnalyzer
) -> None:
    drawn = DrawnFace(400, 400, 740, 10, 1)
    picture = picture_of([drawn], 800, 800)
    face_analysis.det_model.input_size = (64, 64)
    before = {name: id(model) for name, model in face_analysis.models.items()}
    adopted = as_analyzer(face_analysis)
    found = adopted.find(picture).faces
    assert worst_error(found, [drawn]) < 1
    np.testing.assert_array_equal(
        adopted.embed(picture, found[0]), analyzer.embed(picture, analyzer.find(picture).faces[0])
    )
    assert face_analysis.det_model.input_size == (64, 64)
    assert {name: id(model) for name, model in face_analysis.models.items()} == before
    assert as_analyzer(face_analysis) is adopted  # so that it remembers


def test_our_own_analyzer_is_handed_through(analyzer: FaceAnalyzer) -> None:
    assert as_analyzer(analyzer) is analyzer


class OnlyGenderAge:
    """What a FaceAnalysis that opened no detector looks like."""

    def __init__(self) -> None:
        self.models = {"genderage": object()}


def test_anything_else_on_the_socket_is_named() -> None:
    with pytest.raises(WrongInputError, match="FACEANALYSIS brought a text; wanted what Load Face"):
        as_analyzer("antelopev2")
    with pytest.raises(WrongInputError, match="models genderage; wanted a detection model"):
        as_analyzer(OnlyGenderAge())
