"""The adapter written down as plainly as can be, one side at a time: what tests compare with.

K and V are projected from the golden file's own tensors at every call; layers are found by
ComfyUI's own table of diffusers names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import comfy.patcher_extension
import comfy.utils
import torch
from faithful_instantid.devtools import tiny_sdxl
from torch.nn.functional import linear, scaled_dot_product_attention


def layer_numbers() -> dict[tuple[str, int, int], int]:
    """Return the adapter file's number of each ComfyUI slot, from ComfyUI's table of names."""
    names = comfy.utils.unet_to_diffusers(dict(tiny_sdxl.UNET_CONFIG))
    places = {name: target for name, target in names.items() if name.endswith(".attn2.to_k.weight")}
    order = sorted(places, key=lambda name: (_PARTS.index(name.split("_")[0]), _numbers(name)))
    return {_slot(places[name]): 2 * i + 1 for i, name in enumerate(order)}


_PARTS = ("down", "up", "mid")  # diffusers lists the mid block last


def _numbers(name: str) -> list[int]:
    return [int(part) for part in name.split(".") if part.isdigit()]


def _slot(target: str) -> tuple[str, int, int]:
    block, *rest = target.split(".")
    numbers = [int(part) for part in rest if part.isdigit()]
    id_ = 0 if block == "middle_block" else numbers[0]
    return block.split("_")[0], id_, numbers[-1]


class NaiveAdapter:
    """Predict rows of one side with an identity, by patches of its own on the bare UNet."""

    def __init__(self, model: Any, ip_adapter: Mapping[str, torch.Tensor]) -> None:
        self.unet = model.model.diffusion_model
        self.ip_adapter = ip_adapter
        self.numbers = layer_numbers()

    def predict(
        self, row: Row, tokens: torch.Tensor, weight: float = 0.8, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the UNet's output for a row; the bare UNet's where the weight is 0.

        tokens: (1,16,64). mask: (H,W).
        """
        numbers = self.numbers if weight else {}
        attn2 = {
            slot: self._patch(number, tokens, weight, mask) for slot, number in numbers.items()
        }
        with torch.inference_mode():
            return self.unet(
                row.x,
                row.timestep,
                context=row.context,
                y=row.y,
                transformer_options={"patches_replace": {"attn2": attn2}},
            )

    def _patch(
        self, number: int, tokens: torch.Tensor, weight: float, mask: torch.Tensor | None
    ) -> Any:
        def patch(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> torch.Tensor:
            face = tokens.to(q).expand(q.shape[0], -1, -1)
            heads = extra_options["n_heads"]
            shape = extra_options["activations_shape"]
            share = weight * attention(
                q,
                linear(face, self.ip_adapter[f"{number}.to_k_ip.weight"].to(q)),
                linear(face, self.ip_adapter[f"{number}.to_v_ip.weight"].to(q)),
                heads,
            )
            if mask is not None:
                share = share * laid(mask, shape[-2], shape[-1]).to(q)
            return attention(q, k, v, heads) + share

        return patch


def laid(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(H,W) -> (1, height*width, 1): the pixel each cell takes, by plain indexing."""
    rows = [int(i * mask.shape[0] / height) for i in range(height)]
    columns = [int(i * mask.shape[1] / width) for i in range(width)]
    return mask[rows][:, columns].reshape(1, -1, 1)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@dataclass(frozen=True, eq=False)
class Row:
    """One row of one call of the UNet, and what came out of it; each tensor (1,...)."""

    x: torch.Tensor
    timestep: torch.Tensor
    context: torch.Tensor
    y: torch.Tensor
    out: torch.Tensor


def stacked(rows: Sequence[Row]) -> Row:
    """Return rows of one shape as one batch."""
    parts = {f.name: torch.cat([getattr(row, f.name) for row in rows]) for f in fields(Row)}
    return Row(**parts)


class Recorder:
    """Keeps every row of every call of the UNet below the adapter's own wrapper."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.calls: list[int] = []

    def on(self, model: Any) -> Any:
        """Return a clone of `model` that records."""
        clone = model.clone()
        kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
        options = clone.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "recorder", self._record, options)
        return clone

    def _record(
        self,
        executor: Any,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        y: torch.Tensor,
        *rest: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        given = (x.clone(), timesteps.clone(), context, y)
        out = executor(x, timesteps, context, y, *rest, **kwargs)
        tensors = [tensor.split(1) for tensor in (*given, out.clone())]
        self.rows += [Row(*row) for row in zip(*tensors, strict=True)]
        self.calls.append(x.shape[0])
        return out
