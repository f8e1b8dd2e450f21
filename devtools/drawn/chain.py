"""The tiny SDXL, IdentityNet and adapter as they are trained: one transformer block in each stack.

ComfyUI's own modules are used, with a run of their blocks that changes nothing in place. `expand`
writes the trained block as the first of each stack and the others as identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import comfy.cldm.cldm
import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.ops
import torch
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ...instantid_core.adapter import AdapterModule, AdapterSize
from ...instantid_core.resampler import ResamplerSize
from ...instantid_core.unet_layout import SDXL
from ..tiny_adapter import CONTEXT_WIDTH, SIZE
from ..tiny_sdxl import UNET_CONFIG

HEAD_WIDTH = 32
TRAINED = tuple(slot for slot in SDXL.slots if slot[2] == 0)
CHANNELS = tuple(SIZE.channels[SDXL.slots.index(slot)] for slot in TRAINED)
ADAPTER_SIZE = AdapterSize(
    ResamplerSize(width=128, depth=2, inner=128, hidden=512, output_width=CONTEXT_WIDTH), CHANNELS
)
CONFIG: dict[str, Any] = {
    **UNET_CONFIG,
    "transformer_depth": [0, 0, 1, 1, 1, 1],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "dtype": torch.float32,
    "device": "cpu",
    "operations": comfy.ops.disable_weight_init,
}


@dataclass
class Faces:
    """What a batch is told of faces; P is 2, of one person the second mask is 0.

    embeddings: (B,P,512). masks: (B,P,16,16), on the latent's grid. adapter, control: (B,) how
    much adapter and IdentityNet do.
    """

    embeddings: Tensor
    masks: Tensor
    adapter: Tensor
    control: Tensor

    def share(self, cells: int) -> Tensor:
        """(B,P,cells,1): the masks on the grid of a layer, by nearest neighbour."""
        step = 16 // math.isqrt(cells)
        return self.masks[:, :, ::step, ::step].flatten(2)[..., None]


class Chain(nn.Module):
    """UNet, IdentityNet and adapter."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = openaimodel.UNetModel(**CONFIG)
        control = {k: v for k, v in CONFIG.items() if k not in _UNET_ONLY}
        self.control = comfy.cldm.cldm.ControlNet(**control, hint_channels=3)
        self.adapter = AdapterModule(ADAPTER_SIZE, torch.nn)
        self.adapter.image_proj.latents.requires_grad_(True)
        self.requires_grad_(True)
        self._start()

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, y: Tensor, guided_hint: Tensor, faces: Faces
    ) -> Tensor:
        """Return v, (B,4,16,16), for x (B,4,16,16) at t (B,).

        text: (B,77,D). y: (B,V). guided_hint: (B,32,16,16).
        """
        people = faces.embeddings.flatten(0, 1)[:, None]  # (B*P,1,512)
        tokens = self.adapter.image_proj(people).unflatten(0, faces.embeddings.shape[:2])
        residuals = self._control(x, t, y, guided_hint, tokens, faces)
        return self._unet(x, t, text, y, residuals, tokens, faces)

    def _unet(
        self,
        x: Tensor,
        t: Tensor,
        text: Tensor,
        y: Tensor,
        residuals: list[Tensor],
        tokens: Tensor,
        faces: Faces,
    ) -> Tensor:
        unet = self.unet
        emb = unet.time_embed(timestep_embedding(t, unet.model_channels)) + unet.label_emb(y)
        options = {"patches_replace": {"attn2": self._slots(tokens, faces)}}
        run = openaimodel.forward_timestep_embed
        h, before = x, []
        for index, block in enumerate(unet.input_blocks):
            options["block"] = ("input", index)
            h = run(block, h, emb, text, options)
            before.append(h)
        options["block"] = ("middle", 0)
        h = run(unet.middle_block, h, emb, text, options) + residuals.pop()
        for index, block in enumerate(unet.output_blocks):
            options["block"] = ("output", index)
            h = torch.cat([h, before.pop() + residuals.pop()], dim=1)
            h = run(block, h, emb, text, options, before[-1].shape if before else None)
        return unet.out(h)

    def _slots(self, tokens: Tensor, faces: Faces) -> dict[Any, Any]:
        projections = dict(zip(TRAINED, self.adapter.ip_adapter.children(), strict=True))
        gate = faces.adapter.view(-1, 1, 1)

        def slot(to: Any) -> Any:
            def patch(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
                share = faces.share(q.shape[1])
                out = attend(q, k, v)
                for person in range(tokens.shape[1]):
                    own = tokens[:, person]
                    seen = attend(q, to["to_k_ip"](own), to["to_v_ip"](own))
                    out = out + gate * share[:, person] * seen
                return out

            return patch

        return {place: slot(to) for place, to in projections.items()}

    def _control(
        self,
        x: Tensor,
        t: Tensor,
        y: Tensor,
        guided_hint: Tensor,
        tokens: Tensor,
        faces: Faces,
    ) -> list[Tensor]:
        """Return the residuals, the first input block's first and the middle's last."""
        net = self.control
        emb = net.time_embed(timestep_embedding(t, net.model_channels)) + net.label_emb(y)
        places = {slot for slot in TRAINED if slot[0] != "output"}
        patch = _each_their_own(faces, tokens.shape[2])
        options = {"patches_replace": {"attn2": dict.fromkeys(places, patch)}}
        context = tokens.flatten(1, 2)
        inside = faces.masks.sum(1, keepdim=True) * faces.control.view(-1, 1, 1, 1)
        h, out = x, []
        for index, block in enumerate(net.input_blocks):
            options["block"] = ("input", index)
            h = openaimodel.forward_timestep_embed(block, h, emb, context, options)
            if index == 0:
                h = h + guided_hint
            out.append(net.zero_convs[index](h, emb, context))
        options["block"] = ("middle", 0)
        h = openaimodel.forward_timestep_embed(net.middle_block, h, emb, context, options)
        out.append(net.middle_block_out(h, emb, context))
        return [r * inside[..., :: 16 // r.shape[-1], :: 16 // r.shape[-1]] for r in out]

    def _start(self) -> None:
        """Give every weight its size at the start; what is added to a sum starts small or at 0."""
        for name, weight in self.named_parameters():
            if name.endswith("latents"):
                nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
            elif weight.ndim > 1:
                nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.ones_(weight)
        for module in self.modules():
            if isinstance(module, openaimodel.ResBlock):
                _zero(module.out_layers[-1])
            elif type(module).__name__ == "SpatialTransformer":
                _zero(module.proj_out)
            elif type(module).__name__ == "BasicTransformerBlock":
                for layer in (module.attn1.to_out[0], module.attn2.to_out[0], module.ff.net[2]):
                    layer.weight.data.mul_(0.3)
        _zero(self.unet.out[-1])
        _zero(self.control.middle_block_out)
        for conv in self.control.zero_convs:
            _zero(conv)
        for slot in self.adapter.ip_adapter.children():
            slot["to_v_ip"].weight.data.mul_(0.3)


_UNET_ONLY = (
    "out_channels",
    "transformer_depth_output",
    *(f"use_temporal_{x}" for x in ("attention", "resblock")),
)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over heads of HEAD_WIDTH channels: (B,n,C), (B,N,C), (B,N,C) -> (B,n,C)."""
    heads = [x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for x in (q, k, v)]
    return scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def _each_their_own(faces: Faces, count: int) -> Any:
    """Cells of IdentityNet attend to their own person; nobody's cells to both alike."""

    def patch(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        share = faces.share(q.shape[1])
        alone = (faces.masks[:, 1].flatten(1).sum(1) == 0).view(-1, 1, 1)
        total = share.sum(1, keepdim=True)
        share = torch.where(total > 0, share / total.clamp(min=1e-6), 0.5)
        first = torch.where(alone, 1.0, share[:, 0])
        parts = zip((first, 1 - first), k.split(count, 1), v.split(count, 1), strict=True)
        return sum(part * attend(q, own_k, own_v) for part, own_k, own_v in parts)

    return patch


def _zero(module: nn.Module) -> None:
    for weight in module.parameters():
        nn.init.zeros_(weight)
