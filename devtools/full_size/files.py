"""Write the large model files with random weights, in the formats of the originals.

Needs ComfyUI on sys.path, whose own models say what is in the files (see layouts).
The numbers are scaled by their fan-in, so that activations stay finite in every dtype; they mean
nothing. Safetensors files are written tensor by tensor: no more than a few megabytes are held.
"""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch

from ..download_models import FILES
from . import layouts

BLOCK = 1_048_573  # a prime, so that no two rows of a matrix are the same numbers
CHECKPOINT = "checkpoints/sd_xl_base_1.0.safetensors"
ADAPTER, IDENTITYNET, DETECTOR, RECOGNISER = (file.path for file in FILES)

# Bytes of the published files, from public listings; what is made here comes within a thousandth.
PUBLISHED = {CHECKPOINT: 6_938_078_334, **{file.path: file.size for file in FILES}}


def scale_of(name: str, shape: layouts.Shape) -> tuple[float, float]:
    """Return mean and spread: norms near one, biases small, matrices by their fan-in."""
    if name.endswith("logit_scale"):
        return 4.6, 0.0
    if name.endswith("bias"):
        return 0.0, 0.01
    if len(shape) == 1:
        return 1.0, 0.02
    if "embedding" in name and "linear" not in name or name.endswith("latents"):
        return 0.0, 0.02
    return 0.0, prod(shape[1:]) ** -0.5


def normal_block(seed: int) -> np.ndarray:
    """(BLOCK,) float32 normal numbers, cut at three so that no extreme one is repeated often."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal(BLOCK, dtype=np.float32).clip(-3, 3)


def header(layout: layouts.Layout, integers: Mapping[str, np.ndarray]) -> bytes:
    """The safetensors header of float16 tensors in order of name, padded to eight bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, shape in sorted(layout.items()):
        dtype, width = ("I64", 8) if name in integers else ("F16", 2)
        end = begin + width * prod(shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_safetensors(
    path: Path, layout: layouts.Layout, seed: int, integers: Mapping[str, np.ndarray]
) -> None:
    """Write float16 random numbers for `layout`; tensors named in `integers` as they are given."""
    block = normal_block(seed)
    with path.open("wb") as file:
        file.write(header(layout, integers))
        for name in sorted(layout):
            if name in integers:
                file.write(integers[name].astype("<i8").tobytes())
                continue
            mean, spread = scale_of(name, layout[name])
            whole, rest = divmod(prod(layout[name]), BLOCK)
            slab = (block * spread + mean).astype("<f2").tobytes()
            for _ in range(whole):
                file.write(slab)
            file.write(slab[: 2 * rest])


def write_adapter(path: Path) -> None:
    """ip-adapter.bin: a zip pickle of two dictionaries of float32 tensors. Holds 1.7 GB."""
    block = normal_block(3)

    def filled(name: str, shape: layouts.Shape) -> torch.Tensor:
        mean, spread = scale_of(name, shape)
        return torch.from_numpy(np.resize(block, shape)).mul_(spread).add_(mean)

    parts = layouts.adapter().items()
    made = {part: {k: filled(k, shape) for k, shape in own.items()} for part, own in parts}
    torch.save(made, path)


def write_face_model(name: str, path: Path) -> None:
    """A stand-in that finds or tells apart drawn faces, at the size of the real file."""
    faces = importlib.import_module("..standins.faces", __package__)
    {DETECTOR: faces.make_detector, RECOGNISER: faces.make_recogniser}[name](path)
    add_ballast(path, PUBLISHED[name])


def add_ballast(path: Path, size: int) -> None:
    """Grow an ONNX file to `size` bytes with numbers that the session has to keep.

    The first output gets zero times one of them added, chosen by an index that only the input
    tells, so that no optimisation can drop or fold them; what comes out stays the same.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    width = 1024
    model = onnx.load(path)
    rows = (size - path.stat().st_size) // (4 * width)
    numbers = np.resize(normal_block(4), (rows, width))
    graph, output = model.graph, model.graph.output[0].name
    bare = f"{output}_bare"
    for one in graph.node:
        one.output[:] = [bare if name == output else name for name in one.output]
        one.input[:] = [bare if name == output else name for name in one.input]
    graph.initializer.append(numpy_helper.from_array(numbers, "ballast"))
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "ballast_zero"))
    node = helper.make_node
    graph.node.extend(
        [
            node("ReduceMax", [graph.input[0].name], ["ballast_max"], keepdims=0),
            node("Mul", ["ballast_max", "ballast_zero"], ["ballast_start"]),
            node("Cast", ["ballast_start"], ["ballast_row"], to=TensorProto.INT64),
            node("Gather", ["ballast", "ballast_row"], ["ballast_found"]),
            node("ReduceMax", ["ballast_found"], ["ballast_one"], keepdims=0),
            node("Mul", ["ballast_one", "ballast_zero"], ["ballast_nothing"]),
            node("Add", [bare, "ballast_nothing"], [output]),
        ]
    )
    onnx.save(model, path)


WRITERS: dict[str, Callable[[Path], None]] = {
    CHECKPOINT: lambda path: write_safetensors(
        path, layouts.checkpoint(), 1, {layouts.POSITION_IDS: np.arange(77)[None]}
    ),
    IDENTITYNET: lambda path: write_safetensors(path, layouts.identitynet(), 2, {}),
    ADAPTER: write_adapter,
    DETECTOR: partial(write_face_model, DETECTOR),
    RECOGNISER: partial(write_face_model, RECOGNISER),
}


def is_complete(models: Path, name: str) -> bool:
    """A file counts as made when it has the published size within a thousandth."""
    path = models / name
    return path.is_file() and abs(path.stat().st_size / PUBLISHED[name] - 1) < 1e-3


def make(models: Path, name: str) -> None:
    """Write a file, unless it is there, under a temporary name first."""
    if is_complete(models, name):
        return
    path = models / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    WRITERS[name](part)
    part.replace(path)
    if not is_complete(models, name):
        raise SystemExit(
            f"{path} was made with {path.stat().st_size:,} bytes, but the published file has "
            f"{PUBLISHED[name]:,}. The layout in devtools/full_size/layouts.py must have changed."
        )
