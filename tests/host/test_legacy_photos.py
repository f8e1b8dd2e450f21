"""The old nodes start from the photo as the old pack does: cut to bytes, seen by insightface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.errors import NoFaceError
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer
from faithful_instantid.instantid_core.keypoints import draw_keypoints
from faithful_instantid.nodes.legacy.faces import FaceKeypointsPreprocessor
from faithful_instantid.nodes.legacy.separate import InstantIDAttentionPatch
from insightface.model_zoo import get_model

Theirs = Callable[[torch.Tensor], tuple[Any, Any]]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("insightface") / "models" / "antelopev2"
    folder.mkdir(parents=True)
    standins.make_pack(folder)
    return folder


@pytest.fixture(scope="module")
def analyzer(pack: Path) -> FaceAnalyzer:
    return open_analyzer(find_pack("antelopev2", [pack]), "CPU")


@pytest.fixture(scope="module")
def theirs(pack: Path) -> Theirs:
    """Points (5, 2) and embedding (512,) of the largest face, by insightface's own objects."""
    cpu = ["CPUExecutionProvider"]
    detector = get_model(str(pack / standins.DETECTOR), providers=cpu)
    recogniser = get_model(str(pack / standins.RECOGNISER), providers=cpu)

    def look(image: torch.Tensor) -> tuple[Any, Any]:
        pixels = image[0].mul(255).clamp(0, 255).byte()[..., [2, 1, 0]].numpy()
        boxes, points = detector.detect(pixels, input_size=(640, 640))
        sides = boxes[:, 2:4] - boxes[:, :2]
        kps = points[int((sides[:, 0] * sides[:, 1]).argmax())]
        return kps, recogniser.get(pixels, SimpleNamespace(kps=kps))

    return look


def image_of(faces: list[DrawnFace], width: int, height: int, scale: int = 1) -> torch.Tensor:
    """(1, H, W, 3) in 0..1: drawn small, enlarged, and nowhere a whole byte."""
    rgb = draw_faces(faces, width // scale, height // scale)
    rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(rgb)[None].float().add(0.7).div(255)


def two_people(width: int, height: int) -> torch.Tensor:
    """The largest face is not the one that scores best."""
    scale = 4 if max(width, height) > 1500 else 1
    w, h = width / scale, height / scale
    side = min(w, h)
    faces = [DrawnFace(0.3 * w, 0.4 * h, 0.4 * side, 9, 3)]
    faces += [DrawnFace(0.75 * w, 0.7 * h, 0.24 * side, -14, 5)]
    return image_of(faces, width, height, scale)


SIDES = [(296, 296), (1500, 2000), (3000, 4000)]


@pytest.mark.parametrize(("width", "height"), SIDES)
def test_face_and_keypoints_of_the_old_nodes_are_insightfaces_bit_for_bit(
    tiny_model: Any,
    adapter: Any,
    analyzer: FaceAnalyzer,
    theirs: Theirs,
    width: int,
    height: int,
) -> None:
    image = two_people(width, height)
    kps, embedding = theirs(image)
    _, identity = InstantIDAttentionPatch().patch_attention(
        adapter, analyzer, image, tiny_model, 0.8, 0.0, 1.0, 0.0, None
    )
    assert torch.equal(identity.face_embedding, torch.from_numpy(embedding))
    drawn = FaceKeypointsPreprocessor.execute(analyzer, image).args[0]
    wanted = draw_keypoints(kps, width, height, scale=1.0)
    assert np.array_equal(drawn[0].mul(255).round().numpy().astype(np.uint8), wanted)


def test_of_two_the_largest_is_taken_wherever_it_is(analyzer: FaceAnalyzer, theirs: Theirs) -> None:
    # The small one is at the very top, the large one low.
    faces = [DrawnFace(150, 75, 100, 0, 3), DrawnFace(420, 330, 200, 8, 5)]
    image = image_of(faces, 640, 480)
    kps, _ = theirs(image)
    drawn = FaceKeypointsPreprocessor().preprocess_image(analyzer, image)[0]
    wanted = draw_keypoints(kps, 640, 480, scale=1.0)
    assert torch.equal(drawn[0], torch.from_numpy(wanted).float() / 255)


def test_where_the_old_pack_sees_nobody_the_wider_search_goes_on_and_says_so(
    analyzer: FaceAnalyzer, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = image_of([DrawnFace(1500, 300, 46, 0, 2)], 2000, 700)  # 15 pixels high at 640
    drawn = FaceKeypointsPreprocessor.execute(analyzer, tiny).args[0]
    assert drawn.any()
    (line,) = [r.getMessage() for r in caplog.records if "the old pack" in r.getMessage()]
    assert line == (
        "As the old pack looks (sizes 640, 576, 512, 448, 384, 320, 256, 192) no face is found in "
        "the picture of 2000x700. A wider search found one, which is taken; the old pack would "
        "have found nobody."
    )


def test_where_nobody_is_the_wider_search_keeps_silent(
    tiny_model: Any, adapter: Any, analyzer: FaceAnalyzer, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = torch.full((1, 80, 60, 3), 0.5)
    with pytest.raises(NoFaceError, match="No face was found in the reference image"):
        InstantIDAttentionPatch().patch_attention(
            adapter, analyzer, nobody, tiny_model, 0.8, 0.0, 1.0, 0.0, None
        )
    assert "A wider search" not in caplog.text
