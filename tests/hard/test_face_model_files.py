"""ONNX files with a turned bit, and such as are not what they say: no crash, and a sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from faithful_instantid.devtools.comfy_server import default_comfyui, quick_python, standin_models
from onnx import TensorProto, helper, numpy_helper

from ..conftest import ROOT
from .conftest import LONG, Tally
from .looking import look
from .test_bad_input import REFUSED, judged

DETECTOR, RECOGNISER = "scrfd_10g_bnkps.onnx", "glintr100.onnx"
ANSWERED = "answered"
MEMORY = 2048  # MiB that a process may hold at most with any of the damaged files
LIMIT = 240 if not LONG else 3600  # seconds for all of one file's copies


@pytest.fixture(scope="module")
def pack() -> Path:
    """The stand-in antelopev2."""
    return standin_models(default_comfyui(), sys.executable) / "insightface/models/antelopev2"


def turned(content: bytes, count: int) -> Iterator[bytes]:
    """Yield copies with one bit turned: in the graph's nodes, in its signature, in its weights."""
    dice = random.Random(7)
    edge = 20_000  # bytes; the nodes stand first, inputs and outputs last
    for number in range(count):
        start, stop = ((0, edge), (len(content) - 2000, len(content)), (0, len(content)))[
            number % 3
        ]
        copy = bytearray(content)
        copy[dice.randrange(start, stop)] ^= 1 << dice.randrange(8)
        yield bytes(copy)


