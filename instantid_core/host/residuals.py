"""Residuals of IdentityNet: where they act, and how long those of one evaluation serve."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .. import masks
from ..mask_layout import MaskLayout, View, packed_to

Residuals = dict[str, list[Any]]
REUSED_MEMORY = 512 * 2**20  # bytes of residuals that are kept for the steps between evaluations

ALTERNATES = (
    "IdentityNet is evaluated at every step although `every` is more than 1: the picture is made "
    "in parts, one after the other, and what one part gives does not fit the next."
)
TOO_LARGE = (
    "IdentityNet is evaluated at every step although `every` is more than 1: what would be kept "
    "between the steps is larger than 512 MiB. Fewer pictures at once help."
)


@dataclass(frozen=True, eq=False)
class ResidualMasks:
    """A region mask on the grid of every residual: (B or 1,1,h,w) each."""

    by_grid: dict[masks.Grid, Tensor]
    is_empty: bool

    @classmethod
    def laid(
        cls, layout: MaskLayout, view: View, like: Tensor, levels: Sequence[int]
    ) -> ResidualMasks:
        """Lay a region mask over the grids of the residuals, moved to the device in one copy.

        levels: how often the latent is halved where residuals are.

        Source: the official ControlNet pipeline, which resizes the region mask bilinearly.
        """
        grids = list(dict.fromkeys(masks.halved(view.latent, times) for times in levels))
        laid = [mask[0][:, None] for mask in layout.over(grids, view)]
        is_empty = not any(bool(mask.any()) for mask in laid)
        return cls(dict(zip(grids, packed_to(laid, like), strict=True)), is_empty)

    @property
    def nbytes(self) -> int:
        """How much it holds."""
        return sum(mask.nbytes for mask in self.by_grid.values())

    def on(self, residuals: Residuals) -> Residuals:
        """Return residuals (B,C,h,w), masked."""
        return {
            part: [x * self.by_grid[x.shape[-2], x.shape[-1]] for x in tensors]
            for part, tensors in residuals.items()
        }


class LastResiduals:
    """What the last evaluation of a sampling gave, for the noise levels until the next one."""

    def __init__(self, every: int) -> None:
        """every: at how many noise levels in a row one evaluation serves; at least 1."""
        self._every = every
        self._level: float | None = None
        self._count = 0  # noise levels so far
        self._evaluated = 0
        self._key: Hashable = None
        self._held: Residuals | None = None
        self._is_given_up = False

    def again(self, key: Hashable, level: float) -> Residuals | None:
        """Return a copy of what serves for a call at a noise level; None: evaluate.

        key: what the rows of the call are; only what was evaluated for the same serves.
        """
        if level != self._level:
            self._level, self._count = level, self._count + 1
        fits = key == self._key and self._count - self._evaluated < self._every
        return _copied(self._held) if fits and self._held is not None else None

    def keep(self, key: Hashable, residuals: Residuals) -> str:
        """Keep what an evaluation gave; return why nothing is kept from now on, empty if it is."""
        if self._is_given_up:
            return ""
        reason = ""
        if self._key is not None and key != self._key and self._count == self._evaluated:
            reason = ALTERNATES
        elif sum(x.nbytes for tensors in residuals.values() for x in tensors) > REUSED_MEMORY:
            reason = TOO_LARGE
        self._is_given_up = bool(reason)
        self._key, self._evaluated = key, self._count
        self._held = None if reason else _copied(residuals)
        return reason


def _copied(residuals: Residuals) -> Residuals:
    """Return residuals of their own: ComfyUI multiplies the strength into what it is given."""
    return {part: [x.clone() for x in tensors] for part, tensors in residuals.items()}
