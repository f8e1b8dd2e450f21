"""For development only: a server with the tiny stand-in models, that tells what it holds.

Linked into custom_nodes by devtools/comfy_server.py; users never install it.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from torch.nn.functional import adaptive_avg_pool2d

from . import faults  # noqa: F401 (its nodes are registered)
from .declared import NODES, node

MAKER = runpy.run_path(str(Path(__file__).resolve().parent.parent / "make_standins.py"))
MAKER["checkout"]()
TOOLS = f"{MAKER['PACKAGE']}.devtools"
importlib.import_module(f"{TOOLS}.standins.sdxl").register()
importlib.import_module(f"{TOOLS}.full_size.probe").add_route()


@node("LoadedModules", {"names": "STRING"}, shows=True, always=True)
def loaded_modules(names: str) -> str:
    """Say which of some modules this server has imported so far, one name per line."""
    return "\n".join(name for name in names.split() if name in sys.modules)


class StyleSlot:
    """A callable in one attn2 slot, as style adapters put there: others may be added to it."""

    def __init__(self, weight: float, colours: Any) -> None:
        self.shares = [(weight, colours)]

    def __call__(self, q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> Any:
        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for weight, colours in self.shares:  # (1, 4, 3), repeated to the slot's width
            tokens = colours.to(q).repeat(q.shape[0], 1, -(-q.shape[2] // 3))[..., : q.shape[2]]
            style = optimized_attention(q, tokens, tokens, extra_options["n_heads"])
            out = out + weight * style
        return out


STYLED = (("input", 7, 10), ("output", 0, 10), ("middle", 0, 10))


@node("StyleAdapter", {"model": "MODEL", "image": "IMAGE", "weight": "FLOAT"}, "MODEL")
def style_adapter(model: Any, image: Any, weight: float) -> Any:
    """Patch cross-attention as the usual style adapters do, with a picture's mean colours."""
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
                before.shares.append((weight, colours))
    return clone


@node("AnalyzerCalls", {"face_analyzer": "FACEANALYSIS", "after": "IMAGE"}, shows=True, always=True)
def analyzer_calls(face_analyzer: Any, after: Any) -> str:
    """Say how often a face analyzer has run an ONNX session, after `after` was made."""
    return str(face_analyzer.calls)


@node("Body", {}, "POSE_KEYPOINT")
def body() -> Any:
    """Give the pose of one body, as a pose node would: eyes, nose and ears, in pixels."""
    points = [[0.0, 0.0, 0.0]] * 18  # x, y and confidence, in OpenPose's order
    points[0] = [128.0, 120.0, 0.9]
    points[14], points[15] = [108.0, 96.0, 0.9], [148.0, 98.0, 0.8]
    person = {"pose_keypoints_2d": [number for point in points for number in point]}
    return [{"people": [person], "canvas_width": 256, "canvas_height": 256}]


NODE_CLASS_MAPPINGS = NODES
