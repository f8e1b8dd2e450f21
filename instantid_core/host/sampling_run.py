"""What one sampling run keeps: K and V on the compute device, windows in sigmas, masks on grids.

A run is made when sampling begins and is garbage when it ends; nothing of it outlives the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..identity import Identity, IdentitySide
from ..masks import Mask, frames_for, grid_of, is_all, on_grid, rendered
from ..unet_layout import UNetLayout

LATENT_SCALE = 8
Grid = tuple[int, int]


@dataclass(frozen=True, eq=False)
class AdapterTerm:
    """One identity on a MODEL; never changed after it was made. Several terms add up.

    weights: one per slot, in the order of SLOTS; 0 leaves that slot alone.
    start_percent, end_percent: 0..1 of the sampling; the term is at work in between.
    mask: (F,H,W) float32 0..1, or a Region; None is everywhere. smooth_mask: laid over the layers'
    grids bilinearly instead of by nearest neighbour.
    """

    identity: Identity
    layout: UNetLayout
    weights: tuple[float, ...]
    start_percent: float
    end_percent: float
    mask: Mask | None
    smooth_mask: bool = False

    @property
    def has_window(self) -> bool:
        """Whether the term may be off at some step."""
        return self.start_percent > 0.0 or self.end_percent < 1.0


class Resident:
    """K and V of all terms on one device in one dtype; a side that terms share is there once.

    slots[i][p]: (U,2,N,C), what slot p needs of term i: U sides, K and V.
    rows[i]: (2,) int64, the side of term i in `slots` for each role (negative, positive).
    """

    def __init__(
        self, terms: Sequence[AdapterTerm], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.slots: list[list[Tensor]] = []
        self.rows: list[Tensor] = []
        groups = _group_by_size(terms)
        tables = {size: _table(terms, sides, device, dtype) for size, sides in groups.items()}
        for term in terms:
            size = term.identity.positive.kv.numel()
            order = [id(side) for side in groups[size]]
            sides = (term.identity.negative, term.identity.positive)
            self.rows.append(torch.tensor([order.index(id(s)) for s in sides], device=device))
            self.slots.append(tables[size])


def _group_by_size(terms: Sequence[AdapterTerm]) -> dict[int, list[IdentitySide]]:
    """Return the distinct sides of all terms, by the number of their K and V numbers."""
    groups: dict[int, dict[int, IdentitySide]] = {}
    for term in terms:
        for side in (term.identity.negative, term.identity.positive):
            groups.setdefault(side.kv.numel(), {})[id(side)] = side
    return {size: list(sides.values()) for size, sides in groups.items()}


def _table(
    terms: Sequence[AdapterTerm],
    sides: Sequence[IdentitySide],
    device: torch.device,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Put the sides on the device in one copy: (U,2,N,C) for each slot, each contiguous."""
    layout = terms[0].layout
    tokens = sides[0].tokens.shape[1]
    stacked = torch.stack([side.kv.to(dtype) for side in sides])  # (U, sum of 2*N*C)
    sizes = [2 * tokens * channels for channels in layout.channels]
    flat = torch.cat([part.flatten() for part in stacked.split(sizes, dim=1)]).to(device)
    parts = flat.split([len(sides) * size for size in sizes])
    return [part.view(len(sides), 2, tokens, -1) for part in parts]


class SamplingRun:
    """The state of one sampling run for the terms of one MODEL."""

    def __init__(self, terms: tuple[AdapterTerm, ...], model_sampling: Any | None = None) -> None:
        """model_sampling: ComfyUI's, to turn percents into sigmas; None: timesteps are used."""
        self.terms = terms
        self._in_sigmas = model_sampling is not None
        to_noise = model_sampling.percent_to_sigma if model_sampling else _percent_to_timestep
        self._windows = [
            (float(to_noise(t.start_percent)), float(to_noise(t.end_percent))) for t in terms
        ]
        self._residents: dict[tuple[torch.device, torch.dtype], Resident] = {}
        self._masks: dict[tuple[int, Grid], RunMask] = {}

    def resident(self, device: torch.device, dtype: torch.dtype) -> Resident:
        """Return K and V on `device` in `dtype`, copied there at the first call."""
        key = (device, dtype)
        if key not in self._residents:
            self._residents[key] = Resident(self.terms, device, dtype)
        return self._residents[key]

    def open_terms(self, options: Mapping[str, Any], timesteps: Tensor) -> list[int]:
        """Return the terms whose window is open; reads the device once, if one has a window."""
        if not any(term.has_window for term in self.terms):
            return list(range(len(self.terms)))
        levels = options["sigmas"] if self._in_sigmas else timesteps
        level = float(levels.flatten()[0])
        return [
            i
            for i, (start, end) in enumerate(self._windows)
            if not self.terms[i].has_window or end <= level <= start
        ]

    def mask(self, index: int, latent: Grid) -> RunMask:
        """Return the mask of a term for a latent of (height, width) cells."""
        key = (index, latent)
        if key not in self._masks:
            term = self.terms[index]
            self._masks[key] = RunMask(term.mask, latent, smooth=term.smooth_mask)
        return self._masks[key]


def _percent_to_timestep(percent: float) -> float:
    """Return the timestep, 999 to 0, at a share of the sampling; for callers without a guider."""
    return (1.0 - percent) * 999.0


class RunMask:
    """The mask of one term at one sampling size, on the grid of every layer that asked."""

    def __init__(self, mask: Mask | None, latent: Grid, *, smooth: bool = False) -> None:
        height, width = latent
        self._smooth = smooth
        self._latent = latent
        self._frames: Tensor | None = None
        self._cache: dict[Any, Tensor] = {}
        self.is_empty = False
        if term.mask is not None:
            frames = rendered(term.mask, width * LATENT_SCALE, height * LATENT_SCALE)
            self.is_empty = is_all(frames, 0.0)
            self._frames = None if is_all(frames, 1.0) else frames

    def on_layer(
        self, q: Tensor, activations: Sequence[int] | None, frames: Sequence[int]
    ) -> Tensor | None:
        """Return the mask for the queries of a layer, (B or 1, n, 1) in their dtype; None: all.

        q: (B,n,C). activations: shape (B,C,h,w) of the block's activations, where known.
        frames: the batch index of each row of one chunk; B is a multiple of its length.
        """
        if self._frames is None:
            return None
        known = (activations[-2], activations[-1]) if activations is not None else None
        grid = grid_of(q.shape[1], known, self._latent)
        key = (grid, tuple(frames), q.shape[0], q.device, q.dtype)
        if key not in self._cache:
            picked = frames_for(on_grid(self._frames, *grid, smooth=self._smooth), list(frames))
            if picked.shape[0] > 1:
                picked = picked.repeat(q.shape[0] // picked.shape[0], 1, 1)
            self._cache[key] = picked.to(device=q.device, dtype=q.dtype)
        return self._cache[key]
