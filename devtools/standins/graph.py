"""Write ONNX graphs as expressions: every operation of `Graph` returns the name of its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 8

Shape = Sequence[int | str]
Operand = str | float


@dataclass(frozen=True)
class Prediction:
    """What the anchors of one stride say, as planes of (1, 1, h, w).

    score: 0 to 1. box: four distances from the anchor to left, top, right, bottom, in pixels.
    points: x, y of five points from the anchor, in pixels.
    """

    score: str
    box: list[str]
    points: list[str]

    @property
    def planes(self) -> list[str]:
        return [self.score, *self.box, *self.points]


class Graph:
    """A growing list of ONNX nodes; numbers become constants where an operand is expected."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *operands: Operand, **attributes: Any) -> str:
        """Append a node of one output and return that output's name."""
        return self.ops(kind, 1, *operands, **attributes)[0]

    def ops(self, kind: str, outputs: int, *operands: Operand, **attributes: Any) -> list[str]:
        number = len(self._nodes)
        names = [f"{self._prefix}{kind.lower()}_{number}_{i}" for i in range(outputs)]
        inputs = [self._operand(o) for o in operands]
        self._nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attributes))
        return names

    def either(self, condition: str, yes: tuple[Graph, str], no: tuple[Graph, str]) -> str:
        """Compute one of two results; only the branch that is chosen runs.

        condition: one number, 1.0 or 0.0. yes, no: a graph of its own prefix and its result;
        both may use results of this graph.
        """
        return self.op(
            "If",
            self.op("Cast", condition, to=TensorProto.BOOL),
            then_branch=yes[0]._branch(yes[1]),
            else_branch=no[0]._branch(no[1]),
        )

    def _branch(self, result: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        constants = list(self._constants.values())
        return helper.make_graph(self._nodes, f"{self._prefix}branch", [], [output], constants)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(value, dtype=dtype)
        name = f"{self._prefix}constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def _operand(self, value: Operand) -> str:
        return value if isinstance(value, str) else self.constant(value)

    def _fold(self, kind: str, *operands: Operand) -> str:
        result = operands[0]
        for operand in operands[1:]:
            result = self.op(kind, result, operand)
        return self._operand(result)

    def _compared(self, kind: str, a: Operand, limit: Operand) -> str:
        """1.0 where it is so, else 0.0."""
        return self.op("Cast", self.op(kind, a, limit), to=TensorProto.FLOAT)

    add, mul = partialmethod(_fold, "Add"), partialmethod(_fold, "Mul")
    sub, div = partialmethod(op, "Sub"), partialmethod(op, "Div")
    below, above = partialmethod(_compared, "Less"), partialmethod(_compared, "Greater")

    def square(self, a: Operand) -> str:
        return self.mul(a, a)

    def concat(self, parts: Sequence[str], axis: int) -> str:
        return self.op("Concat", *parts, axis=axis)

    def channels(self, picture: str, count: int) -> list[str]:
        """Split (1, count, h, w) into its planes of (1, 1, h, w)."""
        return self.ops("Split", count, picture, self.constant([1] * count, np.int64), axis=1)

    def reshape(self, a: str, shape: Sequence[int]) -> str:
        return self.op("Reshape", a, self.constant(list(shape), np.int64))

    def save(
        self, path: Path, inputs: dict[str, Shape], outputs: dict[str, tuple[str, Shape]]
    ) -> None:
        """Write the model. outputs: public name -> (name of the result, shape)."""
        nodes = list(self._nodes)
        for public, (inner, _) in outputs.items():
            nodes.append(helper.make_node("Identity", [inner], [public], name=f"out_{public}"))
        model = helper.make_model(
            helper.make_graph(
                nodes,
                path.stem,
                [_value(name, shape) for name, shape in inputs.items()],
                [_value(name, shape) for name, (_, shape) in outputs.items()],
                list(self._constants.values()),
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
