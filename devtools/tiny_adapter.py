"""The adapter file that fits the tiny SDXL: the real Resampler, 70 small K and V projections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..instantid_core.adapter import AdapterModule, AdapterSize
from ..instantid_core.resampler import ResamplerSize
from ..instantid_core.unet_layout import SDXL

# Makes the tensors of one part, `image_proj` or `ip_adapter`, from names and shapes.
PartWeights = Callable[[Mapping[str, torch.Tensor], str], dict[str, torch.Tensor]]

CONTEXT_WIDTH = 64
# ComfyUI's blocks 4, 5 and output 3 to 5 have 64 channels, the deeper ones 128.
WIDE = (("input", 7), ("input", 8), ("output", 0), ("output", 1), ("output", 2), ("middle", 0))
SIZE = AdapterSize(
    ResamplerSize(output_width=CONTEXT_WIDTH),
    tuple(128 if slot[:2] in WIDE else 64 for slot in SDXL.slots),
)
# The same with a Resampler so narrow that a file of it is made in a moment.
NARROW = AdapterSize(
    ResamplerSize(width=128, inner=128, hidden=512, output_width=CONTEXT_WIDTH), SIZE.channels
)


def state_dict(
    weights: PartWeights, size: AdapterSize = SIZE
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the content of a tiny ip-adapter.bin: {"image_proj": ..., "ip_adapter": ...}."""
    module = AdapterModule(size, torch.nn, device=torch.device("meta"))
    return {
        "image_proj": weights(module.image_proj.state_dict(), "image_proj"),
        "ip_adapter": weights(module.ip_adapter.state_dict(), "ip_adapter"),
    }


def make_adapters(pickle: Path, safetensors: Path, weights: PartWeights) -> None:
    """Write the same adapter twice: as the official nested pickle and as flat safetensors."""
    parts = state_dict(weights, NARROW)
    pickle.parent.mkdir(parents=True, exist_ok=True)
    torch.save(parts, pickle)
    flat = {f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()}
    save_file(flat, safetensors)
