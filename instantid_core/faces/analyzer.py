"""The face analyzer: a detector, a recogniser, and a memory of what they said."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import InstantIDError, WrongFileError, WrongInputError
from ..images import ChannelOrder, Picture, in_order
from ..landmarks import Landmarks
from ..memory import refuse_shortage
from . import as_insightface, landmark_model
from .cache import Hashed, PictureKey, RecentlyUsed, content_key
from .detection import (
    ALWAYS,
    LARGEST_SIDE,
    Candidates,
    Pass,
    faces_of,
    further_passes,
    merge,
    run_pass,
)
from .landmark_model import landmarks_in
from .onnx_signature import read_signature
from .packs import FacePack, find_landmark_model
from .recognisers import check_recogniser, file_sha256
from .records import FoundFace, Search
from .runtime import AUTO, available_providers, import_package, open_session, wanted_providers

THRESHOLD = 0.5  # insightface's own
REMEMBERED = 16384  # passes, embeddings, landmarks: some 100 MB at most, a video of 3,000 frames
OTHERS = 2  # recognisers besides its own
CROP_PIXELS = 112 * 112  # of a recogniser's input: one aligned face

Embedding = NDArray[np.float32]  # (512,), raw, not normalised


class FaceAnalyzer:
    """Finds faces and tells them apart; what a FACEANALYSIS socket carries.

    `find`, `embed` and `landmarks` are this pack's. `det_model`, `models`, `get`, `prepare` and
    `draw_on` are there for other packs, which expect insightface's FaceAnalysis: what they set on
    `det_model` changes nothing for `find`.

    calls: how often an ONNX session ran for this analyzer. What was found in a picture is
    remembered by its content, so looking again costs no call.
    """

    def __init__(self, detector: Any, recogniser: Any, landmarks: Any = None) -> None:
        """detector: insightface's SCRFD with five points. recogniser: its ArcFaceONNX.

        landmarks: its Landmark with 106 points; None is opened when it is first asked for, from the
        folder of the detector's file.
        """
        self._detector = _on_its_own(detector)
        self._recogniser = recogniser
        self._passes: RecentlyUsed[Candidates] = RecentlyUsed(REMEMBERED)
        self._embeddings: RecentlyUsed[Embedding] = RecentlyUsed(REMEMBERED)
        self._landmark_model: RecentlyUsed[Any] = RecentlyUsed(1)
        self._landmarks: RecentlyUsed[Landmarks] = RecentlyUsed(REMEMBERED)
        self._others: RecentlyUsed[FaceAnalyzer] = RecentlyUsed(OTHERS)
        self.calls = 0
        if landmarks is not None:
            self._landmark_model.get(landmark_model.TASK, lambda: landmarks)
        self.det_model = detector
        self.models = {"detection": detector, "recognition": recogniser}
        self.det_thresh = THRESHOLD
        self.det_size: Any = None

    def find(
        self, picture: Picture, *, threshold: float = THRESHOLD, thorough: bool = False
    ) -> Search:
        """Return the faces of a picture.

        picture: (H, W, 3) BGR bytes. threshold: 0..1, least score of a face. thorough: look at
        every size, even where the usual ones found a face.
        """
        hashed = Hashed(picture)
        height, width = picture.shape[:2]
        further = list(further_passes(width, height))
        looked = [(look, self._look(picture, hashed.key, look)) for look in ALWAYS]
        faces = merge(looked, threshold, hashed)
        while further and (thorough or not faces):
            look = further.pop(0)
            looked.append((look, self._look(picture, hashed.key, look)))
            faces = merge(looked, threshold, hashed)
        scores = np.concatenate([found.scores for _, found in looked])
        best = float(scores.max()) if scores.size else 0.0
        return Search(faces, tuple(look.words for look, _ in looked), best)

    def _look(self, picture: Picture, key: PictureKey, look: Pass) -> Candidates:
        def run() -> Candidates:
            self.calls += 1
            with _told("detector", picture):
                return run_pass(self._detector, picture, look)

        return self._passes.get((key, look), run)

    def find_as_insightface(self, picture: Picture) -> Search:
        """Return the faces as the old pack finds them: at the first size that shows any.

        picture: (H, W, 3) BGR bytes. The faces come best score first, with the very numbers that
        the installed insightface gives; the least score is `det_model`'s, as it is there.
        """
        hashed = Hashed(picture)
        threshold = float(self.det_model.det_thresh)
        tried: list[str] = []
        for size in as_insightface.sizes_of(self._detector):
            tried.append(f"{size[0]}")
            found = self._look_as_insightface(picture, hashed.key, size, threshold)
            if len(found.scores):
                return Search(faces_of(found, hashed), tuple(tried), float(found.scores[0]))
        return Search((), tuple(tried), 0.0)

    def _look_as_insightface(
        self, picture: Picture, key: PictureKey, size: tuple[int, int], threshold: float
    ) -> Candidates:
        def run() -> Candidates:
            self.calls += 1
            with _told("detector", picture):
                return as_insightface.detect(self._detector, picture, size, threshold)

        return self._passes.get((key, size, threshold), run)

    def embed(
        self, picture: Picture, face: FoundFace, order: ChannelOrder = ChannelOrder.BGR
    ) -> Embedding:
        """Return the raw output of the recogniser for a face of the picture: (512,) float32.

        picture: (H, W, 3) BGR bytes. order: of the channels that the recogniser is given;
        embeddings of two orders do not compare.
        """
        kps = face.points.kps
        hashed = face.hashed
        known = hashed.key if hashed is not None and hashed.is_of(picture) else None
        key = known or content_key(picture)

        def run() -> Embedding:
            self.calls += 1
            with warnings.catch_warnings(), _told("recogniser", picture):
                # skimage's, about a method insightface calls
                warnings.simplefilter("ignore", FutureWarning)
                made = self._recogniser.get(in_order(picture, order), SimpleNamespace(kps=kps))
                return _embedding(made)

        return self._embeddings.get((key, kps.tobytes(), order), run).copy()

    def landmarks(self, picture: Picture, face: FoundFace) -> Landmarks:
        """Return the 106 landmarks of a face of the picture: (106, 2) float32, x then y in pixels.

        picture: (H, W, 3) BGR bytes. Raises MissingFileError for a pack without the model for them,
        WrongFileError for one that cannot be opened or gives something else.
        """
        model = self._landmark_model.get(landmark_model.TASK, self._open_landmark_model)
        hashed, box = face.hashed, face.points.box
        known = hashed.key if hashed is not None and hashed.is_of(picture) else None

        def run() -> Landmarks:
            self.calls += 1
            with _told("landmark model", picture):
                return landmarks_in(model, picture, box)

        return self._landmarks.get((known or content_key(picture), box.tobytes()), run).copy()

    def _open_landmark_model(self) -> Any:
        """Open the model beside the detector's file, on what the detector runs on."""
        path = find_landmark_model(Path(str(self._detector.model_file)).parent)
        kind = import_package("insightface.model_zoo.landmark").Landmark
        return _open(kind, path, self._detector.session.get_providers(), landmark_model.PIXELS)

    def with_recogniser(self, path: Path) -> FaceAnalyzer:
        """Return an analyzer that finds the same faces and compares them by another recogniser.

        Both remember in common what the detector found. A file is opened once, on what this
        analyzer runs on. Raises WrongFileError for one that cannot be opened.
        """

        def run() -> FaceAnalyzer:
            session = getattr(self._recogniser, "session", None)
            providers = wanted_providers(AUTO, available_providers())
            other = copy.copy(self)
            other._recogniser = _open(
                import_package("insightface.model_zoo").ArcFaceONNX,
                path,
                providers if session is None else session.get_providers(),
                CROP_PIXELS,
            )
            other._embeddings = RecentlyUsed(REMEMBERED)
            other.models = {**self.models, "recognition": other._recogniser}
            return other

        return self._others.get((path, path.stat().st_mtime_ns), run)

    def get(
        self, img: NDArray[np.uint8], max_num: int = 0, det_metric: str = "default"
    ) -> list[Any]:
        """Return insightface Face objects with box, points, score and embedding, best score first.

        img: (H, W, 3) BGR bytes. max_num: keep that many, 0 all. det_metric: what is kept then:
        the largest ("max"), or the largest near the middle.
        """
        picture = np.ascontiguousarray(img)
        faces = list(self.find(picture, threshold=self.det_model.det_thresh).faces)
        if 0 < max_num < len(faces):
            faces.sort(key=lambda face: -_prominence(face, picture, det_metric))
            faces = faces[:max_num]
        faces.sort(key=lambda face: -face.score)
        return [self._as_insightface(picture, face) for face in faces]

    def _as_insightface(self, picture: Picture, face: FoundFace) -> Any:
        return import_package("insightface.app.common").Face(
            bbox=face.points.box.copy(),
            kps=face.points.kps.copy(),
            det_score=np.float32(face.score),
            embedding=self.embed(picture, face),
        )

    def prepare(self, ctx_id: int = 0, det_thresh: float = THRESHOLD, det_size: Any = None) -> None:
        """Take what FaceAnalysis.prepare takes; only the threshold matters to `get`."""
        self.det_thresh, self.det_size = det_thresh, det_size
        self.det_model.prepare(ctx_id, input_size=det_size, det_thresh=det_thresh)

    def draw_on(self, img: NDArray[np.uint8], faces: Sequence[Any]) -> NDArray[np.uint8]:
        """Return a copy of the picture with insightface's own marks of its Face objects."""
        draw = import_package("insightface.app").FaceAnalysis.draw_on
        return cast("NDArray[np.uint8]", draw(self, img, faces))


