"""For tests of hard use: values no honest node gives out, and faults where they hurt.

A fault is raised for real, by a hook or a callable in the place where it would come from, and only
once: what it was put into works again afterwards.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import torch
from comfy.ldm.modules.attention import optimized_attention

from .declared import ANY, WHOLE, node

OUT_OF_MEMORY = "a test's own out of memory"
DETECTOR_FAILS = "a test's own failure of the detector"


def _not_finite(value: float) -> torch.Tensor:
    image = torch.full((1, 64, 64, 3), 0.5)
    image[0, 8:16] = value
    return image


VALUES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "text": lambda: "text",
    "number": lambda: 7,
    "not a number": lambda: float("nan"),
    "infinite": lambda: float("inf"),
    "dict": lambda: {"cond": 1},
    "empty list": lambda: [],
    "list": lambda: [None, 1],
    "object": object,
    "tensor": lambda: torch.zeros(3),
    "NaN picture": lambda: _not_finite(float("nan")),
    "infinite picture": lambda: _not_finite(float("inf")),
    "empty batch": lambda: torch.zeros(0, 64, 64, 3),
    "one pixel": lambda: torch.zeros(1, 1, 1, 3),
    "two channels": lambda: torch.zeros(1, 64, 64, 2),
    "five channels": lambda: torch.zeros(1, 64, 64, 5),
    "five dimensions": lambda: torch.zeros(1, 1, 64, 64, 3),
    "mask of another size": lambda: torch.zeros(3, 17, 5) + 0.5,
}


@node("Value", {"kind": (list(VALUES),)}, ANY)
def value(kind: str) -> Any:
    """Give out a value that belongs on no socket, or on another one."""
    return VALUES[kind]()


@node("Sink", {"value": ANY}, shows=True)
def sink(value: Any) -> str:
    """Take anything, so that a node without an output node behind it runs; say what came."""
    return type(value).__name__


@node("Frames", {"image": "IMAGE", "count": WHOLE, "seed": WHOLE}, "IMAGE")
def frames(image: Any, count: int, seed: int) -> Any:
    """Give different pictures, so that nothing that was found in one is remembered for another.

    They are cut to 128 pixels a side, so that thousands of them fit into the memory.
    """
    made = image[:1, :128, :128].repeat(count, 1, 1, 1)
    drawn = torch.randint(0, 2, (count, 4, 4, 3), generator=torch.manual_seed(seed))
    made[:, :4, :4] = drawn.float()
    return made


@node("FaultyAdapter", {"adapter": "INSTANTID"}, "INSTANTID")
def faulty_adapter(adapter: Any) -> Any:
    """Let an adapter run out of memory the next time it encodes a face."""
    _raise_once_before(adapter.module.image_proj.proj_in)
    return copy.copy(adapter)


@node("FaultyModel", {"model": "MODEL"}, "MODEL")
def faulty_model(model: Any) -> Any:
    """Let a model run out of memory in one cross-attention layer, at the third call."""
    calls = itertools.count()

    def slot(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> Any:
        if next(calls) == 2:
            raise comfy.model_management.OOM_EXCEPTION(OUT_OF_MEMORY)
        return optimized_attention(q, k, v, extra_options["n_heads"])

    clone = model.clone()
    clone.set_model_attn2_replace(slot, "input", 4, 0)
    return clone


@node("FaultyControlNet", {"control_net": "CONTROL_NET"}, "CONTROL_NET")
def faulty_control_net(control_net: Any) -> Any:
    """Let a ControlNet run out of memory the next time it is evaluated."""
    _raise_once_before(control_net.control_model.middle_block)
    return control_net.copy()


@node("FaultyAnalyzer", {"face_analyzer": "FACEANALYSIS", "after": WHOLE}, "FACEANALYSIS")
def faulty_analyzer(face_analyzer: Any, after: int) -> Any:
    """Give a face analyzer whose detector throws at one picture of a batch."""
    detector, calls = copy.copy(face_analyzer.det_model), itertools.count()

    def forward(*arguments: Any) -> Any:
        if next(calls) >= after:
            raise RuntimeError(DETECTOR_FAILS)
        return face_analyzer.det_model.forward(*arguments)

    detector.forward = forward
    return type(face_analyzer)(detector, face_analyzer.models["recognition"])


SECONDS = ("FLOAT", {"default": 0.1, "min": 0.0, "max": 10.0})


@node("SlowAnalyzer", {"face_analyzer": "FACEANALYSIS", "seconds": SECONDS}, "FACEANALYSIS")
def slow_analyzer(face_analyzer: Any, seconds: float) -> Any:
    """Give a face analyzer whose recogniser takes its time, as the real one does on a CPU."""
    recogniser = face_analyzer.models["recognition"]

    def get(*arguments: Any) -> Any:
        time.sleep(seconds)
        return recogniser.get(*arguments)

    return type(face_analyzer)(face_analyzer.det_model, SimpleNamespace(get=get))


def _raise_once_before(module: Any) -> None:
    def hook(*_: Any) -> None:
        handle.remove()
        raise comfy.model_management.OOM_EXCEPTION(OUT_OF_MEMORY)

    handle = module.register_forward_pre_hook(hook)
