"""What an IdentityNet holds besides the network: tokens, hint, where and how strongly it acts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import masks
from ..identity import FrameIdentities
from ..people import PeopleMasks
from ..unet_layout import SDXL, Family
from ..weighting import LayerWeights, WeightCurve
from . import rows as row_tags
from .hints import Hint
from .on_node import NodeText
from .rows import Rows


@dataclass(frozen=True, eq=False)
class FaceControl:
    """What an IdentityNet holds besides the network.

    positive, negative: (I,N,D) float32, the face tokens of either side; of several people one
    after the other. identities: where others are shown in other frames, which of the I; None is
    one. hint: what it is shown. mask: where its residuals act, and how strongly; None
    is everywhere. layers, curve: factors on the strength, by block and over the sampling.
    people: where each of several people is; their cells attend to their own tokens only. counts:
    how many tokens each has. node: where words about it are shown. every: at every how many noise
    levels it is evaluated. family: of the base models that the tokens are for.
    """

    positive: Tensor
    negative: Tensor
    hint: Hint
    mask: masks.Mask | None
    layers: LayerWeights | None = None
    curve: WeightCurve | None = None
    people: PeopleMasks | None = None
    counts: tuple[int, ...] = ()
    node: NodeText | None = None
    every: int = 1
    identities: FrameIdentities | None = None
    family: Family = SDXL

    @property
    def changes(self) -> bool:
        """Whether it acts elsewhere at other moments of the sampling."""
        return masks.changes(self.mask) or (self.people is not None and self.people.changes)

    @property
    def tokens(self) -> Tensor:
        """(2*I,N,D): of each identity both sides, indexed by role."""
        sides = {row_tags.NEGATIVE: self.negative, row_tags.POSITIVE: self.positive}
        return torch.stack([sides[role] for role in sorted(sides)], dim=1).flatten(0, 1)

    def places(self, rows: Rows) -> tuple[int, ...]:
        """Return the place of each row's side in `tokens`."""
        who, pairs = self.identities, zip(rows.frames, rows.sides, strict=True)
        return tuple(side + (0 if who is None else 2 * who.number(f)) for f, side in pairs)
