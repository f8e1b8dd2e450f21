"""Loading and analysing faces, against insightface's FaceAnalysis with all five models.

    <environment's python> devtools/bench_faces.py

The five files have antelopev2's sizes and comparable numbers of multiplications, but random
weights (the detector is the stand-in that finds drawn faces). Both sides run on the CPU, in turn,
in one process, after the imports; files are in the system's cache.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "instantid_checkout"
CPU = ["CPUExecutionProvider"]


@dataclass(frozen=True)
class Stack:
    """A model of 3x3 convolutions. side: of its input; stride: of the first one."""

    side: int
    stride: int
    channels: int
    layers: int
    outputs: int


# Sizes on disk: 261, 144, 5 and 1.3 MB; 12, 5, 0.2 and 0.01 billion multiplications.
STACKS = {
    "glintr100": Stack(112, 8, 512, 27, 512),
    "1k3d68": Stack(192, 16, 512, 15, 3309),
    "2d106det": Stack(192, 16, 128, 8, 212),
    "genderage": Stack(96, 8, 64, 8, 3),
}


def pack_module(name: str) -> Any:
    """Import a module of the checkout, which is not on sys.path."""
    if PACKAGE not in sys.modules:
        package = types.ModuleType(PACKAGE)
        package.__path__ = [str(ROOT)]
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{name}")


def make_models(folder: Path) -> None:
    """Write five models of antelopev2's names, sizes and signatures."""
    faces = pack_module("devtools.standins.faces")
    folder.mkdir(parents=True)
    faces.make_detector(folder / faces.DETECTOR)
    for name, stack in STACKS.items():
        _make_stack(folder / f"{name}.onnx", stack)


def _make_stack(path: Path, stack: Stack) -> None:
    import numpy as np

    graph = pack_module("devtools.standins.graph").Graph()
    random = np.random.default_rng(0)
    value, before = "input.1", 3
    for layer in range(stack.layers):
        shape = (stack.channels, before, 3, 3)
        weights = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(9 * before))
        stride = stack.stride if layer == 0 else 1
        value = graph.op(
            *("Conv", value, graph.constant(weights)),
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
            strides=[stride, stride],
        )
        value, before = graph.op("Relu", value), stack.channels
    pooled = graph.reshape(graph.op("GlobalAveragePool", value), [-1, stack.channels])
    last = random.standard_normal((stack.channels, stack.outputs), np.float32)
    made = graph.op("MatMul", pooled, graph.constant(last))
    inputs = {"input.1": ["n", 3, stack.side, stack.side]}
    graph.save(path, inputs, {"output": (made, ["n", stack.outputs])})


def measure(rounds: int = 3) -> dict[str, float]:
    """Return median seconds of each side, and the ratios, ours over theirs."""
    with tempfile.TemporaryDirectory() as root:
        make_models(Path(root) / "models" / "antelopev2")
        faces = pack_module("instantid_core.faces")
        app = importlib.import_module("insightface.app")
        pack = faces.find_pack("antelopev2", [Path(root)])

        def load_ours() -> Any:
            return faces.open_analyzer(pack, "CPU")

        def load_theirs() -> Any:
            with contextlib.redirect_stdout(io.StringIO()):
                made = app.FaceAnalysis(name="antelopev2", root=root, providers=CPU)
                made.prepare(ctx_id=0, det_size=(640, 640))
            return made

        load = _in_turn(load_ours, load_theirs, rounds)
        models, theirs, picture = load_ours().models, load_theirs(), _picture()

        def analyse_ours() -> Any:
            fresh = faces.FaceAnalyzer(models["detection"], models["recognition"])
            return fresh.embed(picture, fresh.find(picture).faces[0])

        analyse = _in_turn(analyse_ours, lambda: theirs.get(picture), rounds)
    return {**_named("load", load), **_named("analyse", analyse)}


def _named(what: str, seconds: tuple[float, float]) -> dict[str, float]:
    ours, theirs = seconds
    return {
        f"{what}_ours_s": round(ours, 3),
        f"{what}_theirs_s": round(theirs, 3),
        f"{what}_ratio": round(ours / theirs, 3),
    }


def _picture() -> Any:
    """A portrait: one face, as most reference photos have."""
    drawing = pack_module("devtools.standins.drawing")
    rgb = drawing.draw_faces([drawing.DrawnFace(512, 400, 360, 8, 1)], 1024, 1024)
    return rgb[..., ::-1].copy()


def _in_turn(
    ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """Return the median seconds of both, run in turn; one run of each goes before, uncounted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for run, kept in zip((ours, theirs), seconds, strict=True):
            start = time.perf_counter()
            run()
            if number:
                kept.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
