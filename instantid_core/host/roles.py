"""Which side a row of a batch belongs to: a tag that rides with its conditioning.

A position in a batch is no sign of positive or negative: guiders evaluate either side anywhere.
A small tensor in `model_conds` is repeated, batched, concatenated and moved by ComfyUI together
with the row it belongs to, through every guider and into every ControlNet.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import comfy.conds
import torch

from ..log import log_once

KEY = "faithful_instantid_role"
NEGATIVE = 0
POSITIVE = 1
NO_AREA = (-1, -1)

_ROLE_OF_NAME = {
    "positive": POSITIVE,
    "middle": POSITIVE,
    "negative": NEGATIVE,
    "empty_negative_prompt": NEGATIVE,
}


class RoleTag(comfy.conds.CONDRegular):
    """(B,3) int32: the role of a row; the top and left of its area in latent cells, or NO_AREA.

    ComfyUI cuts the latent to the area of a conditioning, and tells only this object where.
    """

    def process_cond(self, batch_size: int, area: Sequence[int] | None = None, **_: Any) -> RoleTag:
        tag = self.cond.repeat(batch_size, 1)
        if area is not None:
            tag[:, 1:] = torch.tensor(area[-2:])
        return RoleTag(tag)


def tagged(cond: Mapping[str, Any], role: int) -> dict[str, Any]:
    """Return a copy of a conditioning's dict that carries `role`; a tag that is there stays."""
    model_conds = cond.get("model_conds", {})
    if KEY in model_conds:
        return dict(cond)
    tag = RoleTag(torch.tensor([[role, *NO_AREA]], dtype=torch.int32))
    return {**cond, "model_conds": {**model_conds, KEY: tag}}


def role_of_name(name: str) -> int:
    """Return the role of a guider's conditioning by the name the guider gives it."""
    known = _ROLE_OF_NAME.get(name)
    if known is not None:
        return known
    lowered = name.lower()
    role = NEGATIVE if "neg" in lowered or "uncond" in lowered else POSITIVE
    side = "negative" if role == NEGATIVE else "positive"
    log_once(f"An unknown guider names a conditioning '{name}': InstantID takes it as {side}.")
    return role


def tag_all(conds: MutableMapping[str, list[dict[str, Any]]]) -> None:
    """Tag every conditioning that a guider holds for this run, by its name; a tag stays."""
    for name, entries in conds.items():
        role = role_of_name(name)
        conds[name] = [tagged(entry, role) for entry in entries]
