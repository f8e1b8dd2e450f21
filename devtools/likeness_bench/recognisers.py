"""Who is in a picture: dlib's recogniser, or any face pack of insightface.

Neither is what InstantID was trained on, unless antelopev2 itself is chosen: that one flatters.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import QualityError
from .metrics import Embedding
from .people import Picture

DLIB = "dlib"
WEIGHTS = "face_recognition_models"
THOROUGH = 640  # pixels of a picture's long side for the slow detector
FLATTERS = (
    "This recogniser is the one that InstantID was trained on: it flatters InstantID, and says "
    "nothing against settings without it."
)


@dataclass(frozen=True, eq=False)
class Face:
    """One face. box: left, top, right, bottom in pixels. embedding: of any length."""

    box: NDArray[np.float32]
    embedding: Embedding

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box.tolist()
        return max(0.0, right - left) * max(0.0, bottom - top)

    def share(self, picture: Picture) -> float:
        """Of the part of the box that lies in the picture, 0 to 1."""
        height, width = picture.shape[:2]
        left, top, right, bottom = np.clip(self.box, 0, [width, height, width, height]).tolist()
        return (right - left) * (bottom - top) / (width * height)


class Recogniser(Protocol):
    """Finds the faces of a picture, the largest first. name: for the page. warning: or empty."""

    name: str
    warning: str

    def look(self, picture: Picture, /) -> list[Face]: ...


def open_recogniser(choice: str) -> Recogniser:
    """Return dlib's recogniser by its name, or that of a folder. Raises QualityError."""
    if choice == DLIB:
        return DlibRecogniser()
    folder = Path(choice)
    if not folder.is_dir():
        raise QualityError(
            f"--recogniser is {choice!r}; wanted {DLIB!r}, or the folder of a face pack with a "
            "detector and a recogniser in .onnx files, for example AuraFace or buffalo_l."
        )
    return PackRecogniser(folder)


class DlibRecogniser:
    """dlib's ResNet: 128 numbers. Faces are found by its quick detector, else by its slow one."""

    name = "dlib's ResNet (dlib_face_recognition_resnet_model_v1)"
    warning = ""

    def __init__(self) -> None:
        spec = importlib.util.find_spec(WEIGHTS)
        if importlib.util.find_spec("dlib") is None or spec is None:
            raise QualityError(
                "--recogniser dlib needs the packages dlib-bin and face_recognition_models: "
                "python -m pip install dlib-bin face_recognition_models."
            )
        import dlib

        (folder,) = spec.submodule_search_locations or ("",)
        models = Path(folder) / "models"
        self._quick: Any = dlib.get_frontal_face_detector()
        self._slow: Any = dlib.cnn_face_detection_model_v1(
            str(models / "mmod_human_face_detector.dat")
        )
        self._points: Any = dlib.shape_predictor(
            str(models / "shape_predictor_5_face_landmarks.dat")
        )
        self._resnet: Any = dlib.face_recognition_model_v1(
            str(models / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def look(self, picture: Picture, /) -> list[Face]:
        pixels = np.ascontiguousarray(picture)
        found = list(self._quick(pixels, 0)) or self._look_slowly(pixels)
        faces = []
        for box in found:
            points = self._points(pixels, box)
            embedding = np.array(self._resnet.compute_face_descriptor(pixels, points), np.float32)
            sides = (box.left(), box.top(), box.right() + 1, box.bottom() + 1)
            faces.append(Face(np.array(sides, np.float32), embedding))
        return sorted(faces, key=lambda face: -face.area)

    def _look_slowly(self, pixels: Picture) -> list[Any]:
        """Return boxes from the network that also knows tilted faces, on a smaller picture."""
        import dlib

        height, width = pixels.shape[:2]
        scale = min(1.0, THOROUGH / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.ascontiguousarray(Image.fromarray(pixels).resize(size))
        boxes = [found.rect for found in self._slow(small, 0)]
        sides = [(b.left(), b.top(), b.right(), b.bottom()) for b in boxes]
        return [dlib.rectangle(*(round(side / scale) for side in four)) for four in sides]


class PackRecogniser:
    """Detector and recogniser of a face pack in insightface's layout, on the CPU."""

    def __init__(self, folder: Path) -> None:
        from ...instantid_core import faces
        from ...instantid_core.errors import InstantIDError
        from ...instantid_core.faces import recognisers, runtime

        logging.getLogger("faithful_instantid").setLevel(logging.ERROR)
        try:
            pack = faces.find_pack(folder.name, [folder.parent])
            zoo = runtime.import_package("insightface.model_zoo")
            opened = [
                kind(
                    model_file=str(path),
                    session=runtime.open_session(path, [runtime.CPU], pixels=640 * 640),
                )
                for kind, path in ((zoo.SCRFD, pack.detector), (zoo.ArcFaceONNX, pack.recogniser))
            ]
        except InstantIDError as error:
            raise QualityError(f"--recogniser: {error}") from error
        self._analyzer = faces.FaceAnalyzer(*opened)
        digest = recognisers.file_sha256(pack.recogniser)
        self.name = f"{folder.name}/{pack.recogniser.name} (sha256 {digest[:12]})"
        self.warning = FLATTERS if digest == recognisers.ANTELOPEV2 else ""

    def look(self, picture: Picture, /) -> list[Face]:
        bgr = np.ascontiguousarray(picture[..., ::-1])
        found = self._analyzer.find(bgr).faces
        return [Face(face.points.box, self._analyzer.embed(bgr, face)) for face in found]
