"""For development only: lets a ComfyUI server load the tiny stand-in models.

Linked into custom_nodes by devtools/comfy_server.py; users never install it.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

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


NODE_CLASS_MAPPINGS = {"IIDDev_LoadedModules": LoadedModules}
