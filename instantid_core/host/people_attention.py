"""Several people in one call of IdentityNet: every cell attends to its own person's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mask_layout import MaskLayout, View, packed_to
from ..masks import Grid, grid_of, halved
from ..people import PeopleMasks
from ..unet_layout import Family
from .adapter_call import attend_exactly


class PeopleCells:
    """How much each cell of a layer's grid belongs to each of several people, summing to 1.

    A cell that is nobody's belongs to all alike: what it gets there is masked out of IdentityNet's
    residuals, but its neighbours see it on the way.
    """

    def __init__(self, people: PeopleMasks, counts: tuple[int, ...], family: Family) -> None:
        """counts: how many tokens each person has. family: the ControlNet's."""
        self.counts = list(counts)
        self.family = family
        self._layout = MaskLayout(people)

    def for_call(self, view: View, like: Tensor) -> dict[Grid, Tensor]:
        """Return (P, B or 1, h*w, 1) for every grid of a call, moved to the device in one copy."""
        grids = list(dict.fromkeys(halved(view.latent, times) for times in self.family.levels))
        moved = packed_to(self.over(grids, view), like)
        return dict(zip(grids, moved, strict=True))

    def over(self, grids: Sequence[Grid], view: View) -> list[Tensor]:
        """Return (P, B or 1, h*w, 1) for each grid, on the CPU."""
        cells: list[Tensor] = []
        for laid in self._layout.over(grids, view):
            total = laid.sum(dim=0)
            own = torch.where(total > 0, laid / total.clamp(min=1e-6), 1.0 / len(laid))
            cells.append(own.flatten(2)[..., None])
        return cells


@dataclass(frozen=True, eq=False)
class PeopleAttention:
    """The cross-attention of a layer whose context is the tokens of several people in a row."""

    cells: PeopleCells
    view: View
    laid: dict[Grid, Tensor]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        """q (B,n,C), k and v (B,P*N,C) -> (B,n,C)."""
        grid = grid_of(q.shape[1], extra_options.get("activations_shape"), self.view.latent)
        if grid not in self.laid:
            (own,) = self.cells.over([grid], self.view)
            self.laid[grid] = own.to(q)
        counts = self.cells.counts
        people = zip(
            k.split(counts, dim=1), v.split(counts, dim=1), self.laid[grid].unbind(), strict=True
        )
        out = torch.zeros_like(q)
        for own_k, own_v, own in people:
            out.addcmul_(attend_exactly(q, own_k, own_v, extra_options), own)
        return out


def replacements(attention: PeopleAttention) -> dict[str, Any]:
    """Return transformer options for a ControlNet's blocks."""
    blocks = {slot[:2] for slot in attention.cells.family.control_slots}
    return {"patches_replace": {"attn2": {block: attention for block in blocks}}}
