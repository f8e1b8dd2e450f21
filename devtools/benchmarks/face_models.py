"""Loading and asking face models, against insightface's FaceAnalysis with all five of a pack.

At full size the five files have antelopev2's sizes and comparable numbers of multiplications, but
random weights; the detector is the stand-in that finds drawn faces. Both sides run on the CPU.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, cosine_similarity, from_numpy

from ...instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer
from ..standins import drawing
from .around import Setup, in_turn, need
from .timing import MeaninglessError, Timings

PACK = "antelopev2"
NEEDED = ("insightface", "onnxruntime", "onnx", "cv2")
SIDE = 1024  # pixels of the photo


@dataclass(frozen=True)
class Stack:
    """A model of 3x3 convolutions. side: of its input; stride: of the first one."""

    side: int
    stride: int
    channels: int
    layers: int
    outputs: int


RECOGNISER = "glintr100"
# Sizes on disk: 261, 144, 5 and 1.3 MB; 12, 5, 0.2 and 0.01 billion multiplications.
STACKS = {
    RECOGNISER: Stack(112, 8, 512, 27, 512),
    "1k3d68": Stack(192, 16, 512, 15, 3309),
    "2d106det": Stack(192, 16, 128, 8, 212),
    "genderage": Stack(96, 8, 64, 8, 3),
}


def faces(setup: Setup) -> dict[str, Timings]:
    """Opening the models, and finding and embedding the one face of a photo."""
    need(*NEEDED)
    root = make_models(setup)
    pack = find_pack(PACK, [root])
    theirs, ours, picture = open_theirs(root), open_analyzer(pack, "CPU"), photo()
    detector, recogniser = ours.models["detection"], ours.models["recognition"]

    def analyse() -> Tensor:
        return embedding(FaceAnalyzer(detector, recogniser), picture)  # one that remembers nothing

    theirs_is, ours_is = "FaceAnalysis, five models", "this pack, two models"
    opening = {
        theirs_is: lambda: embedding(open_theirs(root), picture),
        ours_is: lambda: embedding(open_analyzer(pack, "CPU"), picture),
    }
    asking = {theirs_is: lambda: embedding(theirs, picture), ours_is: analyse}
    return {
        "open, first face": in_turn(setup, opening, same_face),
        "one more photo": in_turn(setup, asking, same_face),
    }


def open_theirs(root: Path) -> Any:
    """Return insightface's FaceAnalysis, ready; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        app = importlib.import_module("insightface.app")
        made = app.FaceAnalysis(name=PACK, root=str(root), providers=["CPUExecutionProvider"])
        made.prepare(ctx_id=0, det_size=(640, 640))
    return made


def embedding(analysis: Any, picture: np.ndarray[Any, Any]) -> Tensor:
    """(512,) of the one face, from this pack's analyzer or from insightface's."""
    if isinstance(analysis, FaceAnalyzer):
        (face,) = analysis.find(picture).faces
        return from_numpy(analysis.embed(picture, face))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # skimage's, about what insightface calls
        (face,) = analysis.get(picture)
    return from_numpy(face.embedding)


def same_face(name: str, wanted: Tensor, found: Tensor) -> None:
    """Raise MeaninglessError unless two embeddings are as of one photo: cosine over 0.9.

    Detectors that look at other sizes set the points within a pixel of each other, not alike.
    """
    cosine = cosine_similarity(wanted, found, dim=0).item()
    if not cosine > 0.9:
        raise MeaninglessError(f"'{name}' embeds another face (cosine {cosine:.2f}).")


def photo() -> np.ndarray[Any, Any]:
    """A portrait, (SIDE, SIDE, 3) BGR bytes: one face, as most reference photos have."""
    face = drawing.DrawnFace(SIDE / 2, 0.4 * SIDE, 0.35 * SIDE, 8, 1)
    return drawing.draw_faces([face], SIDE, SIDE)[..., ::-1].copy()


def make_models(setup: Setup) -> Path:
    """Write the five models once, and return the root that insightface takes.

    The tiny ones are the stand-ins, and three models of two layers.
    """
    standins = importlib.import_module("..standins.faces", __package__)
    root = setup.folder / "five-face-models"
    folder = root / "models" / PACK
    folder.mkdir(parents=True, exist_ok=True)
    standins.make_detector(folder / standins.DETECTOR)
    for name, stack in STACKS.items():
        path = folder / f"{name}.onnx"
        if setup.size == "tiny" and name == RECOGNISER:
            standins.make_recogniser(path)
        elif not path.is_file():
            small = replace(stack, channels=8, layers=2)
            _make_stack(path, stack if setup.size == "full" else small)
    return root


def _make_stack(path: Path, stack: Stack) -> None:
    graph = importlib.import_module("..standins.graph", __package__).Graph()
    random = np.random.default_rng(0)
    value, before, stride = "input.1", 3, stack.stride
    for _ in range(stack.layers):
        shape = (stack.channels, before, 3, 3)
        weights = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(9 * before))
        how = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [stride, stride]}
        value = graph.op("Relu", graph.op("Conv", value, graph.constant(weights), **how))
        before, stride = stack.channels, 1
    pooled = graph.reshape(graph.op("GlobalAveragePool", value), [-1, stack.channels])
    last = random.standard_normal((stack.channels, stack.outputs), np.float32)
    made = graph.op("MatMul", pooled, graph.constant(last))
    inputs = {"input.1": ["n", 3, stack.side, stack.side]}
    part = path.with_suffix(".part")
    graph.save(part, inputs, {"output": (made, ["n", stack.outputs])})
    part.replace(path)


CASES = {"faces": faces}
