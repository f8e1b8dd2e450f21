"""Random weights that neither explode nor vanish: they follow from tag, name and shape alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fill(shapes: Mapping[str, Tensor], tag: str) -> dict[str, Tensor]:
    """Return fp32 weights with the names and shapes of `shapes`.

    Biases: deviation 0.02; other vectors: mean 1, deviation 0.1; matrices and convolutions:
    deviation 1/sqrt(fan in); numbers: 1.
    """
    return {name: _draw(tensor.shape, f"{tag}:{name}") for name, tensor in shapes.items()}


def _draw(shape: torch.Size, name: str) -> Tensor:
    if len(shape) == 0:
        return torch.ones(())
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator)
    if name.endswith("bias"):
        return 0.02 * values
    if len(shape) == 1:
        return 1 + 0.1 * values
    return values / math.sqrt(shape[1:].numel())
