"""106 landmarks of a face: found where they are drawn, only when they are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces, landscape
from faithful_instantid.instantid_core.errors import MissingFileError, WrongFileError
from faithful_instantid.instantid_core.faces import (
    FaceAnalyzer,
    Pick,
    as_analyzer,
    find_pack,
    open_analyzer,
    runtime,
)
from faithful_instantid.instantid_core.faces.cuts import CutSettings
from faithful_instantid.instantid_core.faces.finding import find_keypoints
from faithful_instantid.instantid_core.faces.following import TrackChoice, follow
from faithful_instantid.instantid_core.faces.onnx_signature import Signature, read_signature
from faithful_instantid.instantid_core.faces.references import LookSettings
from faithful_instantid.instantid_core.images import Picture
from insightface.app import FaceAnalysis

LANDMARKS = LookSettings(landmarks=True)
PAIR = [DrawnFace(180, 220, 240, 12, 1), DrawnFace(470, 200, 150, -25, 2)]


def picture_of(*faces: DrawnFace, width: int = 640, height: int = 400) -> Picture:
    return np.ascontiguousarray(draw_faces(list(faces), width, height)[..., ::-1])


def photo(*faces: DrawnFace, width: int = 640, height: int = 400) -> torch.Tensor:
    return torch.from_numpy(draw_faces(list(faces), width, height)).float()[None] / 255


@pytest.mark.parametrize("angle", [0, 20, -35, 80])
@pytest.mark.parametrize("height", [60, 250, 380])
def test_landmarks_lie_where_they_are_drawn(
    analyzer: FaceAnalyzer, height: int, angle: int
) -> None:
    face = DrawnFace(310, 205, height, angle, 3)
    picture = picture_of(face)
    (found,) = analyzer.find(picture).faces
    landmarks = analyzer.landmarks(picture, found)
    assert landmarks.shape == (106, 2) and landmarks.dtype == np.float32
    assert np.abs(landmarks - face.landmarks).max() < 0.02 * height


def test_they_are_insightfaces_own_numbers(
    insightface_folder: Path, analyzer: FaceAnalyzer
) -> None:
    picture = picture_of(*PAIR)
    analysis = FaceAnalysis(
        name="antelopev2", root=str(insightface_folder), providers=["CPUExecutionProvider"]
    )
    model = analysis.models["landmark_2d_106"]
    for face in analyzer.find(picture).faces:
        asked: Any = type("Face", (dict,), {"bbox": face.points.box})()
        assert np.array_equal(analyzer.landmarks(picture, face), model.get(picture, asked))
    before = model.session
    adopted = as_analyzer(analysis)
    (face, _) = adopted.find(picture).faces
    assert np.array_equal(adopted.landmarks(picture, face), analyzer.landmarks(picture, face))
    assert adopted._landmark_model.get("landmark_2d_106", dict).session is before


def test_what_is_no_drawn_face_gets_upright_ones_around_its_middle(analyzer: FaceAnalyzer) -> None:
    """The stand-in's answer to photos, so that a graph of real ones runs."""
    picture = np.ascontiguousarray(landscape(640, 400))
    (found,) = analyzer.find(picture_of(DrawnFace(300, 200, 160))).faces
    upright = DrawnFace(300, 200, 160).landmarks
    assert np.abs(analyzer.landmarks(picture, found) - upright).max() < 3


def test_a_face_is_looked_at_once(analyzer: FaceAnalyzer) -> None:
    picture = picture_of(*PAIR)
    faces = analyzer.find(picture).faces
    first = analyzer.landmarks(picture, faces[0])
    calls = analyzer.calls
    first[:] = 0  # what was handed out is the caller's
    again = analyzer.landmarks(picture.copy(), faces[0])
    assert analyzer.calls == calls and again.any()
    analyzer.landmarks(picture, faces[1])
    assert analyzer.calls == calls + 1


def test_the_same_box_in_another_picture_is_another_face(analyzer: FaceAnalyzer) -> None:
    upright, tilted = DrawnFace(300, 200, 240, 0, 3), DrawnFace(300, 200, 240, 24, 3)
    (face,) = analyzer.find(picture_of(upright)).faces
    for drawn in (upright, tilted):
        landmarks = analyzer.landmarks(picture_of(drawn), face)
        assert np.abs(landmarks - drawn.landmarks).max() < 0.02 * 240


@pytest.fixture
def folder(tmp_path: Path, insightface_folder: Path) -> Path:
    """A pack of its own, to be changed."""
    folder = tmp_path / "models" / "antelopev2"
    shutil.copytree(insightface_folder / "models" / "antelopev2", folder)
    return folder


def opened(folder: Path) -> FaceAnalyzer:
    return open_analyzer(find_pack("antelopev2", [folder.parent.parent]), "CPU")