@contextlib.contextmanager
def _told(model: str, picture: Picture) -> Generator[None, None, None]:
    """Turn whatever a face model raises into an InstantIDError that says which and at what."""
    try:
        yield
    except InstantIDError:
        raise
    except Exception as error:
        height, width = picture.shape[:2]
        refuse_shortage(error, f"look at a picture of {width}x{height} with the face {model}")
        raise WrongFileError(
            f"The face {model} failed at a picture of {width}x{height} "
            f"({checks.said(error)}). If other pictures work, change this one; if none "
            "does, put a fresh copy of antelopev2's files in place, or choose the provider CPU."
        ) from error


def _embedding(made: Any) -> Embedding:
    """What a recogniser gave as (512,) float32; WrongFileError if it is no face embedding."""
    embedding = np.array(made, np.float32).reshape(-1)
    if embedding.shape != (512,) or not np.isfinite(embedding).all() or not embedding.any():
        raise WrongFileError(
            f"The face recogniser gave {embedding.size} numbers, or some that are not numbers, or "
            "nothing but zeros; wanted 512. Put antelopev2's glintr100.onnx (261 MB) in its place."
        )
    return embedding


def _prominence(face: FoundFace, picture: Picture, metric: str) -> float:
    if metric == "max":
        return face.area
    x, y = face.center
    height, width = picture.shape[:2]
    return face.area - 2.0 * ((x - width // 2) ** 2 + (y - height // 2) ** 2)


def _on_its_own(detector: Any) -> Any:
    """Return the detector on the same session, with settings nobody else can reach.

    insightface 2 would build and keep one session for every picture size; the copy runs them all
    on the one it has.
    """
    own = copy.copy(detector)
    if getattr(own, "static_shape_sessions", False) and own.static_input_size is None:
        own.static_shape_sessions = False
        own._reset_resolution_session_pool()
    return own


def open_analyzer(pack: FacePack, provider: str = "auto") -> FaceAnalyzer:
    """Open a pack's detector and recogniser, and nothing else of it.

    provider: `auto` or a name in `runtime.PROVIDERS`.

    Raises MissingDependencyError, or WrongFileError for a recogniser of another embedding space
    or a file that cannot be opened.
    """
    providers = wanted_providers(provider, available_providers())
    zoo = import_package("insightface.model_zoo")
    with ThreadPoolExecutor(1) as side:  # reading 261 MB twice, once for the checksum
        checksum = side.submit(file_sha256, pack.recogniser)
        detector = _open(zoo.SCRFD, pack.detector, providers, LARGEST_SIDE**2)
        recogniser = _open(zoo.ArcFaceONNX, pack.recogniser, providers, CROP_PIXELS)
        check_recogniser(pack.recogniser, checksum.result())
    return FaceAnalyzer(detector, recogniser)


def _open(model_type: Any, path: Path, providers: Sequence[str], pixels: int) -> Any:
    """pixels: of the largest input."""
    try:
        session = open_session(path, providers, pixels=pixels)
        return model_type(model_file=str(path), session=session)
    except Exception as error:
        refuse_shortage(error, f"open {path}")
        raise WrongFileError(
            f"onnxruntime cannot open {path} ({checks.said(error)}). The file is "
            "probably damaged or was not downloaded whole: put a fresh copy in its place."
        ) from error


# Analyzers of other packs' FaceAnalysis objects, so that what was found is remembered as long as
# the object lives. Nothing is written on the object itself: it is lent.
_adopted: WeakKeyDictionary[Any, FaceAnalyzer] = WeakKeyDictionary()


def as_analyzer(analysis: Any) -> FaceAnalyzer:
    """Return what a FACEANALYSIS socket brought as an analyzer of this pack.

    analysis: a FaceAnalyzer, or insightface's FaceAnalysis from another pack's loader.

    Raises WrongInputError for anything else, WrongFileError for a recogniser known as wrong.
    """
    if isinstance(analysis, FaceAnalyzer):
        return analysis
    models = getattr(analysis, "models", None)
    if not isinstance(models, dict):
        raise _foreign(analysis)
    try:
        adopted = _adopted.get(analysis)
    except TypeError as error:  # cannot be a key: no FaceAnalysis
        raise _foreign(analysis) from error
    if adopted is None:
        adopted = _adopted[analysis] = _adopt(cast("dict[str, Any]", models))
    return adopted


def _foreign(analysis: object) -> WrongInputError:
    return WrongInputError(
        f"FACEANALYSIS brought {checks.kind_of(analysis)}; wanted what Load Face Analyzer gives "
        "out, or insightface's FaceAnalysis."
    )


def _adopt(models: dict[str, Any]) -> FaceAnalyzer:
    detector, recogniser = models.get("detection"), models.get("recognition")
    if not getattr(detector, "use_kps", False) or not hasattr(recogniser, "get"):
        found = checks.readable(", ".join(sorted(map(str, models))) or "none")
        raise WrongInputError(
            f"FACEANALYSIS brought insightface's models {found}; wanted a detection model with "
            "five points and a recognition model. Use Load Face Analyzer."
        )
    path = Path(str(getattr(recogniser, "model_file", "")))
    if path.is_file():
        signature = read_signature(path)
        if signature is not None and signature.is_recogniser:
            check_recogniser(path, file_sha256(path))
    return FaceAnalyzer(detector, recogniser, models.get(landmark_model.TASK))
