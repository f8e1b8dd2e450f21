"""The Resampler: one face embedding becomes 16 tokens of the UNet's context width.

Attribute names are the file's keys. Source: InstantID `ip_adapter/resampler.py`, after the
Perceiver resampler of Flamingo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ResamplerSize:
    """The sizes of a Resampler, measured from its file.

    width: of the latents (1280). depth: layers (4). queries: tokens out per face (16).
    inner: width of q, k and v over all heads (1280). hidden: of the feed-forward (5120).
    embedding_width: of the face embedding (512). output_width: the UNet's context width (2048).
    """

    width: int = 1280
    depth: int = 4
    queries: int = 16
    inner: int = 1280
    hidden: int = 5120
    embedding_width: int = 512
    output_width: int = 2048


class PerceiverAttention(nn.Module):
    """Latents attend to the face and to themselves."""

    def __init__(self, size: ResamplerSize, operations: Any, **place: Any) -> None:
        super().__init__()
        self.heads = size.inner // HEAD_WIDTH
        self.norm1 = operations.LayerNorm(size.width, **place)
        self.norm2 = operations.LayerNorm(size.width, **place)
        self.to_q = operations.Linear(size.width, size.inner, bias=False, **place)
        self.to_kv = operations.Linear(size.width, 2 * size.inner, bias=False, **place)
        self.to_out = operations.Linear(size.inner, size.width, bias=False, **place)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """x (B,n,W), latents (B,Q,W) -> (B,Q,W)."""
        x = self.norm1(x)
        latents = self.norm2(latents)
        q = self._split(self.to_q(latents))
        kv = self.to_kv(torch.cat((x, latents), dim=1))  # (B,n+Q,2*inner)
        k, v = (self._split(part) for part in kv.chunk(2, dim=-1))
        out = scaled_dot_product_attention(q, k, v)  # scale 64^-1/2
        return self.to_out(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(B,N,inner) -> (B,heads,N,64)."""
        return x.unflatten(-1, (self.heads, HEAD_WIDTH)).transpose(1, 2)


class Gelu(nn.Module):
    """The exact GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x)


def feed_forward(size: ResamplerSize, operations: Any, **place: Any) -> nn.Sequential:
    """LayerNorm, Linear, exact GELU, Linear; no biases in the linear layers."""
    return nn.Sequential(
        operations.LayerNorm(size.width, **place),
        operations.Linear(size.width, size.hidden, bias=False, **place),
        Gelu(),
        operations.Linear(size.hidden, size.width, bias=False, **place),
    )


class Resampler(nn.Module):
    """Turn face embeddings into face tokens.

    operations: the module that `Linear` and `LayerNorm` come from (`torch.nn` or a host's own).
    """

    def __init__(
        self,
        size: ResamplerSize,
        operations: Any,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.size = size
        self.latents = nn.Parameter(
            torch.empty(1, size.queries, size.width, **place), requires_grad=False
        )
        self.proj_in = operations.Linear(size.embedding_width, size.width, **place)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    PerceiverAttention(size, operations, **place),
                    feed_forward(size, operations, **place),
                )
            )
            for _ in range(size.depth)
        )
        self.proj_out = operations.Linear(size.width, size.output_width, **place)
        self.norm_out = operations.LayerNorm(size.output_width, **place)

    def forward(self, face: Tensor) -> Tensor:
        """face (B,n,512) raw embeddings -> face tokens (B,16,2048), in the dtype of `face`."""
        x = self.proj_in(face)  # (B,n,W)
        latents = self.latents.to(x).expand(x.shape[0], -1, -1)  # (B,Q,W)
        for attention, feed in self._pairs():
            latents = latents + attention(x, latents)
            latents = latents + feed(latents)
        return self.norm_out(self.proj_out(latents))

    def _pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        pairs: list[tuple[nn.Module, nn.Module]] = []
        for layer in self.layers:
            attention, feed = layer.children()
            pairs.append((attention, feed))
        return pairs
