"""For development only: lets a ComfyUI server load the tiny stand-in models.

Linked into custom_nodes by devtools/comfy_server.py; users never install it.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from . import faults

MAKER = Path(__file__).resolve().parent.parent / "make_standins.py"


def _register() -> None:
    spec = importlib.util.spec_from_file_location("instantid_make_standins", MAKER)
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.checkout()
    importlib.import_module(f"{maker.PACKAGE}.devtools.standins.sdxl").register()


_register()


class LoadedModules:
    """Says which of some modules this server has imported so far, one name per line."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        return {"required": {"names": ("STRING", {"default": "insightface onnxruntime cv2"})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "answer"
    OUTPUT_NODE = True
    CATEGORY = "development"

    @classmethod
    def IS_CHANGED(cls, names: str) -> float:  # noqa: N802
        return float("nan")

    def answer(self, names: str) -> dict[str, Any]:
        import sys

        loaded = "\n".join(name for name in names.split() if name in sys.modules)
        return {"ui": {"text": [loaded]}, "result": (loaded,)}


class StyleSlot:
    """A callable in one attn2 slot, as style adapters put there: others may be added to it."""

    def __init__(self, weight: float, colours: Any) -> None:
        self.shares = [(weight, colours)]

    def add(self, weight: float, colours: Any) -> None:
        self.shares.append((weight, colours))

    def __call__(self, q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> Any:
        from comfy.ldm.modules.attention import optimized_attention

        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for weight, colours in self.shares:  # (1, 4, 3), repeated to the slot's width
            tokens = colours.to(q).repeat(q.shape[0], 1, -(-q.shape[2] // 3))[..., : q.shape[2]]
            style = optimized_attention(q, tokens, tokens, extra_options["n_heads"])
            out = out + weight * style
        return out


class StyleAdapter:
    """Patches cross-attention as the usual style adapters do, with a picture's mean colours."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        weight = ("FLOAT", {"default": 0.5, "min": -1.0, "max": 3.0, "step": 0.05})
        return {"required": {"model": ("MODEL",), "image": ("IMAGE",), "weight": weight}}

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply"
    CATEGORY = "development"

    def apply(self, model: Any, image: Any, weight: float) -> tuple[Any]:
        from torch.nn.functional import adaptive_avg_pool2d

        pooled = adaptive_avg_pool2d(image[:1, ..., :3].movedim(-1, 1), 2)  # (1, 3, 2, 2)
        colours = pooled.flatten(2).movedim(1, 2)
        clone = model.clone()
        options = clone.model_options["transformer_options"]
        slots = options.get("patches_replace", {}).get("attn2", {})
        for block, number, depth in STYLED:
            for index in range(depth):
                before = slots.get((block, number, index))
                if before is None:
                    slot = StyleSlot(weight, colours)
                    clone.set_model_attn2_replace(slot, block, number, index)
                else:
                    before.add(weight, colours)
        return (clone,)


STYLED = (("input", 7, 10), ("output", 0, 10), ("middle", 0, 10))


class AnalyzerCalls:
    """Says how often a face analyzer has run an ONNX session, after `after` was made."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"face_analyzer": ("FACEANALYSIS",), "after": ("IMAGE",)}}

    RETURN_TYPES = ()
    FUNCTION = "answer"
    OUTPUT_NODE = True
    CATEGORY = "development"

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:  # noqa: N802
        return float("nan")

    def answer(self, face_analyzer: Any, after: Any) -> dict[str, Any]:
        return {"ui": {"text": [str(face_analyzer.calls)]}}


class Body:
    """Gives the pose of one body, as a pose node would: eyes, nose and ears, in pixels."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {}}

    RETURN_TYPES = ("POSE_KEYPOINT",)
    FUNCTION = "give"
    CATEGORY = "development"

    def give(self) -> tuple[Any]:
        body = [[0.0, 0.0, 0.0]] * 18  # x, y and confidence, in OpenPose's order
        body[0] = [128.0, 120.0, 0.9]
        body[14], body[15] = [108.0, 96.0, 0.9], [148.0, 98.0, 0.8]
        person = {"pose_keypoints_2d": [number for point in body for number in point]}
        return ([{"people": [person], "canvas_width": 256, "canvas_height": 256}],)


NODE_CLASS_MAPPINGS = {
    **faults.NODE_CLASS_MAPPINGS,
    "IIDDev_AnalyzerCalls": AnalyzerCalls,
    "IIDDev_Body": Body,
    "IIDDev_LoadedModules": LoadedModules,
    "IIDDev_StyleAdapter": StyleAdapter,
}
