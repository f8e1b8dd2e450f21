"""What one sampling run keeps: K and V on the compute device, windows in sigmas, masks on grids.

A run is made when sampling begins and is garbage when it ends; nothing of it outlives the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import WrongInputError
from ..identity import Identity, IdentitySide
from ..masks import Grid, LaidMask, Mask, grid_of, is_all, laid, on_grid, rendered, resized
from ..people import PersonRegion, Together
from ..unet_layout import UNetLayout
from ..weighting import PercentTable, WeightCurve

LATENT_SCALE = 8


@dataclass(frozen=True, eq=False)
class AdapterTerm:
    """One identity on a MODEL; never changed after it was made. Several terms add up.

    weights: one per slot, in the order of SLOTS; 0 leaves that slot alone.
    start_percent, end_percent: 0..1 of the sampling; the term is at work in between.
    mask: (F,H,W) float32 0..1, or a Region; None is everywhere. smooth_mask: laid over the layers'
    grids bilinearly instead of by nearest neighbour. curve: a factor over the sampling.
    """

    identity: Identity
    layout: UNetLayout
    weights: tuple[float, ...]
    start_percent: float
    end_percent: float
    mask: Mask | None
    smooth_mask: bool = False
    curve: WeightCurve | None = None

    @property
    def has_window(self) -> bool:
        """Whether the term may be off at some step."""
        return self.start_percent > 0.0 or self.end_percent < 1.0


class Resident:
    """K and V of all terms on one device in one dtype; a side that terms share is there once.

    slots[i][p]: (U,2,N,C), what slot p needs of term i: U sides, K and V.
    rows[i]: (2 + people,) int64, the side of term i in `slots` for each role: negative, positive,
    and each person that a conditioning carries.
    """

    def __init__(
        self,
        terms: Sequence[AdapterTerm],
        carried: Sequence[Identity],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.slots: list[list[Tensor]] = []
        self.rows: list[Tensor] = []
        each = [_sides(terms, i, carried) for i in range(len(terms))]
        groups = _group_by_size(each)
        tables = {size: _table(terms, sides, device, dtype) for size, sides in groups.items()}
        for sides in each:
            size = sides[0].kv.numel()
            order = [id(side) for side in groups[size]]
            self.rows.append(torch.tensor([order.index(id(s)) for s in sides], device=device))
            self.slots.append(tables[size])

    @property
    def nbytes(self) -> int:
        """Bytes held on the device."""
        tensors = {id(x): x for slots in self.slots for x in slots} | {id(x): x for x in self.rows}
        return sum(x.nbytes for x in tensors.values())


def _sides(
    terms: Sequence[AdapterTerm], index: int, carried: Sequence[Identity]
) -> list[IdentitySide]:
    """Return what a term gives to the rows of each role.

    Rows whose conditioning carries a person get that person from the first term, and nothing from
    the others: K and V of zeros, which attention turns into zeros.
    """
    own = terms[index].identity
    if not carried:
        return [own.negative, own.positive]
    if any(person.positive.kv.numel() != own.positive.kv.numel() for person in carried):
        raise WrongInputError(
            "A conditioning carries a person with another number of face tokens than the model's. "
            "Encode both with the same `combine`."
        )
    if index == 0:
        return [own.negative, own.positive, *(person.positive for person in carried)]
    nothing = IdentitySide(own.positive.tokens, torch.zeros_like(own.positive.kv))
    return [own.negative, own.positive, *(nothing for _ in carried)]


def _group_by_size(each: Sequence[Sequence[IdentitySide]]) -> dict[int, list[IdentitySide]]:
    """Return the distinct sides of all terms, by the number of their K and V numbers."""
    groups: dict[int, dict[int, IdentitySide]] = {}
    for sides in each:
        for side in sides:
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


@dataclass(frozen=True)
class View:
    """Which part of the picture the rows of one UNet call show.

    latent: (height, width) of the rows, in latent cells. canvas: of the whole picture.
    corners: (top, left) of each row's part in the canvas; None where a row shows all of it.
    frames: the batch index of each row.
    """

    latent: Grid
    canvas: Grid
    corners: tuple[Grid | None, ...]
    frames: tuple[int, ...]


class SamplingRun:
    """The state of one sampling run for the terms of one MODEL."""

    def __init__(
        self,
        terms: tuple[AdapterTerm, ...],
        model_sampling: Any | None = None,
        canvas: Grid | None = None,
        carried: Sequence[Identity] = (),
    ) -> None:
        """Start a run.

        model_sampling: ComfyUI's, to turn percents into sigmas; None: timesteps are used.
        canvas: (height, width) of the whole latent, if known. carried: people that single
        conditionings bring along.
        """
        self.terms = terms
        self._carried = carried
        self.canvas = canvas
        self._model_sampling = model_sampling
        to_noise = model_sampling.percent_to_sigma if model_sampling else _percent_to_timestep
        self._windows = [
            (float(to_noise(t.start_percent)), float(to_noise(t.end_percent))) for t in terms
        ]
        self._percents = PercentTable(to_noise) if any(t.curve for t in terms) else None
        self._residents: dict[tuple[torch.device, torch.dtype], Resident] = {}
        self._masks: dict[tuple[int, Grid], RunMask] = {}
        self._shares: dict[tuple[Together, Grid], Tensor] = {}

    def resident(self, device: torch.device, dtype: torch.dtype) -> Resident:
        """Return K and V on `device` in `dtype`, copied there at the first call."""
        key = (device, dtype)
        if key not in self._residents:
            self._residents[key] = Resident(self.terms, self._carried, device, dtype)
        return self._residents[key]

    @property
    def has_schedule(self) -> bool:
        """Whether some term is not the same at every step."""
        return any(term.has_window or term.curve for term in self.terms)

    @property
    def has_mask(self) -> bool:
        """Whether some term has a mask."""
        return any(term.mask is not None for term in self.terms)

    def noise_levels(self, sigmas: Tensor | None, timesteps: Tensor) -> Tensor:
        """Return (B,) what windows and curves are told by: sigmas, or timesteps without a guider.

        sigmas: ComfyUI's, None where a sampler calls the model without them.
        """
        if self._model_sampling is None:
            return timesteps
        return self._model_sampling.sigma(timesteps) if sigmas is None else sigmas

    def open_terms(self, noise_level: float | None) -> list[int]:
        """Return the terms whose window is open at one of `noise_levels`; None: no schedule."""
        return [
            i
            for i, (start, end) in enumerate(self._windows)
            if noise_level is None or not self.terms[i].has_window or end <= noise_level <= start
        ]

    def factor(self, index: int, noise_level: float | None) -> float:
        """Return the factor of a term's curve at one of `noise_levels`; None: no schedule."""
        curve = self.terms[index].curve
        if curve is None or noise_level is None or self._percents is None:
            return 1.0
        return curve.at(self._percents.percent(noise_level))

    def mask(self, index: int, canvas: Grid) -> RunMask:
        """Return the mask of a term for a picture of (height, width) latent cells."""
        key = (index, canvas)
        if key not in self._masks:
            term = self.terms[index]
            frames = self._rendered(term.mask, canvas)
            self._masks[key] = RunMask(frames, canvas, smooth=term.smooth_mask)
        return self._masks[key]

    def _rendered(self, mask: Mask | None, canvas: Grid) -> Tensor | None:
        """(F,H,W); what people share of a picture is made once for all of them."""
        if mask is None:
            return None
        height, width = (LATENT_SCALE * side for side in canvas)
        if not isinstance(mask, PersonRegion):
            return rendered(mask, width, height)
        key = (mask.together, canvas)
        if key not in self._shares:
            self._shares[key] = mask.together.shares(width, height)
        return self._shares[key][mask.index]


