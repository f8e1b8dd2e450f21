"""A stand-in ip-adapter for the tiny SDXL: real names, small projections, narrow Resampler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ...instantid_core.adapter import AdapterSize
from ...instantid_core.resampler import ResamplerSize
from ..tiny_adapter import CONTEXT_WIDTH, SIZE, state_dict

NARROW = AdapterSize(
    ResamplerSize(width=128, inner=128, hidden=512, output_width=CONTEXT_WIDTH), SIZE.channels
)


def make_adapters(pickle: Path, safetensors: Path, weights: Any) -> None:
    """Write the same adapter twice: as the official nested pickle and as flat safetensors.

    weights: (tensors by name, tag) -> tensors of the same names and shapes.
    """
    parts = state_dict(weights, NARROW)
    pickle.parent.mkdir(parents=True, exist_ok=True)
    torch.save(parts, pickle)
    flat = {f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()}
    save_file(flat, safetensors)