def test_the_model_is_opened_at_the_first_look_and_by_content(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    names: list[str] = []
    real = runtime.open_session

    def watch(path: Path, *rest: Any, **named: Any) -> Any:
        names.append(path.name)
        return real(path, *rest, **named)

    monkeypatch.setattr("faithful_instantid.instantid_core.faces.analyzer.open_session", watch)
    (folder / "2d106det.onnx").rename(folder / "any name.onnx")
    analyzer, picture = opened(folder), picture_of(*PAIR)
    faces = analyzer.find(picture).faces
    analyzer.embed(picture, faces[0])
    assert "any name.onnx" not in names
    other = analyzer.with_recogniser(folder / "glintr100.onnx")
    for one in (analyzer, other, analyzer):
        for face in faces:
            one.landmarks(picture, face)
    assert names.count("any name.onnx") == 1


def test_a_pack_without_the_model_says_which_file_goes_where(folder: Path) -> None:
    (folder / "2d106det.onnx").rename(folder.parent / "2d106det.onnx")
    analyzer, picture = opened(folder), picture_of(*PAIR)
    (face, _) = analyzer.find(picture).faces
    with pytest.raises(MissingFileError) as caught:
        analyzer.landmarks(picture, face)
    assert str(caught.value).startswith(f"The face pack in {folder} has no model for 106 landmarks")
    assert "Put 2d106det.onnx (5 MB) of antelopev2 into that folder" in str(caught.value)
    find_keypoints(analyzer, photo(*PAIR), Pick())  # nobody asked for them
    (folder.parent / "2d106det.onnx").rename(folder / "2d106det.onnx")
    assert analyzer.landmarks(picture, face).any()  # put there, it is found without a new start


def test_a_damaged_model_is_named(folder: Path) -> None:
    model = folder / "2d106det.onnx"
    model.write_bytes(model.read_bytes().replace(b"MatMul", b"MatMol"))
    analyzer, picture = opened(folder), picture_of(*PAIR)
    with pytest.raises(WrongFileError, match=r"cannot open .*2d106det\.onnx .*fresh copy"):
        analyzer.landmarks(picture, analyzer.find(picture).faces[0])


class Strange:
    """A landmark model that gives what it was made with."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def get(self, picture: Any, face: Any) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.zeros((68, 3)), "gave points of the size 68 x 3"),
        (np.full((106, 2), np.nan), "some that are no numbers"),
        (np.full((106, 2), 1e9), "lie far off every picture"),
        (RuntimeError("broken"), r"landmark model failed at a picture of 640x400 \(RuntimeError"),
    ],
)
def test_nonsense_of_the_model_is_told(analyzer: FaceAnalyzer, given: Any, text: str) -> None:
    picture = picture_of(*PAIR)
    models = analyzer.models
    strange = FaceAnalyzer(models["detection"], models["recognition"], Strange(given))
    with pytest.raises(WrongFileError, match=text):
        strange.landmarks(picture, strange.find(picture).faces[0])


@pytest.mark.parametrize(
    ("shapes", "is_one"),
    [
        (((("None", 3, 192, 192),), ((1, 212),)), True),
        (((("None", 3, 192, 192),), ((1, 3309),)), False),  # 1k3d68
        (((("None", 3, 96, 96),), ((1, 3),)), False),  # genderage
        (((("None", 3, 112, 112),), ((1, 512),)), False),
    ],
)
def test_the_signature_tells_the_model_from_the_packs_others(shapes: Any, is_one: bool) -> None:
    assert Signature(*shapes).finds_landmarks is is_one


def test_the_stand_in_has_the_real_ones_signature(insightface_folder: Path) -> None:
    path = insightface_folder / "models" / "antelopev2" / "2d106det.onnx"
    assert read_signature(path) == Signature(((1, 3, 192, 192),), ((1, 212),))


def test_keypoints_have_landmarks_where_they_are_asked_for(analyzer: FaceAnalyzer) -> None:
    pictures = torch.cat([photo(*PAIR), photo(PAIR[1])])
    pick = Pick("left_to_right", 0)
    found, preview = find_keypoints(analyzer, pictures, pick, settings=LANDMARKS)
    for (face,), drawn in zip(found.frames, PAIR, strict=True):
        assert np.abs(face.landmarks - drawn.landmarks).max() < 0.02 * drawn.height
    bare, same_preview = find_keypoints(analyzer, pictures, pick)
    assert all(face.landmarks is None for face in bare.faces)
    assert torch.equal(preview, same_preview)
    for one, other in zip(found.faces, bare.faces, strict=True):
        assert np.array_equal(one.kps, other.kps) and np.array_equal(one.box, other.box)
    every, _ = find_keypoints(analyzer, photo(*PAIR), Pick("all"), settings=LANDMARKS)
    assert [face.landmarks is not None for face in every.faces] == [True, True]


def test_a_followed_face_has_landmarks_where_they_are_asked_for(analyzer: FaceAnalyzer) -> None:
    faces = [DrawnFace(200 + 5 * n, 200, 200, n, 1) for n in range(4)]
    video = [picture_of(face) for face in faces]
    choice, cuts = TrackChoice(), CutSettings.checked("none", 0.35, "")
    found = follow(analyzer, video, choice, cuts, settings=LANDMARKS).keypoints
    for (face,), drawn in zip(found.frames, faces, strict=True):
        assert face.track == 0
        assert np.abs(face.landmarks - drawn.landmarks).max() < 4
    bare = follow(analyzer, video, choice, cuts).keypoints
    assert all(face.landmarks is None for face in bare.faces)


def test_the_stop_button_is_asked_before_every_picture_that_is_looked_at(
    analyzer: FaceAnalyzer,
) -> None:
    seen: list[int] = []

    def counted(items: Any) -> Any:
        seen.append(len(items))
        return items

    pictures = torch.cat([photo(*PAIR)] * 3)
    find_keypoints(analyzer, pictures, Pick(), watched=counted)
    assert seen == [3]
    find_keypoints(analyzer, pictures, Pick(), settings=LANDMARKS, watched=counted)
    assert seen == [3, 3, 3]
