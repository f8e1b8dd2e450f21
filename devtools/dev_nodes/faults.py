"""For tests of hard use: values no honest node gives out, and faults where they hurt.

A fault is raised for real, by a hook or a callable in the place where it would come from, and only
once: what it was put into works again afterwards.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

OUT_OF_MEMORY = "a test's own out of memory"
DETECTOR_FAILS = "a test's own failure of the detector"


class AnyType(str):
    """A socket type that ComfyUI takes for every other."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


ANY = AnyType("*")


def _not_finite(value: float) -> Any:
    import torch

    image = torch.full((1, 64, 64, 3), 0.5)
    image[0, 8:16] = value
    return image


def _tensor(*shape: int) -> Any:
    import torch

    return torch.zeros(shape)


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
    "tensor": lambda: _tensor(3),
    "NaN picture": lambda: _not_finite(float("nan")),
    "infinite picture": lambda: _not_finite(float("inf")),
    "empty batch": lambda: _tensor(0, 64, 64, 3),
    "one pixel": lambda: _tensor(1, 1, 1, 3),
    "two channels": lambda: _tensor(1, 64, 64, 2),
    "five channels": lambda: _tensor(1, 64, 64, 5),
    "five dimensions": lambda: _tensor(1, 1, 64, 64, 3),
    "mask of another size": lambda: _tensor(3, 17, 5) + 0.5,
}


class Value:
    """Gives out a value that belongs on no socket, or on another one."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        return {"required": {"kind": (list(VALUES),)}}

    RETURN_TYPES = (ANY,)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, kind: str) -> tuple[Any]:
        return (VALUES[kind](),)


class Sink:
    """Takes anything, so that a node without an output node behind it runs; says what came."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"value": (ANY,)}}

    RETURN_TYPES = ()
    FUNCTION = "take"
    OUTPUT_NODE = True
    CATEGORY = "development"

    def take(self, value: Any) -> dict[str, Any]:
        return {"ui": {"text": [type(value).__name__]}}


class Frames:
    """Different pictures, so that nothing that was found in one is remembered for another.

    They are cut to 128 pixels a side, so that thousands of them fit into the memory.
    """

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        whole = ("INT", {"default": 1, "min": 0, "max": 1 << 31})
        inputs = {"image": ("IMAGE",), "count": whole, "seed": whole}
        return {"required": inputs}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, image: Any, count: int, seed: int) -> tuple[Any]:
        import torch

        frames = image[:1, :128, :128].repeat(count, 1, 1, 1)
        drawn = torch.randint(0, 2, (count, 4, 4, 3), generator=torch.manual_seed(seed))
        frames[:, :4, :4] = drawn.float()
        return (frames,)


class FaultyAdapter:
    """An adapter that runs out of memory the next time it encodes a face."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"adapter": ("INSTANTID",)}}

    RETURN_TYPES = ("INSTANTID",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, adapter: Any) -> tuple[Any]:
        _raise_once_before(adapter.module.image_proj.proj_in)
        return (copy.copy(adapter),)


class FaultyModel:
    """A model that runs out of memory in one cross-attention layer, at the third call."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"model": ("MODEL",)}}

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, model: Any) -> tuple[Any]:
        calls: Iterator[int] = iter(range(1 << 30))

        def slot(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> Any:
            from comfy.ldm.modules.attention import optimized_attention

            if next(calls) == 2:
                raise _out_of_memory()
            return optimized_attention(q, k, v, extra_options["n_heads"])

        clone = model.clone()
        clone.set_model_attn2_replace(slot, "input", 4, 0)
        return (clone,)


class FaultyControlNet:
    """A ControlNet that runs out of memory the next time it is evaluated."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"control_net": ("CONTROL_NET",)}}

    RETURN_TYPES = ("CONTROL_NET",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, control_net: Any) -> tuple[Any]:
        _raise_once_before(control_net.control_model.middle_block)
        return (control_net.copy(),)


class FaultyAnalyzer:
    """A face analyzer whose detector throws at one picture of a batch."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        whole = ("INT", {"default": 3, "min": 0, "max": 1 << 31})
        return {"required": {"face_analyzer": ("FACEANALYSIS",), "after": whole}}

    RETURN_TYPES = ("FACEANALYSIS",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, face_analyzer: Any, after: int) -> tuple[Any]:
        detector = _FaultyDetector(face_analyzer.det_model, after)
        return (type(face_analyzer)(detector, face_analyzer.models["recognition"]),)


class _FaultyDetector:
    """insightface's detector, but for one call."""

    def __init__(self, detector: Any, after: int) -> None:
        self._detector = detector
        self._left = after

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_detector" not in self.__dict__:
            raise AttributeError(name)  # while it is being copied
        return getattr(self._detector, name)

    def forward(self, *arguments: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError(DETECTOR_FAILS)
        return self._detector.forward(*arguments)


class SlowAnalyzer:
    """A face analyzer whose recogniser takes its time, as the real one does on a CPU."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        seconds = ("FLOAT", {"default": 0.1, "min": 0.0, "max": 10.0})
        return {"required": {"face_analyzer": ("FACEANALYSIS",), "seconds": seconds}}

    RETURN_TYPES = ("FACEANALYSIS",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, face_analyzer: Any, seconds: float) -> tuple[Any]:
        recogniser = _SlowRecogniser(face_analyzer.models["recognition"], seconds)
        return (type(face_analyzer)(face_analyzer.det_model, recogniser),)


class _SlowRecogniser:
    """insightface's recogniser, after a while."""

    def __init__(self, recogniser: Any, seconds: float) -> None:
        self._recogniser = recogniser
        self._seconds = seconds

    def get(self, *arguments: Any) -> Any:
        time.sleep(self._seconds)
        return self._recogniser.get(*arguments)


def _raise_once_before(module: Any) -> None:
    def hook(*_: Any) -> None:
        handle.remove()
        raise _out_of_memory()

    handle = module.register_forward_pre_hook(hook)


def _out_of_memory() -> Exception:
    import comfy.model_management

    return comfy.model_management.OOM_EXCEPTION(OUT_OF_MEMORY)


NODE_CLASS_MAPPINGS = {
    "IIDDev_FaultyAdapter": FaultyAdapter,
    "IIDDev_FaultyAnalyzer": FaultyAnalyzer,
    "IIDDev_FaultyControlNet": FaultyControlNet,
    "IIDDev_FaultyModel": FaultyModel,
    "IIDDev_Frames": Frames,
    "IIDDev_Sink": Sink,
    "IIDDev_SlowAnalyzer": SlowAnalyzer,
    "IIDDev_Value": Value,
}
