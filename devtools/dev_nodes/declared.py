"""Make a ComfyUI node of a function, for nodes of development."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NODES: dict[str, type] = {}  # by id, for NODE_CLASS_MAPPINGS
WHOLE = ("INT", {"default": 1, "min": 0, "max": 1 << 31})

Function = Callable[..., Any]


class AnyType(str):
    """A socket type that ComfyUI takes for every other."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


ANY = AnyType("*")


def node(
    id: str, inputs: dict[str, Any], *outputs: str, shows: bool = False, always: bool = False
) -> Callable[[Function], Function]:
    """Register a function as a node.

    inputs: the types of its arguments, with options where needed. shows: it is an output node, and
    returns the text that it shows. always: it runs again in every prompt.
    """

    def register(function: Function) -> Function:
        def run(**given: Any) -> Any:
            made = function(**given)
            return {"ui": {"text": [made]}} if shows else (made,)

        kinds = {name: k if isinstance(k, tuple) else (k,) for name, k in inputs.items()}
        members: dict[str, Any] = {
            "INPUT_TYPES": classmethod(lambda cls: {"required": kinds}),
            "RETURN_TYPES": outputs,
            "OUTPUT_NODE": shows,
            "FUNCTION": "run",
            "CATEGORY": "development",
            "run": staticmethod(run),
        }
        if always:
            members["IS_CHANGED"] = classmethod(lambda cls, **given: float("nan"))
        NODES[f"IIDDev_{id}"] = type(id, (), members)
        return function

    return register
