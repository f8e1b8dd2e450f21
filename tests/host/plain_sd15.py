"""SD1.5, its ControlNet and InstantID in it, written as plainly as can be: what tests compare with.

Functions over state dicts under diffusers' names; nothing of ComfyUI or of this pack is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import (
    conv2d,
    gelu,
    group_norm,
    interpolate,
    layer_norm,
    linear,
    scaled_dot_product_attention,
    silu,
)

HEADS = 8


class Weights:
    """A state dict, looked into by the beginning of a name."""

    def __init__(self, tensors: Mapping[str, Tensor], begin: str = "") -> None:
        self.tensors, self.begin = tensors, begin

    def at(self, part: object) -> Weights:
        return Weights(self.tensors, f"{self.begin}{part}.")

    def __contains__(self, part: str) -> bool:
        return any(key.startswith(f"{self.begin}{part}.") for key in self.tensors)

    @property
    def weight(self) -> Tensor:
        return self.tensors[f"{self.begin}weight"]

    @property
    def bias(self) -> Tensor | None:
        return self.tensors.get(f"{self.begin}bias")

    def linear(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)

    def conv(self, x: Tensor, stride: int = 1) -> Tensor:
        return conv2d(x, self.weight, self.bias, stride, padding=self.weight.shape[-1] // 2)

    def layer_norm(self, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], self.weight, self.bias)

    def group_norm(self, x: Tensor, eps: float) -> Tensor:
        return group_norm(x, 32, self.weight, self.bias, eps)


@dataclass
class PlainPerson:
    """One person in every cross-attention: tokens (1,16,D), how strongly, where (H,W) or None.

    factors: on the weight, by block and number of its attention, such as `down_blocks.1.0`.
    """

    tokens: Tensor
    layers: Mapping[str, Tensor]
    weight: float = 0.8
    mask: Tensor | None = None
    factors: Mapping[str, float] = field(default_factory=dict)


def resampler(tensors: Mapping[str, Tensor], face: Tensor, depth: int = 4) -> Tensor:
    """(512,) -> (1,16,D): proj_in, `depth` layers of attention and feed-forward, proj_out, norm."""
    w = Weights(tensors)
    x = w.at("proj_in").linear(face.view(1, 1, 512))
    latents = tensors["latents"]
    for i in range(depth):
        attention, feed = w.at(f"layers.{i}.0"), w.at(f"layers.{i}.1")
        seen, own = attention.at("norm1").layer_norm(x), attention.at("norm2").layer_norm(latents)
        k, v = attention.at("to_kv").linear(torch.cat((seen, own), dim=1)).chunk(2, dim=-1)
        q = attention.at("to_q").linear(own)
        latents = latents + attention.at("to_out").linear(attend(q, k, v, q.shape[-1] // 64))
        hidden = gelu(feed.at(1).linear(feed.at(0).layer_norm(latents)))
        latents = latents + feed.at(3).linear(hidden)
    return w.at("norm_out").layer_norm(w.at("proj_out").linear(latents))


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int = HEADS) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def unet(
    tensors: Mapping[str, Tensor],
    x: Tensor,
    timestep: float,
    text: Tensor,
    shares: Sequence[PlainPerson] = (),
    residuals: Sequence[Sequence[Tensor]] = (),
) -> Tensor:
    """Return the noise predicted, (B,4,h,w).

    residuals: of each ControlNet the twelve of the way down and the one of the middle.
    """
    net = _Net(tensors, timestep, text, shares)
    kept, h = net.down(x)
    for own in residuals:
        kept = [one + other for one, other in zip(kept, own, strict=False)]
        h = h + own[12]
    for block in range(4):
        begin = f"up_blocks.{block}"
        for i in range(3):
            h = net.resnet(f"{begin}.resnets.{i}", torch.cat((h, kept.pop()), dim=1))
            if block > 0:
                h = net.transformer(f"{begin}.attentions.{i}", h)
        if block < 3:
            h = interpolate(h, scale_factor=2, mode="nearest")
            h = net.w.at(f"{begin}.upsamplers.0.conv").conv(h)
    return net.w.at("conv_out").conv(silu(net.w.at("conv_norm_out").group_norm(h, 1e-5)))


def controlnet(
    tensors: Mapping[str, Tensor],
    x: Tensor,
    timestep: float,
    tokens: Sequence[tuple[Tensor, Tensor | None]],
    hint: Tensor,
    strength: float = 0.8,
    mask: Tensor | None = None,
) -> list[Tensor]:
    """Return the thirteen residuals; the tokens are the context, there is no text.

    tokens: of each person (1,16,D), and where (H,W) they are; of a single one None. hint:
    (B,3,H,W) in 0..1. mask: (H,W), laid over the residuals bilinearly.
    """
    net = _Net(tensors, timestep, None, (), tokens)
    hint_net = net.w.at("controlnet_cond_embedding")
    shown = silu(hint_net.at("conv_in").conv(hint))
    for i in range(6):
        shown = silu(hint_net.at(f"blocks.{i}").conv(shown, stride=1 + i % 2))
    kept, h = net.down(x, hint_net.at("conv_out").conv(shown))
    found = [net.w.at(f"controlnet_down_blocks.{i}").conv(one) for i, one in enumerate(kept)]
    found.append(net.w.at("controlnet_mid_block").conv(h))
    return [strength * one * _smooth(mask, one.shape[-2:]) for one in found]


class _Net:
    """What UNet and ControlNet have in common."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        timestep: float,
        text: Tensor | None,
        shares: Sequence[PlainPerson],
        people: Sequence[tuple[Tensor, Tensor | None]] = (),
    ) -> None:
        self.w = Weights(tensors)
        self.text, self.shares, self.people = text, shares, people
        width = tensors["time_embedding.linear_1.weight"].shape[1]
        rate = torch.exp(-math.log(10000) * torch.arange(width // 2) / (width // 2))
        waves = torch.cat(((timestep * rate).cos(), (timestep * rate).sin()))[None]
        time = self.w.at("time_embedding")
        self.time = silu(time.at("linear_2").linear(silu(time.at("linear_1").linear(waves))))

    def down(self, x: Tensor, shown: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Return what the way up is given of the way down, and what comes out of the middle."""
        h = self.w.at("conv_in").conv(x)
        h = h if shown is None else h + shown
        kept = [h]
        for block in range(4):
            for i in range(2):
                h = self.resnet(f"down_blocks.{block}.resnets.{i}", h)
                if block < 3:
                    h = self.transformer(f"down_blocks.{block}.attentions.{i}", h)
                kept.append(h)
            if block < 3:
                h = self.w.at(f"down_blocks.{block}.downsamplers.0.conv").conv(h, stride=2)
                kept.append(h)
        h = self.resnet("mid_block.resnets.0", h)
        h = self.transformer("mid_block.attentions.0", h)
        return kept, self.resnet("mid_block.resnets.1", h)

    def resnet(self, name: str, x: Tensor) -> Tensor:
        w = self.w.at(name)
        h = w.at("conv1").conv(silu(w.at("norm1").group_norm(x, 1e-5)))
        h = h + w.at("time_emb_proj").linear(self.time)[..., None, None]
        h = w.at("conv2").conv(silu(w.at("norm2").group_norm(h, 1e-5)))
        return h + (w.at("conv_shortcut").conv(x) if "conv_shortcut" in w else x)

    def transformer(self, name: str, x: Tensor) -> Tensor:
        w, grid = self.w.at(name), x.shape[-2:]
        h = w.at("proj_in").conv(w.at("norm").group_norm(x, 1e-6)).flatten(2).transpose(1, 2)
        block = w.at("transformer_blocks.0")
        own = block.at("norm1").layer_norm(h)
        h = h + self._out(block.at("attn1"), *self._qkv(block.at("attn1"), own, own))
        h = h + self._cross(name, block.at("attn2"), block.at("norm2").layer_norm(h), grid)
        wide = block.at("ff.net.0.proj").linear(block.at("norm3").layer_norm(h))
        hidden, gate = wide.chunk(2, dim=-1)
        h = h + block.at("ff.net.2").linear(hidden * gelu(gate))
        return w.at("proj_out").conv(h.transpose(1, 2).unflatten(2, grid)) + x

    def _qkv(self, w: Weights, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return w.at("to_q").linear(x), w.at("to_k").linear(seen), w.at("to_v").linear(seen)

    def _out(self, w: Weights, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return w.at("to_out.0").linear(attend(q, k, v))

    def _cross(self, name: str, w: Weights, x: Tensor, grid: Sequence[int]) -> Tensor:
        """Attend to the text, with everybody's share added before the last projection."""
        q = w.at("to_q").linear(x)
        rows = x.shape[0]
        if self.text is None:
            found = torch.zeros_like(q)
            for tokens, where in self.people:
                _, k, v = self._qkv(w, x, tokens.expand(rows, -1, -1))
                found = found + _nearest(where, grid) * attend(q, k, v)
        else:
            _, k, v = self._qkv(w, x, self.text.expand(rows, -1, -1))
            found = attend(q, k, v)
        for share in self.shares:
            begin = f"{name}.transformer_blocks.0.attn2.processor"
            k, v = (
                linear(share.tokens, share.layers[f"{begin}.{part}.weight"]).expand(rows, -1, -1)
                for part in ("to_k_ip", "to_v_ip")
            )
            weight = share.weight * share.factors.get(name.replace(".attentions", ""), 1.0)
            found = found + weight * _nearest(share.mask, grid) * attend(q, k, v)
        return w.at("to_out.0").linear(found)


def _nearest(mask: Tensor | None, grid: Sequence[int]) -> Tensor:
    """(H,W) -> (1,h*w,1): the pixel that each cell takes, by plain indexing; None is 1."""
    if mask is None:
        return torch.ones(1)
    rows = [int(i * mask.shape[0] / grid[0]) for i in range(grid[0])]
    columns = [int(i * mask.shape[1] / grid[1]) for i in range(grid[1])]
    return mask[rows][:, columns].reshape(1, -1, 1)


def _smooth(mask: Tensor | None, grid: Sequence[int]) -> Tensor:
    """(H,W) -> (1,1,h,w), bilinearly; None is 1."""
    if mask is None:
        return torch.ones(1)
    return interpolate(mask[None, None], size=tuple(grid), mode="bilinear", align_corners=False)