def _percent_to_timestep(percent: float) -> float:
    """Return the timestep, 999 to 0, at a share of the sampling; for callers without a guider."""
    return (1.0 - percent) * 999.0


class RunMask:
    """The mask of one term at one sampling size, on the grid of every layer that asked."""

    def __init__(self, frames: Tensor | None, canvas: Grid, *, smooth: bool = False) -> None:
        """frames: (F,H,W) in 0..1, of any size; None is everywhere."""
        height, width = canvas
        self._smooth = smooth
        self._frames: Tensor | None = None
        self._size = (height * LATENT_SCALE, width * LATENT_SCALE)
        self._cache: dict[Any, LaidMask] = {}
        self.is_empty = False
        if frames is not None:
            self.is_empty = is_all(frames, 0.0)
            self._frames = None if is_all(frames, 1.0) else frames

    def on_layer(self, q: Tensor, activations: Sequence[int] | None, view: View) -> LaidMask | None:
        """Return the mask for the queries of a layer, in their dtype; None is everywhere.

        q: (B,n,C). activations: shape (B,C,h,w) of the block's activations, where known.
        """
        if self._frames is None:
            return None
        known = (activations[-2], activations[-1]) if activations is not None else None
        grid = grid_of(q.shape[1], known, view.latent)
        key = (grid, view, q.device, q.dtype)
        if key not in self._cache:
            mask = self._on_grid(self._frames, grid, view)
            self._cache[key] = laid(mask, grid).to(q)
        return self._cache[key]

    def _on_grid(self, frames: Tensor, grid: Grid, view: View) -> Tensor:
        """Return (1,n,1) where all rows are alike, else (B,n,1)."""
        parts: dict[Grid | None, Tensor] = {
            corner: on_grid(self._cut(frames, corner, view.latent), *grid, smooth=self._smooth)
            for corner in dict.fromkeys(view.corners)
        }
        if len(parts) == 1 and frames.shape[0] == 1:
            return parts[view.corners[0]]
        rows = zip(view.corners, view.frames, strict=True)
        return torch.stack([parts[corner][frame % frames.shape[0]] for corner, frame in rows])

    def _cut(self, frames: Tensor, corner: Grid | None, latent: Grid) -> Tensor:
        """Return the part of (F,H,W) that an area of `latent` cells at `corner` shows."""
        if corner is None:
            return frames
        frames = resized(frames, *self._size)
        top, left = LATENT_SCALE * corner[0], LATENT_SCALE * corner[1]
        height, width = LATENT_SCALE * latent[0], LATENT_SCALE * latent[1]
        return frames[:, top : top + height, left : left + width]
