"""Run a ControlNet's blocks ourselves, so that its hint is encoded once and options get in.

ComfyUI's own ControlNet encodes the hint anew at every step and hands its transformer blocks no
options. The order of operations is its own (`comfy.cldm.cldm.ControlNet.forward`), bit for bit.
"""

from __future__ import annotations

from typing import Any

from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor


def encode_hint(control_model: Any, hint: Tensor) -> Tensor:
    """(F,3,H,W) in 0..1 -> (F,C,h,w): the drawn picture as the first block is given it."""
    return control_model.input_hint_block(hint, None, None)


def run_blocks(
    control_model: Any,
    x: Tensor,
    guided_hint: Tensor,
    timesteps: Tensor,
    context: Tensor,
    y: Tensor | None,
    transformer_options: dict[str, Any] | None = None,
) -> dict[str, list[Tensor]]:
    """Return the residuals of one call, as ComfyUI's ControlNet does: lists `output`, `middle`.

    x: (B,4,h,w) scaled latents. guided_hint: (B or 1,C,h,w), see `encode_hint`. timesteps: (B,).
    context: (B,N,D) tokens. y: (B,V) pooled text and sizes; None for a net that reads none.
    transformer_options: what attention blocks shall know, `patches_replace` for instance, with
    slots ("input", id, index) and ("middle", 0, index); a dict of the caller's own, which is
    written to.
    """
    options = {} if transformer_options is None else transformer_options
    embedded = timestep_embedding(timesteps, control_model.model_channels, repeat_only=False)
    emb = control_model.time_embed(embedded.to(x.dtype))
    if y is not None:
        emb = emb + control_model.label_emb(y)
    h = x
    output: list[Tensor] = []
    for index, block in enumerate(control_model.input_blocks):
        options["block"] = ("input", index)
        h = block(h, emb, context, options)
        if index == 0:
            h += guided_hint
        output.append(control_model.zero_convs[index](h, emb, context))
    options["block"] = ("middle", 0)
    h = control_model.middle_block(h, emb, context, options)
    return {"middle": [control_model.middle_block_out(h, emb, context)], "output": output}
