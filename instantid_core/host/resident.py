"""K and V of the identities at work, on the compute device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..identity import IdentitySide
from ..unet_layout import UNetLayout


class Resident:
    """K and V of all terms on one device in one dtype; a side that terms have in common is there
    once.

    slots[i][p]: (U,2,N,C), what slot p needs of term i: U sides, K and V.
    """

    def __init__(
        self,
        sides_of_terms: Sequence[Sequence[IdentitySide]],
        layout: UNetLayout,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """sides_of_terms: of each term, the sides that its rows have."""
        self._device = device
        groups = _group_by_size(sides_of_terms)
        tables = {size: _table(sides, layout, device, dtype) for size, sides in groups.items()}
        self.slots: list[list[Tensor]] = []
        self._places: list[list[int]] = []
        for sides in sides_of_terms:
            size = sides[0].kv.numel()
            order = [id(side) for side in groups[size]]
            self._places.append([order.index(id(side)) for side in sides])
            self.slots.append(tables[size])
        self._rows: dict[tuple[tuple[int, ...], ...], Tensor] = {}

    def rows(self, sides: tuple[tuple[int, ...], ...]) -> Tensor:
        """(terms, B) int64: the place in `slots` of the side that each row has of each term.

        Made once for each order of sides, and moved to the device in one copy.
        """
        if sides not in self._rows:
            pairs = zip(self._places, sides, strict=True)
            places = [[places[side] for side in own] for places, own in pairs]
            self._rows[sides] = torch.tensor(places).to(self._device)
        return self._rows[sides]

    @property
    def nbytes(self) -> int:
        """Bytes held on the device."""
        tensors = {id(x): x for slots in self.slots for x in slots}
        return sum(x.nbytes for x in [*tensors.values(), *self._rows.values()])


def _group_by_size(each: Sequence[Sequence[IdentitySide]]) -> dict[int, list[IdentitySide]]:
    """Return the distinct sides of all terms, by the number of their K and V numbers."""
    groups: dict[int, dict[int, IdentitySide]] = {}
    for sides in each:
        for side in sides:
            groups.setdefault(side.kv.numel(), {})[id(side)] = side
    return {size: list(sides.values()) for size, sides in groups.items()}


def _table(
    sides: Sequence[IdentitySide], layout: UNetLayout, device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    """Put the sides on the device in one copy: (U,2,N,C) for each slot, each contiguous."""
    tokens = sides[0].tokens.shape[1]
    stacked = torch.stack([side.kv.to(dtype) for side in sides])  # (U, sum of 2*N*C)
    sizes = [2 * tokens * channels for channels in layout.channels]
    flat = torch.cat([part.flatten() for part in stacked.split(sizes, dim=1)]).to(device)
    parts = flat.split([len(sides) * size for size in sizes])
    return [part.view(len(sides), 2, tokens, -1) for part in parts]
