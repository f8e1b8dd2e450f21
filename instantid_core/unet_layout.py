"""The one ordered table of an SDXL UNet's cross-attentions, and the check that a UNet is one.

The adapter file numbers its 70 layers 1, 3, ..., 139 in diffusers' order: down blocks, up blocks,
and the mid block last. ComfyUI addresses the same layers as (block, id, index).
Source: diffusers `UNet2DConditionModel.attn_processors`, InstantID `ip_adapter/utils`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import nn

from .errors import WrongModelError
from .families import family_of

# The address of one cross-attention: block, id, index; a key of ComfyUI's `patches_replace`.
Slot = tuple[str, int, int]

_DEPTHS: tuple[tuple[str, int, int], ...] = (
    *(("input", i, 2) for i in (4, 5)),
    *(("input", i, 10) for i in (7, 8)),
    *(("output", i, 10) for i in (0, 1, 2)),
    *(("output", i, 2) for i in (3, 4, 5)),
    ("middle", 0, 10),
)

SLOTS: tuple[Slot, ...] = tuple(
    (block, id_, index) for block, id_, depth in _DEPTHS for index in range(depth)
)


def file_number(position: int) -> int:
    """Return the number the adapter file gives the slot at `position` of SLOTS."""
    return 2 * position + 1


@dataclass(frozen=True)
class UNetLayout:
    """What the adapter must know of a UNet.

    channels: C of each slot, in the order of SLOTS.
    context_width: width of the text tokens that the cross-attentions take.
    """

    channels: tuple[int, ...]
    context_width: int

    def kv_size(self, tokens: int) -> int:
        """Return how many numbers K and V of `tokens` tokens have over all slots."""
        return 2 * tokens * sum(self.channels)


class _CrossAttention(NamedTuple):
    channels: int
    context_width: int


_ATTN2 = re.compile(
    r"(?:(input|output)_blocks\.(\d+)|(middle)_block)\.\d+\.transformer_blocks\.(\d+)\.attn2"
)


def measure_unet(unet: nn.Module) -> UNetLayout:
    """Read the layout of ComfyUI's UNet module; WrongModelError unless it is an SDXL base UNet."""
    found = _cross_attentions(unet)
    widths = {attention.context_width for attention in found.values()}
    if set(found) != set(SLOTS) or len(widths) != 1:
        raise WrongModelError(
            f"This model is {_describe(unet, found)}. InstantID works with SDXL base models only: "
            f"a UNet with {len(SLOTS)} cross-attentions of context width 2048. "
            "Load an SDXL checkpoint (a Lightning, LCM or Turbo version of SDXL will do)."
        )
    return UNetLayout(tuple(found[slot].channels for slot in SLOTS), widths.pop())


def _cross_attentions(unet: nn.Module) -> dict[Slot, _CrossAttention]:
    found: dict[Slot, _CrossAttention] = {}
    modules = cast(Iterator[tuple[str, nn.Module]], unet.named_modules())
    for name, module in modules:
        match = _ATTN2.fullmatch(name.replace("_orig_mod.", ""))  # torch.compile's own prefix
        to_k: Any = getattr(module, "to_k", None)
        if match and to_k is not None:
            block, id_, middle, index = match.groups()
            slot = (block or middle, int(id_ or 0), int(index))
            found[slot] = _CrossAttention(int(to_k.out_features), int(to_k.in_features))
    return found


def _describe(unet: nn.Module, found: Mapping[Slot, _CrossAttention]) -> str:
    """Say what a model that is not an SDXL base UNet probably is."""
    if not found:
        return f"of another build than a UNet ({type(unet).__name__}), as Flux and SD3 are"
    widths = sorted({attention.context_width for attention in found.values()})
    shape = f"{len(found)} cross-attentions of context width {', '.join(map(str, widths))}"
    family = family_of(widths[0]) if len(widths) == 1 else None
    if family == "SDXL" and len(found) < len(SLOTS):
        return f"a cut-down SDXL such as SSD-1B, Segmind-Vega or KOALA ({shape})"
    if family not in (None, "SDXL"):
        return f"{family} ({shape})"
    return f"a UNet of another layout ({shape})"
