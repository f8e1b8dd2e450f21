"""Which side a row of a batch belongs to: a tag that rides with its conditioning.

A position in a batch is no sign of positive or negative: guiders evaluate either side anywhere.
A small tensor in `model_conds` is repeated, batched, concatenated and moved by ComfyUI together
with the row it belongs to, through every guider and into every ControlNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.conds
import torch

KEY = "faithful_instantid_role"
NEGATIVE = 0
POSITIVE = 1


def tagged(cond: Mapping[str, Any], role: int) -> dict[str, Any]:
    """Return a copy of a conditioning's dict that carries `role`; a tag that is there stays."""
    model_conds = cond.get("model_conds", {})
    if KEY in model_conds:
        return dict(cond)
    tag = comfy.conds.CONDRegular(torch.tensor([[float(role)]]))
    return {**cond, "model_conds": {**model_conds, KEY: tag}}


def role_of_name(name: str) -> int:
    """Return the role of a guider's conditioning by the name the guider gives it."""
    lowered = name.lower()
    return NEGATIVE if "neg" in lowered or "uncond" in lowered else POSITIVE
