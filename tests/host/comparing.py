"""How far predictions are apart."""

from __future__ import annotations

import torch


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Norm of the difference over the norm of what was wanted."""
    return ((found - wanted).norm() / wanted.norm()).item()
