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

from ..identity import Identity
from ..log import log_once

KEY = "faithful_instantid_role"
NEGATIVE = 0
POSITIVE = 1
FIRST_PERSON = 2  # from here on: positive, with a person that the conditioning carries
PERSON = "faithful_instantid_person"  # in a conditioning's dict: the Identity it carries
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

    @classmethod
    def of(cls, role: int) -> RoleTag:
        """Return the tag of one row without an area."""
        return cls(torch.tensor([[role, *NO_AREA]], dtype=torch.int32))

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
    return {**cond, "model_conds": {**model_conds, KEY: RoleTag.of(role)}}


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


def tag_all(conds: MutableMapping[str, list[dict[str, Any]]]) -> list[Identity]:
    """Tag every conditioning that a guider holds for this run, by its name; a tag stays.

    Returns the people that conditionings carry, in the order of their roles from FIRST_PERSON on.
    """
    people: list[Identity] = []
    for name, entries in conds.items():
        role = role_of_name(name)
        conds[name] = [_tagged_for_run(entry, role, people) for entry in entries]
    return people


def _tagged_for_run(entry: Mapping[str, Any], role: int, people: list[Identity]) -> dict[str, Any]:
    """Tag one conditioning with its side, or with the person it carries, who joins `people`."""
    result = tagged(entry, role)
    person: Identity | None = entry.get(PERSON)
    if person is None or role_of(result) != POSITIVE:
        return result
    if person not in people:
        people.append(person)
    tag = RoleTag.of(FIRST_PERSON + people.index(person))
    return {**result, "model_conds": {**result["model_conds"], KEY: tag}}


def role_of(cond: Mapping[str, Any]) -> int:
    """Return the role a tagged conditioning carries."""
    return int(cond["model_conds"][KEY].cond[0, 0])
