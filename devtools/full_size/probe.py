"""What a server holds in memory, asked over HTTP; the development-only nodes add the route.

GET MEMORY_ROUTE answers with the bytes of every live tensor and array that can be reached from an
object or a closure of Faithful InstantID, of all live tensors, and the open ONNX sessions. Nothing
is collected first: what is garbage but still there is counted.
"""

from __future__ import annotations

import gc
import os
import sys
import types
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from .report import MEMORY_ROUTE

# ComfyUI's own objects are not entered: what they hold is theirs (comfy.ops' layers are plain
# layers, and the adapter's modules are made of them).
FOREIGN = ("comfy.", "comfy_", "execution", "server", "logging", "threading", "asyncio", "aiohttp")
OWN_LAYERS = "comfy.ops"
IDENTITIES = ("Identity", "IdentitySide")


def module_of(thing: object) -> str:
    """Where a class or a function was written; "" where it does not tell."""
    name = getattr(thing, "__module__", "")
    return name if isinstance(name, str) else ""


def is_a(thing: object, kind: Any) -> bool:
    """isinstance without asking the object, which may be a proxy of something that is gone."""
    return issubclass(type(thing), kind)


def pack_prefix() -> str:
    """The package name ComfyUI gave the pack: a path, the same for all its modules."""
    for name in list(sys.modules):
        if name.endswith("instantid.instantid_core"):
            return name.removesuffix("instantid_core")
    raise RuntimeError("Faithful InstantID is not loaded in this server")


def kind_of(thing: object, prefix: str) -> str | None:
    """Return `identities`, `weights` or `other` of what is the pack's, None of all else."""
    kind = type(thing)
    if module_of(kind).startswith(prefix):
        if kind.__name__ in IDENTITIES:
            return "identities"
        return "weights" if is_a(thing, torch.nn.Module) else "other"
    is_own = is_a(thing, types.FunctionType) and module_of(thing).startswith(prefix)
    return "other" if is_own else None


def referents(thing: object) -> list[object]:
    """What an object holds; of a function not the names of its module."""
    found = gc.get_referents(thing)
    if isinstance(thing, types.FunctionType):
        names = thing.__globals__, thing.__builtins__
        found = [one for one in found if not any(one is known for known in names)]
    return found


def is_closed(thing: object) -> bool:
    """Whether the walk stops here: types, modules, frames, and ComfyUI's own objects."""
    if issubclass(type(thing), (type, types.ModuleType, types.FrameType)):
        return True
    module = module_of(type(thing))
    return module.startswith(FOREIGN) and module != OWN_LAYERS


def storages(start: Iterable[object]) -> dict[int, int]:
    """Map address to bytes of all tensor storages and arrays reachable from `start`."""
    found: dict[int, int] = {}
    stack, seen = list(start), set[int]()
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if is_a(thing, torch.Tensor):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        elif is_a(thing, np.ndarray):
            owner = thing if thing.base is None else thing.base
            found[id(owner)] = getattr(owner, "nbytes", thing.nbytes)
        elif not is_closed(thing):
            stack.extend(referents(thing))
    return found


def sessions(objects: Iterable[object]) -> list[int]:
    """The file sizes in bytes of the ONNX sessions that are open; 1 of one without a file."""
    kind = getattr(sys.modules.get("onnxruntime"), "InferenceSession", ())
    paths = [getattr(one, "_model_path", None) for one in objects if is_a(one, kind)]
    return [os.path.getsize(path) if path else 1 for path in paths]


def survey() -> dict[str, Any]:
    """Return the bytes the pack holds by kind, each counted once, and those of all tensors.

    objects: how many objects, functions and modules of the pack there are. tensors: of those that
    hold memory of their own on a device.
    """
    objects, prefix = gc.get_objects(), pack_prefix()
    starts: dict[str, list[object]] = {"identities": [], "weights": [], "other": []}
    for thing in objects:
        if (kind := kind_of(thing, prefix)) is not None:
            starts[kind].append(thing)
    modules = list(sys.modules.items())
    starts["other"] += [vars(module) for name, module in modules if name.startswith(prefix)]
    counted: set[int] = set()
    held: dict[str, int] = {}
    for kind, things in starts.items():
        reached = storages(things)
        held[kind] = sum(size for address, size in reached.items() if address not in counted)
        counted |= reached.keys()
    tensors = [one for one in objects if is_a(one, torch.Tensor) and one.device.type != "meta"]
    return {
        "pack": held,
        "objects": sum(map(len, starts.values())),
        "tensors": sum(storages(tensors).values()),
        "sessions": sessions(objects),
    }


def add_route() -> None:
    """Answer at MEMORY_ROUTE, if this process is a ComfyUI server."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    if hasattr(server, "instance"):
        from aiohttp import web

        @server.instance.routes.get(MEMORY_ROUTE)
        async def memory(_: web.Request) -> web.Response:
            return web.json_response(survey())
