"""Away from the CPU, where a new size of the input is dear, no photo brings a new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.faces import FaceAnalyzer
from faithful_instantid.instantid_core.faces.detection import Pass, run_pass
from faithful_instantid.instantid_core.images import Picture
from insightface.model_zoo import SCRFD

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SIZES = {(128, 128), (256, 256), (320, 320), (640, 640), (1280, 1280), (2560, 2560)}


class Recording:
    """A session that says it runs on `providers` and keeps the sizes of its inputs."""

    def __init__(self, session: Any, providers: list[str], *, empty: bool = False) -> None:
        """empty: it finds nothing, at once."""
        self._session, self._providers, self._empty = session, providers, empty
        self.sizes: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return self._providers

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        (picture,) = feed.values()
        height, width = picture.shape[2:]
        self.sizes.append((width, height))
        if not self._empty:
            return self._session.run(names, feed)
        cells = [2 * (height // stride) * (width // stride) for stride in (8, 16, 32)]
        return [np.zeros((n, each), np.float32) for each in (1, 4, 10) for n in cells]


@pytest.fixture
def analyzer_on(
    shared_analyzer: FaceAnalyzer, insightface_folder: Path
) -> Callable[..., tuple[FaceAnalyzer, Recording]]:
    """Return a maker of analyzers; the session of the detector says where it runs."""
    path = insightface_folder / "models" / "antelopev2" / "scrfd_10g_bnkps.onnx"

    def make(*providers: str, **settings: Any) -> tuple[Any, Recording]:
        session = Recording(shared_analyzer.det_model.session, [*providers], **settings)
        detector = SCRFD(model_file=str(path), session=session)
        return FaceAnalyzer(detector, shared_analyzer.models["recognition"]), session

    return make


PHOTOS = [(300, 200), (800, 640), (1000, 700), (1280, 886), (1500, 1000), (3000, 900), (2000, 4000)]


def test_no_photo_brings_a_new_size_to_a_detector_on_a_gpu(
    analyzer_on: Callable[..., tuple[FaceAnalyzer, Recording]],
) -> None:
    analyzer, session = analyzer_on(CUDA, CPU, empty=True)
    for width, height in PHOTOS:
        analyzer.find(np.zeros((height, width, 3), np.uint8), thorough=True)
    assert {*session.sizes} == SIZES
    analyzer.find_as_insightface(np.zeros((700, 1100, 3), np.uint8))
    assert {size for size in session.sizes if max(size) > 640} == {(1280, 1280), (2560, 2560)}


def test_on_a_cpu_a_large_pass_is_no_larger_than_the_photo(
    analyzer_on: Callable[..., tuple[FaceAnalyzer, Recording]],
) -> None:
    analyzer, session = analyzer_on(CPU, empty=True)
    analyzer.find(np.zeros((900, 3000, 3), np.uint8))
    assert session.sizes[-2:] == [(1280, 384), (2560, 768)]


def picture_of(face: DrawnFace, width: int, height: int) -> Picture:
    return np.ascontiguousarray(draw_faces([face], width, height)[..., ::-1])


@pytest.mark.parametrize(("width", "height"), [(1400, 610), (700, 1900)])
@pytest.mark.parametrize("look", [Pass(1280), Pass(2560)])
def test_points_are_the_same_within_half_a_pixel_whatever_the_detector_runs_on(
    analyzer_on: Callable[..., tuple[FaceAnalyzer, Recording]], width: int, height: int, look: Pass
) -> None:
    face = DrawnFace(width * 0.7, height * 0.6, 90, 12, 3)
    picture = picture_of(face, width, height)
    (own, _), (square, session) = analyzer_on(CPU), analyzer_on(CUDA, CPU)
    wanted, found = (run_pass(each._detector, picture, look) for each in (own, square))
    assert session.sizes == [(look.extent, look.extent)]
    assert len(found.points) == len(wanted.points) == 1
    assert np.abs(found.points - wanted.points).max() < 0.5
    assert np.abs(found.boxes - wanted.boxes).max() < 0.5
