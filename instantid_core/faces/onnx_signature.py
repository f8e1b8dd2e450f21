"""What an ONNX file takes and gives, read without loading its weights.

An ONNX file is a protobuf message; only the few fields on the way to the graph's inputs and
outputs are read, everything else is skipped by its length (onnx.proto: ModelProto, GraphProto,
ValueInfoProto, TypeProto, TensorShapeProto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_CUR
from pathlib import Path
from typing import BinaryIO

Shape = tuple[int | str, ...]

MODEL_GRAPH = 7
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12
TENSOR_NAME = 8
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_SHAPE, SHAPE_DIM = 1, 2, 1
DIM_VALUE, DIM_NAME = 1, 2
LARGEST_INPUT = 4096  # pixels a side
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Signature:
    """Shapes of a graph's inputs and outputs, in order; a dimension left open is a string."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    @property
    def is_detector(self) -> bool:
        """SCRFD with five points: one picture in; scores, boxes, points of three strides out."""
        return self._takes_pictures() and self._fits_in_memory() and len(self.outputs) == 9

    @property
    def is_recogniser(self) -> bool:
        """ArcFace: an aligned crop of 112 x 112 in, 512 numbers out."""
        return (
            self._takes_pictures()
            and self.inputs[0][2:] == (112, 112)
            and len(self.outputs) == 1
            and self.outputs[0][-1:] == (512,)
        )

    @property
    def finds_landmarks(self) -> bool:
        """2d106det: a crop of 192 x 192 around a face in, 106 times x and y out."""
        return (
            self._takes_pictures()
            and self.inputs[0][2:] == (192, 192)
            and len(self.outputs) == 1
            and self.outputs[0][-1:] == (212,)
        )

    def _fits_in_memory(self) -> bool:
        """A fixed size of the input is the size of what every picture is laid into."""
        sides = [side for side in self.inputs[0][2:] if isinstance(side, int)]
        return all(side <= LARGEST_INPUT for side in sides)

    def _takes_pictures(self) -> bool:
        return len(self.inputs) == 1 and len(self.inputs[0]) == 4 and self.inputs[0][1] == 3


def read_signature(path: Path) -> Signature | None:
    """Return the signature of an ONNX file, or None where the file is not one."""
    try:
        if not path.is_file():  # a pipe or a device would be waited for
            return None
        with path.open("rb") as file:
            return _read_model(file, path.stat().st_size)
    except (OSError, EOFError, ValueError, OverflowError, MemoryError):
        return None


def _read_model(file: BinaryIO, end: int) -> Signature | None:
    for number, size in _fields(file, end):
        if number == MODEL_GRAPH:
            return _read_graph(file, file.tell() + size)
    return None


def _read_graph(file: BinaryIO, end: int) -> Signature:
    inputs: dict[str, Shape] = {}
    outputs: dict[str, Shape] = {}
    weights: set[str] = set()
    for number, size in _fields(file, end):
        stop = file.tell() + size
        if number == GRAPH_INITIALIZER:
            weights.add(_read_tensor_name(file, stop))
        elif number == GRAPH_INPUT:
            name, shape = _read_value(file, stop)
            inputs[name] = shape
        elif number == GRAPH_OUTPUT:
            name, shape = _read_value(file, stop)
            outputs[name] = shape
    taken = tuple(shape for name, shape in inputs.items() if name not in weights)
    return Signature(taken, tuple(outputs.values()))


def _read_tensor_name(file: BinaryIO, end: int) -> str:
    for number, size in _fields(file, end):
        if number == TENSOR_NAME:
            return file.read(size).decode()
    return ""


def _read_value(file: BinaryIO, end: int) -> tuple[str, Shape]:
    name, shape = "", ()
    for number, size in _fields(file, end):
        stop = file.tell() + size
        if number == VALUE_NAME:
            name = file.read(size).decode()
        elif number == VALUE_TYPE:
            shape = _read_shape(file, stop)
    return name, shape


def _read_shape(file: BinaryIO, end: int) -> Shape:
    shape: list[int | str] = []
    for kind, kind_size in _fields(file, end):
        stop = file.tell() + kind_size
        for part, part_size in _fields(file, stop) if kind == TYPE_TENSOR else ():
            part_end = file.tell() + part_size
            for dim, dim_size in _fields(file, part_end) if part == TENSOR_SHAPE else ():
                if dim == SHAPE_DIM:
                    shape.append(_read_dim(file, file.tell() + dim_size))
    return tuple(shape)


def _read_dim(file: BinaryIO, end: int) -> int | str:
    while file.tell() < end:
        number, wire = divmod(_varint(file), 8)
        if number == DIM_VALUE and wire == VARINT:
            return _varint(file)
        size = _size_of(file, wire)
        if file.tell() + size > end:
            raise EOFError
        if number == DIM_NAME and wire == BYTES:
            return file.read(size).decode()
        file.seek(size, SEEK_CUR)
    return "?"


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield (field number, size) of each length-delimited field up to `end`.

    The file stands at the field's content while it is yielded, and behind it afterwards.
    """
    while file.tell() < end:
        number, wire = divmod(_varint(file), 8)
        size = _size_of(file, wire)
        after = file.tell() + size
        if after > end:
            raise EOFError
        if wire == BYTES:
            yield number, size
        file.seek(after)


def _size_of(file: BinaryIO, wire: int) -> int:
    """Return how many bytes of content follow; a varint is read on the spot."""
    if wire == VARINT:
        _varint(file)
        return 0
    if wire == BYTES:
        return _varint(file)
    if wire == FIXED64:
        return 8
    if wire == FIXED32:
        return 4
    raise ValueError(f"unknown wire type {wire}")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("varint too long")
