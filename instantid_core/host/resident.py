"""K and V of the identities at work, on the compute device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..identity import IdentitySide
from ..unet_layout import UNetLayout

KV = tuple[Tensor, Tensor]  # K and V, (R,N,C) each: every one of R sides is that of B/R rows


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
        self._views: dict[tuple[int, tuple[int, ...]], list[KV]] = {}

    def kv(self, term: int, rows: tuple[int, ...]) -> list[KV]:
        """Return K and V of a term for the rows of a call, of every slot.

        rows: of each the number of its side, as `sides_of_terms` lists them.

        Rows in a row that have the same side share it, so that the size of a batch takes no
        memory. Sides that lie evenly in the tables, as those of negative and positive rows do, are
        views of them, made once. Others are gathered here, once for a call, and go with it.
        """
        found = self._views.get((term, rows))
        if found is None:
            places = _without_repeats([self._places[term][side] for side in rows])
            even = _as_slice(places)
            pick = torch.tensor(places).to(self._device) if even is None else even
            found = [_pair(slot, pick) for slot in self.slots[term]]
            if even is not None:
                self._views[term, rows] = found
        return found

    @property
    def nbytes(self) -> int:
        """Bytes held on the device."""
        tensors = {id(x): x for slots in self.slots for x in slots}
        return sum(x.nbytes for x in tensors.values())


def _without_repeats(places: Sequence[int]) -> list[int]:
    """Return the places of rows, one for as many rows in a row as possible."""
    each = math.gcd(*(len(list(run)) for _, run in itertools.groupby(places)))
    return list(places[::each])


def _as_slice(places: Sequence[int]) -> slice | None:
    """Return the slice that takes these places, in this order; None if none does."""
    first, last = places[0], places[-1]
    step = places[1] - first if len(places) > 1 else 1
    even = step > 0 and list(places) == list(range(first, last + 1, step))
    return slice(first, last + 1, step) if even else None


def _pair(slot: Tensor, pick: slice | Tensor) -> KV:
    """(U,2,N,C) -> K and V of the sides that are picked."""
    picked = slot[pick] if isinstance(pick, slice) else slot.index_select(0, pick)
    k, v = picked.unbind(1)
    return k, v


def _group_by_size(each: Sequence[Sequence[IdentitySide]]) -> dict[int, list[IdentitySide]]:
    """Return the distinct sides of all terms, by the number of their K and V numbers.

    Those of one role stand together, negative ones first, as ComfyUI puts the rows of a call.
    """
    groups: dict[int, dict[int, IdentitySide]] = {}
    for of_role in itertools.zip_longest(*each):  # those of persons who change are more
        for side in of_role:
            if side is not None:
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
