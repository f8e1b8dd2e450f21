"""Trained weights in 8 bit: every row of a matrix has its own scale, vectors are kept in fp16."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = Path(__file__).resolve().parent / "weights.safetensors"
SCALE = ":scale"


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return 8 bit tensors under the same names and the rows' scales beside them."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            out[name] = tensor.half()
            continue
        rows = tensor.float().flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp(min=1e-8).half()
        out[name] = (
            (rows / scale.float()[:, None]).round().clamp(-127, 127).char().view(tensor.shape)
        )
        out[name + SCALE] = scale
    return out


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return fp32 tensors; the inverse of `pack`, up to rounding."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        scale = tensors.get(name + SCALE)
        values = tensor.float()
        if scale is not None:
            values = (values.flatten(1) * scale.float()[:, None]).view(tensor.shape)
        out[name] = values.contiguous()
    return out


def save(nets: Mapping[str, Mapping[str, Tensor]], path: Path = FILE) -> None:
    """Write the weights of several nets by name: `recogniser`, `chain`, ..."""
    flat = {f"{net}/{name}": t for net, tensors in nets.items() for name, t in tensors.items()}
    save_file({k: v.contiguous() for k, v in pack(flat).items()}, path)


def load(path: Path = FILE) -> dict[str, dict[str, Tensor]]:
    """Return the weights of each net by name, in fp32."""
    out: dict[str, dict[str, Tensor]] = {}
    for key, tensor in unpack(load_file(path)).items():
        net, name = key.split("/", 1)
        out.setdefault(net, {})[name] = tensor
    return out
