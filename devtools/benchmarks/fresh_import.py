"""Run in a new process: import ComfyUI, this pack, and the face libraries, and print the seconds.

    PYTHON fresh_import.py COMFYUI PACK [--cpu]

The last line is JSON. seconds: of each part. nodes: how many the pack gave. early: face libraries
that the pack had imported by then.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path

LIBRARIES = ("insightface", "onnxruntime")


def import_comfyui(comfyui: str) -> None:
    """Import what a ComfyUI server has imported when it comes to the custom nodes."""
    sys.path[0] = comfyui
    importlib.import_module("comfy.options").enable_args_parsing()
    for name in ("torch", "nodes", "comfy_api.latest", "folder_paths"):
        importlib.import_module(name)


def import_pack(pack: str) -> int:
    """Load the pack as ComfyUI does, with the schema of every node; return their number."""
    name = pack.replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, Path(pack) / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)

    async def load() -> int:
        nodes = await (await module.comfy_entrypoint()).get_node_list()
        return len([node.GET_SCHEMA() for node in nodes])

    return asyncio.run(load())


def import_face_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)


def main() -> None:
    _, comfyui, pack, *arguments = sys.argv
    sys.argv = [sys.argv[0], *arguments]
    begun = time.perf_counter()
    import_comfyui(comfyui)
    comfyui_there = time.perf_counter()
    nodes = import_pack(pack)
    pack_there = time.perf_counter()
    early = [name for name in LIBRARIES if name in sys.modules]
    has_faces = all(importlib.util.find_spec(name) for name in LIBRARIES)
    if has_faces:
        import_face_libraries()
    seconds = {
        "comfyui": comfyui_there - begun,
        "pack": pack_there - comfyui_there,
        "faces": time.perf_counter() - pack_there if has_faces else 0.0,
    }
    print(json.dumps({"seconds": seconds, "nodes": nodes, "early": early}))


if __name__ == "__main__":
    main()
