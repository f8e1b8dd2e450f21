"""What a server holds in memory, asked over HTTP: a development node pack of one route.

The rehearsal puts this file into its server's custom_nodes. GET /rehearsal/memory answers with the
bytes of every live tensor and array that can be reached from an object or a closure of Faithful
InstantID, of all live tensors, and the open ONNX sessions. Nothing is collected first: what is
garbage but still there is counted.
"""

from __future__ import annotations

import gc
import os
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

# ComfyUI's own objects are not entered: what they hold is theirs (comfy.ops' layers are plain
# layers, and the adapter's modules are made of them).
FOREIGN = ("comfy.", "comfy_", "execution", "server", "logging", "threading", "asyncio", "aiohttp")
OWN_LAYERS = "comfy.ops"
IDENTITIES = ("Identity", "IdentitySide")


def module_of(kind: type) -> str:
    name = getattr(kind, "__module__", "")
    return name if isinstance(name, str) else ""


def is_a(thing: object, kind: type) -> bool:
    """isinstance without asking the object, which may be a proxy of something that is gone."""
    return issubclass(type(thing), kind)


def pack_prefix() -> str:
    """The package name ComfyUI gave the pack: a path, the same for all its modules."""
    ending = ".instantid_core"
    for name in list(sys.modules):
        if name.endswith(ending):
            return name.removesuffix(ending) + "."
    raise RuntimeError("Faithful InstantID is not loaded in this server")


def roots(prefix: str, objects: Iterable[object]) -> Iterator[tuple[str, object]]:
    """Yield (kind, object): `identities`, `weights` or `other`, for all that is the pack's."""
    for thing in objects:
        kind = type(thing)
        if module_of(kind).startswith(prefix):
            if kind.__name__ in IDENTITIES:
                yield "identities", thing
            elif is_a(thing, torch.nn.Module):
                yield "weights", thing
            else:
                yield "other", thing
        elif is_a(thing, types.FunctionType) and _written_in(thing, prefix):
            yield "other", thing
    for name, module in list(sys.modules.items()):
        if name.startswith(prefix):
            yield "other", vars(module)


def _written_in(function: object, prefix: str) -> bool:
    module = getattr(function, "__module__", None)
    return isinstance(module, str) and module.startswith(prefix)


def referents(thing: object) -> list[object]:
    """What an object holds; of a function only its closure and defaults, never its module."""
    if isinstance(thing, types.FunctionType):
        cells = [cell for cell in thing.__closure__ or () if _is_set(cell)]
        return [cell.cell_contents for cell in cells] + [thing.__defaults__, thing.__kwdefaults__]
    return gc.get_referents(thing)


def _is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (an empty cell raises)
    except ValueError:
        return False
    return True


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
    """The file sizes in bytes of the ONNX sessions that are open."""
    kind = getattr(sys.modules.get("onnxruntime"), "InferenceSession", None)
    if kind is None:
        return []
    opened = [thing for thing in objects if is_a(thing, kind)]
    paths = [getattr(session, "_model_path", None) for session in opened]
    return [os.path.getsize(path) if path else 0 for path in paths]


def survey() -> dict[str, Any]:
    """Return the bytes the pack holds by kind, each counted once, and those of all tensors.

    objects: how many objects, functions and modules of the pack there are.
    """
    objects = gc.get_objects()
    starts: dict[str, list[object]] = {"identities": [], "weights": [], "other": []}
    for kind, thing in roots(pack_prefix(), objects):
        starts[kind].append(thing)
    counted: set[int] = set()
    held: dict[str, int] = {}
    for kind, things in starts.items():
        reached = storages(things)
        held[kind] = sum(size for address, size in reached.items() if address not in counted)
        counted |= reached.keys()
    tensors = sum(storages(live_tensors(objects)).values())
    count = sum(len(things) for things in starts.values())
    return {"pack": held, "objects": count, "tensors": tensors, "sessions": sessions(objects)}


def live_tensors(objects: Iterable[object]) -> Iterator[torch.Tensor]:
    """Yield the tensors that hold memory of their own on a device."""
    for thing in objects:
        if is_a(thing, torch.Tensor) and thing.device.type != "meta":
            yield thing


async def comfy_entrypoint() -> Any:
    """Add the route to ComfyUI's server; there are no nodes."""
    from aiohttp import web
    from comfy_api.latest import ComfyExtension
    from server import PromptServer

    @PromptServer.instance.routes.get("/rehearsal/memory")
    async def memory(_: web.Request) -> web.Response:
        return web.json_response(survey())

    class Probe(ComfyExtension):
        async def get_node_list(self) -> list[Any]:
            return []

    return Probe()
