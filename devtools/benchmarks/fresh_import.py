"""Run in a new process: import ComfyUI, this pack, and the face libraries, and print what it took.

    PYTHON fresh_import.py COMFYUI PACK [--cpu]

The last line is JSON. seconds: of each part; of `faces` 0 where they are not installed. nodes: how
many the pack gave. early: what it had imported that it should not yet. others: modules that it
imported beside its own. objects: how many it left that Python's garbage collector looks at. The
collector is off while the pack is imported: a full collection over torch's objects takes longer
than the pack, and whom it falls on is chance.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

FACES = ("insightface", "onnxruntime")
LATE = {*FACES, "onnx", "cv2"}  # only when they are needed
COMFYUI = ("torch", "nodes", "comfy.controlnet", "comfy_api.latest", "folder_paths")


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def import_all(*names: str) -> None:
    for name in names:
        importlib.import_module(name)


def import_pack(name: str, pack: str) -> int:
    """Load the pack under a name as ComfyUI does, with the schema of every node; how many."""
    spec = importlib.util.spec_from_file_location(name, Path(pack) / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    nodes = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
    return len([node.GET_SCHEMA() for node in nodes])


def main() -> None:
    _, comfyui, pack, *arguments = sys.argv
    sys.argv, sys.path[0] = [sys.argv[0], *arguments], comfyui
    importlib.import_module("comfy.options").enable_args_parsing()
    seconds = {"comfyui": timed(lambda: import_all(*COMFYUI))}
    # What ComfyUI itself has imported of them is out of sight, so that only the pack's count.
    is_late = [name for name in sys.modules if name.partition(".")[0] in LATE]
    hidden = {name: sys.modules.pop(name) for name in is_late}
    name, nodes = pack.replace(".", "_x_"), list[int]()
    gc.collect()
    gc.disable()
    modules, objects = set(sys.modules), len(gc.get_objects())
    seconds["pack"] = timed(lambda: nodes.append(import_pack(name, pack)))
    objects = len(gc.get_objects()) - objects
    gc.enable()
    others = sorted(one for one in set(sys.modules) - modules if not one.startswith(name))
    early = sorted(LATE & set(sys.modules))
    sys.modules.update(hidden)
    has_faces = all(importlib.util.find_spec(name) for name in FACES)
    seconds["faces"] = timed(lambda: import_all(*FACES)) if has_faces else 0.0
    counts = {"nodes": nodes[0], "objects": objects}
    print(json.dumps({"seconds": seconds, **counts, "early": early, "others": others}))


if __name__ == "__main__":
    main()
