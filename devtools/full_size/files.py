"""Write the large model files with random weights, in the formats of the originals.

Needs ComfyUI on sys.path, whose own models say what is in the files (see layouts).
The numbers are scaled by their fan-in, so that activations stay finite in every dtype; they mean
nothing. Safetensors files are written tensor by tensor: no more than a few megabytes are held.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
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
    offset = 0
    for name in sorted(layout):
        dtype, width = ("I64", 8) if name in integers else ("F16", 2)
        end = offset + width * prod(layout[name])
        entries[name] = {
            "dtype": dtype,
            "shape": list(layout[name]),
            "data_offsets": [offset, end],
        }
        offset = end
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


def write_checkpoint(path: Path) -> None:
    """The SDXL base checkpoint in float16, as CheckpointLoaderSimple reads it."""
    position_ids = np.arange(layouts.PROMPT_TOKENS)[None]
    write_safetensors(path, layouts.checkpoint(), 1, {layouts.POSITION_IDS: position_ids})


def write_identitynet(path: Path) -> None:
    """IdentityNet in float16 under the names of diffusers."""
    write_safetensors(path, layouts.identitynet(), 2, {})


def write_adapter(path: Path) -> None:
    """ip-adapter.bin: a zip pickle of two dictionaries of float32 tensors. Holds 1.7 GB."""
    block = normal_block(3)

    def filled(name: str, shape: layouts.Shape) -> torch.Tensor:
        mean, spread = scale_of(name, shape)
        return torch.from_numpy(np.resize(block, shape)).mul_(spread).add_(mean)

    parts = layouts.adapter().items()
    made = {part: {k: filled(k, shape) for k, shape in own.items()} for part, own in parts}
    torch.save(made, path)


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
    for node in graph.node:
        node.output[:] = [f"{output}_bare" if name == output else name for name in node.output]
        node.input[:] = [f"{output}_bare" if name == output else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(numbers, "ballast"))
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "ballast_zero"))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", [graph.input[0].name], ["ballast_max"], keepdims=0),
            helper.make_node("Mul", ["ballast_max", "ballast_zero"], ["ballast_start"]),
            helper.make_node("Cast", ["ballast_start"], ["ballast_row"], to=TensorProto.INT64),
            helper.make_node("Gather", ["ballast", "ballast_row"], ["ballast_found"]),
            helper.make_node("ReduceMax", ["ballast_found"], ["ballast_one"], keepdims=0),
            helper.make_node("Mul", ["ballast_one", "ballast_zero"], ["ballast_nothing"]),
            helper.make_node("Add", [f"{output}_bare", "ballast_nothing"], [output]),
        ]
    )
    onnx.save(model, path)


WRITERS: dict[str, Callable[[Path], None]] = {
    CHECKPOINT: write_checkpoint,
    IDENTITYNET: write_identitynet,
    ADAPTER: write_adapter,
}


def is_complete(models: Path, name: str) -> bool:
    """A file counts as made when it has the published size within a thousandth."""
    path = models / name
    return path.is_file() and abs(path.stat().st_size / PUBLISHED[name] - 1) < 1e-3


def missing(models: Path) -> list[str]:
    """Which of the files still have to be made."""
    return [name for name in PUBLISHED if not is_complete(models, name)]


def make(models: Path, name: str, writer: Callable[[Path], None]) -> None:
    """Write one file under a temporary name and move it into place when it is complete."""
    path = models / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    writer(part)
    shutil.move(part, path)
    if not is_complete(models, name):
        raise SystemExit(
            f"{path} was made with {path.stat().st_size:,} bytes, but the published file has "
            f"{PUBLISHED[name]:,}. The layout in devtools/full_size/layouts.py must have changed."
        )