def looked_at(folders: Sequence[Path]) -> list[list[Any]]:
    """Look at one pack after the other in processes of their own; what ends one is noted."""
    found: list[list[Any]] = []
    while len(found) < len(folders):
        rest = [str(folder) for folder in folders[len(found) :]]
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "hard" / "looking.py"), *rest],
            capture_output=True,
            text=True,
            env=quick_python(),
            timeout=LIMIT,
        )
        found += [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode != 0:
            found.append([f"the process ended with {done.returncode}", done.stderr[-300:], 0])
    return found


@pytest.mark.timeout(3700 if LONG else 300)
@pytest.mark.parametrize("name", [DETECTOR, RECOGNISER])
def test_a_face_model_with_a_turned_bit_is_refused_or_still_gives_finite_numbers(
    pack: Path, tmp_path: Path, tally: Tally, name: str
) -> None:
    folders = [tmp_path / "whole"]
    shutil.copytree(pack, folders[0])
    other = RECOGNISER if name == DETECTOR else DETECTOR
    for number, content in enumerate(turned((pack / name).read_bytes(), 900 if LONG else 45)):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        (folders[-1] / other).symlink_to(pack / other)
        (folders[-1] / name).write_bytes(content)
    whole, *found = looked_at(folders)
    assert whole[:2] == [ANSWERED, "1 faces"]
    tally("damaged files tried: face model with a bit turned", len(found))
    kinds = [kind for kind, *_ in found]
    tally("face models with a bit turned that were refused", kinds.count(REFUSED))
    wrong = [
        f"copy {number}: {kind}: {text}"
        for number, (kind, text, _) in enumerate(found)
        if kind not in (ANSWERED, REFUSED) or (kind == REFUSED and judged(text) != REFUSED)
    ]
    assert not wrong, "\n" + "\n".join(wrong)
    assert REFUSED in kinds, "no bit that matters was turned"
    assert max(peak for *_, peak in found) < MEMORY


Change = Callable[[onnx.ModelProto], None]


def after(
    output: int, *operations: tuple[str, float | None], kind: int = TensorProto.FLOAT
) -> Change:
    """Return a change that puts operations behind one output of a graph."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        told = graph.output[output]
        last = f"{told.name}_before"
        for node in graph.node:
            for place, name in enumerate(node.output):
                if name == told.name:
                    node.output[place] = last
        for number, (operation, value) in enumerate(operations):
            inputs, attributes = [last], {}
            if operation == "Cast":
                attributes["to"] = kind
            elif value is not None:
                dtype = np.int64 if operation == "Unsqueeze" else np.float32
                constant = np.asarray([value], dtype)
                graph.initializer.append(numpy_helper.from_array(constant, f"value_{number}"))
                inputs.append(f"value_{number}")
            name = told.name if number == len(operations) - 1 else f"{told.name}_{number}"
            graph.node.append(helper.make_node(operation, inputs, [name], **attributes))
            last = name
        told.type.tensor_type.elem_type = kind

    return change


def every(outputs: range, operation: str, value: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for output in outputs:
            after(output, (operation, value))(model)

    return change


def swapped(*pairs: tuple[int, int]) -> Change:
    """Return a change that swaps outputs."""

    def change(model: onnx.ModelProto) -> None:
        outputs = list(model.graph.output)
        for first, second in pairs:
            outputs[first], outputs[second] = outputs[second], outputs[first]
        del model.graph.output[:]
        model.graph.output.extend(outputs)

    return change


def of_size(*sides: int) -> Change:
    """Return a change that makes the graph say that it takes pictures of one size only."""

    def change(model: onnx.ModelProto) -> None:
        for dim, side in zip(
            model.graph.input[0].type.tensor_type.shape.dim[2:], sides, strict=True
        ):
            dim.dim_value = side

    return change


def of_type(kind: int) -> Change:
    """Return a change that makes the graph take another type of numbers."""

    def change(model: onnx.ModelProto) -> None:
        told = model.graph.input[0]
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name == told.name:
                    node.input[place] = "as_float"
        told.type.tensor_type.elem_type = kind
        cast = helper.make_node("Cast", [told.name], ["as_float"], to=TensorProto.FLOAT)
        model.graph.node.insert(0, cast)

    return change


def constants(*shapes: tuple[int, ...]) -> Change:
    """Return a change that makes the graph give out fixed numbers of these shapes."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        del graph.node[:], graph.initializer[:]
        for told, shape in zip(graph.output, shapes, strict=True):
            value = numpy_helper.from_array(np.full(shape, 0.7, np.float32))
            graph.node.append(helper.make_node("Constant", [], [told.name], value=value))

    return change


def of_opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def unknown_operation(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "somebody.elses"
    model.opset_import.append(helper.make_opsetid("somebody.elses", 1))


def without_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def weights_elsewhere(model: onnx.ModelProto) -> None:
    """Let a weight be read from a file outside the pack's folder, which is there."""
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    size = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", str(size))):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value


SCORES, BOXES, POINTS = range(3), range(3, 6), range(6, 9)
NAN, FAR = float("nan"), 1e30
EMPTY = [(0, 1)] * 3 + [(0, 4)] * 3 + [(0, 10)] * 3
FEW = [(5, 1)] * 3 + [(5, 4)] * 3 + [(5, 10)] * 3
# What a file is made into, and whether it must be refused (else it may also give an answer).
STRANGE_DETECTORS: dict[str, tuple[Change, bool]] = {
    "boxes that are not numbers": (every(BOXES, "Mul", NAN), True),
    "points that are not numbers": (every(POINTS, "Mul", NAN), True),
    "scores that are not numbers": (every(SCORES, "Mul", NAN), False),
    "boxes far off": (every(BOXES, "Mul", FAR), True),
    "points far off": (every(POINTS, "Mul", FAR), True),
    "endless scores": (every(SCORES, "Div", 0.0), True),
    "endless boxes": (every(BOXES, "Div", 0.0), True),
    "a face everywhere": (every(SCORES, "Add", 1.0), False),
    "boxes turned inside out": (every(BOXES, "Mul", -1.0), False),
    "boxes and points swapped": (swapped((3, 6), (4, 7), (5, 8)), True),
    "scores and boxes swapped": (swapped((0, 3), (1, 4), (2, 5)), True),
    "scores of two strides swapped": (swapped((0, 2)), False),
    "whole numbers": (after(3, ("Cast", None), kind=TensorProto.INT64), False),
    "texts": (after(3, ("Cast", None), kind=TensorProto.STRING), True),
    "truth values": (after(0, ("Cast", None), kind=TensorProto.BOOL), False),
    "one dimension more": (after(0, ("Unsqueeze", 0.0)), True),
    "no rows at all": (constants(*EMPTY), True),
    "as many rows as it likes": (constants(*FEW), True),
    "one size only": (of_size(640, 640), False),
    "one size that is no multiple of 32": (of_size(100, 61), False),
    "one size of 100,000 pixels": (of_size(100_000, 100_000), True),
    "bytes for pictures": (of_type(TensorProto.UINT8), True),
    "doubles for pictures": (of_type(TensorProto.DOUBLE), True),
    "an operation of another domain": (unknown_operation, True),
    "an operation set to come": (of_opset(9999), True),
    "no nodes": (without_nodes, True),
    "weights outside its folder": (weights_elsewhere, True),
}
STRANGE_RECOGNISERS: dict[str, tuple[Change, bool]] = {
    "numbers that are none": (after(0, ("Mul", NAN)), True),
    "endless numbers": (after(0, ("Mul", FAR), ("Mul", FAR)), True),
    "nothing but zeros": (after(0, ("Mul", 0.0)), True),
    "whole numbers": (after(0, ("Cast", None), kind=TensorProto.INT64), False),
    "texts": (after(0, ("Cast", None), kind=TensorProto.STRING), False),
    "256 numbers that it calls 512": (constants((1, 256)), True),
    "two faces for one": (constants((2, 512)), True),
    "one number": (constants(()), True),
    "one dimension more": (after(0, ("Unsqueeze", 0.0)), False),
    "doubles for pictures": (of_type(TensorProto.DOUBLE), True),
    "crops of another size": (of_size(224, 224), True),
    "an operation of another domain": (unknown_operation, True),
    "no nodes": (without_nodes, True),
    "weights outside its folder": (weights_elsewhere, True),
}
STRANGE = [
    pytest.param(name, change, refused, id=f"{name}: {what}")
    for name, strange in ((DETECTOR, STRANGE_DETECTORS), (RECOGNISER, STRANGE_RECOGNISERS))
    for what, (change, refused) in strange.items()
]


@pytest.mark.parametrize(("name", "change", "refused"), STRANGE)
def test_a_face_model_that_is_not_what_it_says_gets_a_sentence(
    pack: Path, tmp_path: Path, tally: Tally, name: str, change: Change, refused: bool
) -> None:
    folder = tmp_path / "antelopev2"
    shutil.copytree(pack, folder)
    shutil.copy(pack / name, tmp_path / "secret")
    model = onnx.load_model(str(pack / name))
    change(model)
    (folder / name).write_bytes(model.SerializeToString())
    kind, text = look(tmp_path)
    tally("face models that are not what they say", 1)
    assert kind == REFUSED or (kind == ANSWERED and not refused), text
    if kind == REFUSED:
        assert judged(text) == REFUSED
        assert "antelopev2" in text


def test_a_file_that_is_no_onnx_file_is_called_by_its_name(
    pack: Path, tmp_path: Path, tally: Tally
) -> None:
    folder = tmp_path / "antelopev2"
    shutil.copytree(pack, folder)
    for content in (b"<!doctype html><html>404</html>", b"", os.urandom(5000), b"\x3a\xff\xff\x7f"):
        (folder / RECOGNISER).write_bytes(content)
        kind, text = look(tmp_path)
        tally("face models that are not what they say", 1)
        assert kind == REFUSED
        assert f"{folder} lacks a recogniser" in text
        assert judged(text) == REFUSED
