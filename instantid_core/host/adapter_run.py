"""What one sampling keeps for the adapter: K and V on the device, noise levels, masks on grids.

Made when sampling begins and cleared when it ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import masks
from ..identity import Identity, IdentitySide
from ..mask_layout import MaskLayout, Recent, View, packed_to
from ..masks import Grid, LaidMask, cut_to_box, grid_of, halved
from ..people import PeopleMasks, PersonRegion
from ..weighting import PercentTable
from .resident import Resident
from .rows import FIRST_PERSON, CarriedPerson, Rows

if TYPE_CHECKING:
    from .adapter_terms import AdapterTerm


@dataclass(frozen=True, eq=False)
class CallMask:
    """The mask of one term in one call, on the grid of every layer.

    laid: on the grids that are known before the call; a layer of another size adds its own.
    """

    layout: MaskLayout
    person: int
    view: View
    laid: dict[Grid, LaidMask]

    def on_layer(self, q: Tensor, activations: Sequence[int] | None) -> LaidMask:
        """Return the mask for a layer's queries (B,n,C).

        activations: shape (B,C,h,w) of the block's activations, where known.
        """
        grid = grid_of(q.shape[1], activations, self.view.latent)
        if grid not in self.laid:
            (mask,) = self.layout.over([grid], self.view)
            box = cut_to_box(mask[self.person])
            self.laid[grid] = LaidMask(box.values.to(q), box.corner, box.grid)
        return self.laid[grid]


class AdapterRun:
    """The state of one sampling for the terms of one MODEL."""

    def __init__(
        self,
        terms: tuple[AdapterTerm, ...],
        model_sampling: Any | None = None,
        carried: Sequence[CarriedPerson] = (),
    ) -> None:
        """Start a run.

        model_sampling: ComfyUI's, to turn percents into sigmas; None: timesteps are used.
        carried: people that single conditionings bring along; each is a term of its own, and gets
        nothing of the model's terms.
        """
        self.layout = terms[0].layout
        self.terms = (*terms, *(terms[0].carried(person) for person in carried))
        self._sides = [
            _sides(term, i - len(terms), len(carried)) for i, term in enumerate(self.terms)
        ]
        self._carried = len(carried)
        self._roles_at_work = [
            {0, 1} if i < len(terms) else {FIRST_PERSON + i - len(terms)}
            for i in range(len(self.terms))
        ]
        self._model_sampling = model_sampling
        to_noise = model_sampling.percent_to_sigma if model_sampling else _percent_to_timestep
        self._windows = [
            (float(to_noise(t.window.start)), float(to_noise(t.window.end))) for t in self.terms
        ]
        self._changes = any(masks.changes(term.mask) for term in self.terms)
        has_curve = self._changes or any(term.curve for term in self.terms)
        self._percents = PercentTable(to_noise) if has_curve else None
        self._residents: dict[tuple[torch.device, torch.dtype], Resident] = {}
        self._moment: float | None = None  # for which percent masks that change are laid
        self._layouts = _layouts(self.terms, 0.0, [])
        self._masks: Recent[Any, list[CallMask | None]] = Recent()

    def clear(self) -> None:
        """Drop what is held on the device."""
        self._residents.clear()
        self._masks = Recent()

    def resident(self, device: torch.device, dtype: torch.dtype) -> Resident:
        """Return K and V on `device` in `dtype`, copied there at the first call."""
        key = (device, dtype)
        if key not in self._residents:
            self._residents[key] = Resident(self._sides, self.layout, device, dtype)
        return self._residents[key]

    def sides(self, rows: Rows) -> tuple[tuple[int, ...], ...]:
        """Return for each term the number of the side that each row has, as `_sides` lists them."""
        roles = FIRST_PERSON + self._carried
        return tuple(
            rows.roles
            if len(term.identity.each) == 1
            else tuple(
                term.identity.number(frame) * roles + role
                for frame, role in zip(rows.frames, rows.roles, strict=True)
            )
            for term in self.terms
        )

    def noise_level(self, sigmas: Tensor | None, timesteps: Tensor) -> float | None:
        """Return what windows and curves are told by: a sigma, or a timestep without a guider.

        None where no term asks for it; else the one read from the device in a call.
        sigmas: ComfyUI's, None where a sampler calls the model without them.
        """
        if not self._changes and not any(t.window.is_part or t.curve for t in self.terms):
            return None
        if self._model_sampling is None:
            levels = timesteps
        else:
            levels = self._model_sampling.sigma(timesteps) if sigmas is None else sigmas
        (level,) = levels.flatten()[:1].tolist()
        return level

    def open_terms(self, noise_level: float | None, roles: Sequence[int]) -> list[int]:
        """Return the terms whose window is open and that have something for one of the rows."""
        here = set(roles)
        return [
            i
            for i, (start, end) in enumerate(self._windows)
            if (
                noise_level is None
                or not self.terms[i].window.is_part
                or end <= noise_level <= start
            )
            and here & self._roles_at_work[i]
        ]

    def weight(self, index: int, noise_level: float | None) -> float:
        """Return the weight of a term at a noise level; None: no schedule."""
        term, percent = self.terms[index], self._percent(noise_level)
        if term.curve is None or percent is None:
            return term.weight
        return term.weight * term.curve.at(percent)

    def _percent(self, noise_level: float | None) -> float | None:
        """Return how far the sampling is, 0..1; None where no term asks for it."""
        if noise_level is None or self._percents is None:
            return None
        return self._percents.percent(noise_level)

    def call_masks(
        self, rows: Rows, like: Tensor, noise_level: float | None
    ) -> list[CallMask | None]:
        """Return the mask of each term for one call; None is everywhere.

        Laid for all terms and layers at once, and moved to the device and dtype of `like` in one
        copy. Where nobody tells which part of the picture the rows show, there is no mask.
        """
        if not any(self._layouts):
            return [None] * len(self.terms)
        if rows.view is None:
            if rows.canvas is not None:
                masked = (term.node for term in self.terms if term.mask is not None)
                rows.canvas.warn_once(MASKS_LEFT_OUT, masked)
            return [None] * len(self.terms)
        if self._changes:
            self._lay_for(self._percent(noise_level))
        key = (self._moment, rows.view, like.device, like.dtype)
        found = self._masks.get(key)
        if found is None:
            found, nbytes = self._laid(rows.view, like)
            self._masks.put(key, found, nbytes)
        return found

    def _lay_for(self, percent: float | None) -> None:
        """Lay what changes anew where the sampling has gone on."""
        if percent is not None and percent != self._moment:
            self._moment = percent
            self._layouts = _layouts(self.terms, percent, self._layouts)

    def _laid(self, view: View, like: Tensor) -> tuple[list[CallMask | None], int]:
        levels = self.layout.family.levels
        grids = list(dict.fromkeys(halved(view.latent, times) for times in levels))
        distinct = dict.fromkeys(own[0] for own in self._layouts if own is not None)
        laid = {layout: layout.over(grids, view) for layout in distinct}
        boxes: list[list[LaidMask]] = []
        for own in self._layouts:
            each = [] if own is None else [mask[own[1]] for mask in laid[own[0]]]
            is_full = all(masks.is_all(mask, 1.0) for mask in each)
            boxes.append([] if is_full else [cut_to_box(mask) for mask in each])
        moved = packed_to([box.values for own in boxes for box in own], like)
        values = iter(moved)
        found: list[CallMask | None] = []
        for own, own_boxes in zip(self._layouts, boxes, strict=True):
            by_grid = {b.grid: LaidMask(next(values), b.corner, b.grid) for b in own_boxes}
            found.append(CallMask(*own, view, by_grid) if own is not None and by_grid else None)
        return found, sum(tensor.nbytes for tensor in moved)


MASKS_LEFT_OUT = (
    "A sampler cuts the picture into parts and does not say where they lie, so InstantID's masks "
    "and face regions are left out here. For upscaling in tiles, use the model and the "
    "conditionings from before InstantID."
)


def _sides(term: AdapterTerm, number: int, carried: int) -> list[IdentitySide]:
    """Return what a term gives to the rows of each role, identity after identity.

    number: of the carried person whose term it is; negative for a term of the model. What is not
    a term's own role gets nothing of it: K and V of zeros, which attention turns into zeros.
    """
    return [side for own in term.identity.each for side in _by_role(own, number, carried)]


def _by_role(own: Identity, number: int, carried: int) -> list[IdentitySide]:
    if not carried:
        return [own.negative, own.positive]
    nothing = IdentitySide(own.positive.tokens, torch.zeros_like(own.positive.kv))
    if number < 0:
        return [own.negative, own.positive, *(nothing for _ in range(carried))]
    sides = [nothing] * (FIRST_PERSON + carried)
    sides[FIRST_PERSON + number] = own.positive
    return sides


def _layouts(
    terms: Sequence[AdapterTerm], percent: float, before: Sequence[tuple[MaskLayout, int] | None]
) -> list[tuple[MaskLayout, int] | None]:
    """Return how each term's mask is laid, and whose it is; people of one list are laid at once.

    percent: the moment of the sampling, for masks that change. before: the layouts of another
    moment, of which those that do not change are used again.
    """
    made: dict[tuple[PeopleMasks, bool], MaskLayout] = {}
    layouts: list[tuple[MaskLayout, int] | None] = []
    for number, term in enumerate(terms):
        if term.mask is None:
            layouts.append(None)
        elif before and not masks.changes(term.mask):
            layouts.append(before[number])
        elif isinstance(term.mask, PersonRegion):
            key = (term.mask.everybody, term.smooth_mask)
            if key not in made:
                everybody = term.mask.everybody.at(percent)
                made[key] = MaskLayout(everybody, bilinear=term.smooth_mask)
            layouts.append((made[key], term.mask.index))
        else:
            mask = term.mask.at(percent) if isinstance(term.mask, masks.Region) else term.mask
            layouts.append((MaskLayout(mask, bilinear=term.smooth_mask), 0))
    return layouts


def _percent_to_timestep(percent: float) -> float:
    """Return the timestep, 999 to 0, at a part of the sampling; for callers without a guider."""
    return (1.0 - percent) * 999.0
