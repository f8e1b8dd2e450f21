"""Stand-in weights for golden numbers: every tensor follows from its tag, name and shape alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch


def fill(shapes: Mapping[str, torch.Tensor], tag: str) -> dict[str, torch.Tensor]:
    """Return fp32 weights with the names and shapes of `shapes`.

    Seeded per tensor by crc32 of "<tag>:<name>", drawn with NumPy's legacy generator, which never
    changes. Biases: deviation 0.02; other vectors: mean 1, deviation 0.1; `latents` and matrices:
    deviation 1/sqrt(fan in).
    """
    return {name: _draw(tensor.shape, name, tag) for name, tensor in shapes.items()}


def _draw(shape: torch.Size, name: str, tag: str) -> torch.Tensor:
    random = np.random.RandomState(zlib.crc32(f"{tag}:{name}".encode()))
    values = random.standard_normal(tuple(shape)).astype(np.float32)
    if name.endswith(".bias"):
        values *= np.float32(0.02)
    elif len(shape) <= 1:
        values = np.float32(1) + np.float32(0.1) * values
    elif name == "latents":
        values *= np.float32(1 / np.sqrt(shape[-1]))
    else:
        values *= np.float32(1 / np.sqrt(int(np.prod(shape[1:]))))
    return torch.from_numpy(values)
