"""The baseline: the adapter as it is usually built, K and V projected anew in every layer and call.

It is right for plain CFG and nothing else; it is here so that every ratio is taken in one run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor
from torch.nn.functional import linear

from ...instantid_core.identity import Identity
from ...instantid_core.unet_layout import measure_unet

WEIGHT = 0.8


def apply_naively(model: Any, identity: Identity) -> Any:
    """Return a clone with a patch in each of the 70 slots, which holds two projections."""
    clone = model.clone()
    layout = measure_unet(model.model.diffusion_model)
    tokens = torch.cat([identity.positive.tokens, identity.negative.tokens])
    for slot, channels in zip(layout.family.slots, layout.channels, strict=True):
        patch = _patch(tokens, (2, channels, layout.context_width))
        clone.set_model_attn2_replace(patch, *slot)
    return clone


def _patch(tokens: Tensor, shape: tuple[int, int, int]) -> Callable[..., Tensor]:
    """shape: of the weights, which are made at the first call: until then they hold no memory."""
    made: list[Tensor] = []

    def patch(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        sides = extra_options["cond_or_uncond"]
        face = tokens.to(q)[sides].repeat_interleave(q.shape[0] // len(sides), dim=0)
        heads = extra_options["n_heads"]
        if not made:
            made.append(torch.randn(shape, device=q.device, dtype=q.dtype) * shape[-1] ** -0.5)
        to_k, to_v = made[0]
        share = optimized_attention(q, linear(face, to_k), linear(face, to_v), heads)
        return optimized_attention(q, k, v, heads) + WEIGHT * share

    return patch
