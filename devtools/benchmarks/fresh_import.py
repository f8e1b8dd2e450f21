"""Run in a new process: import ComfyUI, this pack, and the face libraries, and print the seconds.

    PYTHON fresh_import.py COMFYUI PACK [--cpu]

The last line is JSON. seconds: of each part. nodes: how many the pack gave. early: face libraries
that the pack had imported by then. objects: how many the pack left that Python's garbage collector
looks at. modules: how many it imported, its own among them. The collector is off while the pack is
imported: a full collection over torch's objects takes longer than the pack, and whom it falls on is
chance.
"""

from __future__ import annotations

import asyncio
import gc
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
    gc.collect()
    gc.disable()
    objects, modules = len(gc.get_objects()), len(sys.modules)
    pack_begun = time.perf_counter()
    nodes = import_pack(pack)
    pack_seconds = time.perf_counter() - pack_begun
    objects, modules = len(gc.get_objects()) - objects, len(sys.modules) - modules
    gc.enable()
    pack_there = time.perf_counter()
    early = [name for name in LIBRARIES if name in sys.modules]
    has_faces = all(importlib.util.find_spec(name) for name in LIBRARIES)
    if has_faces:
        import_face_libraries()
    seconds = {
        "comfyui": comfyui_there - begun,
        "pack": pack_seconds,
        "faces": time.perf_counter() - pack_there if has_faces else 0.0,
    }
    counts = {"nodes": nodes, "objects": objects, "modules": modules}
    print(json.dumps({"seconds": seconds, "early": early, **counts}))


if __name__ == "__main__":
    main()
