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
from ...instantid_core.unet_layout import SLOTS, measure_unet

WEIGHT = 0.8


def apply_naively(model: Any, identity: Identity) -> Any:
    """Return a clone with a patch in each of the 70 slots, which holds two projections."""
    clone = model.clone()
    layout = measure_unet(model.model.diffusion_model)
    tokens = torch.cat([identity.positive.tokens, identity.negative.tokens])
    device, dtype = model.load_device, model.model.get_dtype()
    for slot, channels in zip(SLOTS, layout.channels, strict=True):
        shape = (2, channels, layout.context_width)
        weights = torch.randn(shape, device=device, dtype=dtype) * layout.context_width**-0.5
        clone.set_model_attn2_replace(_patch(tokens, weights), *slot)
    return clone


def _patch(tokens: Tensor, weights: Tensor) -> Callable[..., Tensor]:
    def patch(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        sides = extra_options["cond_or_uncond"]
        face = tokens.to(q)[sides].repeat_interleave(q.shape[0] // len(sides), dim=0)
        heads = extra_options["n_heads"]
        to_k, to_v = weights.to(q)
        share = optimized_attention(q, linear(face, to_k), linear(face, to_v), heads)
        return optimized_attention(q, k, v, heads) + WEIGHT * share

    return patch
