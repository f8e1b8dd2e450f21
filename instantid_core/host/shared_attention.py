"""Several people in one call of IdentityNet: every cell attends to its own person's tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.ldm.modules.attention
import torch
from torch import Tensor

from ..masks import grid_of, on_grid
from ..people import Together
from ..unet_layout import SLOTS

LATENT_SCALE = 8
ForRows = Callable[[Tensor], Tensor]


class Shares:
    """How much each cell of a layer's grid belongs to each of several people, summing to 1.

    A cell that is nobody's belongs to all alike: what it gets there is masked out of IdentityNet's
    residuals, but its neighbours see it on the way.
    """

    def __init__(self, people: Together, counts: tuple[int, ...], width: int, height: int) -> None:
        """counts: how many tokens each person has. width, height: of the picture, in pixels."""
        self.size = (width, height)
        self.counts = list(counts)
        self._frames = people.shares(width, height)
        self._grids: dict[tuple[int, int], list[Tensor]] = {}

    def on(self, q: Tensor, activations: tuple[int, int] | None) -> list[Tensor]:
        """Return each person's share of the cells of queries (B,n,C): P times (F,n,1)."""
        width, height = self.size
        latent = (height // LATENT_SCALE, width // LATENT_SCALE)
        grid = grid_of(q.shape[1], activations, latent)
        if grid not in self._grids:
            laid = torch.stack([on_grid(frames, *grid) for frames in self._frames])
            total = laid.sum(dim=0)
            shares = torch.where(total > 0, laid / total.clamp(min=1e-6), 1.0 / len(laid))
            self._grids[grid] = list(shares.to(q))
        return self._grids[grid]


@dataclass(frozen=True, eq=False)
class SharedAttention:
    """The cross-attention of a layer whose context is the tokens of several people in a row."""

    shares: Shares
    for_rows: ForRows

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        """q (B,n,C), k and v (B,P*N,C) -> (B,n,C)."""
        reported = extra_options.get("activations_shape")
        activations = None if reported is None else (reported[-2], reported[-1])
        people = zip(
            k.split(self.shares.counts, dim=1),
            v.split(self.shares.counts, dim=1),
            self.shares.on(q, activations),
            strict=True,
        )
        out = torch.zeros_like(q)
        for own_k, own_v, share in people:
            attended = comfy.ldm.modules.attention.optimized_attention(
                q,
                own_k,
                own_v,
                extra_options["n_heads"],
                attn_precision=extra_options["attn_precision"],
                transformer_options=extra_options,
            )
            out.addcmul_(attended, self.for_rows(share))
        return out


def replacements(shares: Shares, for_rows: ForRows) -> dict[str, Any]:
    """Return transformer options for a ControlNet's blocks.

    for_rows: (F,...) -> (B or 1,...), the frame of each row of the call.
    """
    attention = SharedAttention(shares, for_rows)
    blocks = {(block, index) for block, index, _ in SLOTS if block != "output"}
    return {"patches_replace": {"attn2": {block: attention for block in blocks}}}
