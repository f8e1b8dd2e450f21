"""The ordered tables of the cross-attentions of the UNets that InstantID fits, and the check that a
UNet is one of them.

An adapter file numbers its layers 1, 3, 5, ... in diffusers' order: down blocks, up blocks, and the
mid block last. ComfyUI addresses the same layers as (block, id, index).
Source: diffusers `UNet2DConditionModel.attn_processors`, InstantID `ip_adapter/utils`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from torch import nn

from .errors import WrongModelError
from .families import family_of
from .images import ChannelOrder

# The address of one cross-attention: block, id, index; a key of ComfyUI's `patches_replace`.
Slot = tuple[str, int, int]
Block = tuple[str, int]


@dataclass(frozen=True)
class Family:
    """One of the base models that there are InstantID weights for.

    slots: in the order of the adapter file. channel_order: of the photos that the weights learned
    faces from. levels: how often the latent is halved where the UNet has cross-attention.
    residual_levels: the same, where its ControlNet has residuals. files: the adapter's, in words.
    identitynet: its file, in words. checkpoint: what to load, in words. down_blocks, up_blocks: the
    input and the output blocks with cross-attention, in the order of the calculation.
    """

    name: str
    slots: tuple[Slot, ...]
    context_width: int
    channel_order: ChannelOrder
    levels: tuple[int, ...]
    residual_levels: tuple[int, ...]
    files: str
    identitynet: str
    checkpoint: str
    down_blocks: tuple[Block, ...] = field(init=False)
    up_blocks: tuple[Block, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "down_blocks", self._blocks("input"))
        object.__setattr__(self, "up_blocks", self._blocks("output"))

    @property
    def control_slots(self) -> set[Slot]:
        """The cross-attentions that its ControlNet has in common with the UNet."""
        return {slot for slot in self.slots if slot[0] != "output"}

    def _blocks(self, block: str) -> tuple[Block, ...]:
        return tuple(dict.fromkeys(slot[:2] for slot in self.slots if slot[0] == block))


def _table(*depths: tuple[str, tuple[int, ...], int]) -> tuple[Slot, ...]:
    """Return the slots of blocks in their order; each entry: block, ids, transformers in each."""
    return tuple(
        (block, id_, index) for block, ids, depth in depths for id_ in ids for index in range(depth)
    )


SDXL = Family(
    name="SDXL",
    slots=_table(
        ("input", (4, 5), 2),
        ("input", (7, 8), 10),
        ("output", (0, 1, 2), 10),
        ("output", (3, 4, 5), 2),
        ("middle", (0,), 10),
    ),
    context_width=2048,
    channel_order=ChannelOrder.BGR,
    levels=(1, 2),
    residual_levels=(0, 1, 2),
    files="ip-adapter.bin of InstantX/InstantID",
    identitynet="ControlNetModel/diffusion_pytorch_model.safetensors (2.5 GB) of "
    "InstantX/InstantID on Hugging Face",
    checkpoint="an SDXL checkpoint",
)
SD15 = Family(
    name="SD1.5",
    slots=_table(
        ("input", (1, 2, 4, 5, 7, 8), 1),
        ("output", tuple(range(3, 12)), 1),
        ("middle", (0,), 1),
    ),
    context_width=768,
    channel_order=ChannelOrder.RGB,
    levels=(0, 1, 2, 3),
    residual_levels=(0, 1, 2, 3),
    files="image_proj.ckpt and ip-state.ckpt of TheDenk/InstantID-SD1.5",
    identitynet="controlnet.ckpt of TheDenk/InstantID-SD1.5",
    checkpoint="an SD1.5 checkpoint",
)
FAMILIES = (SDXL, SD15)


def family_named(name: str) -> Family | None:
    """Return the family of a name; None for no known one."""
    return next((family for family in FAMILIES if family.name == name), None)


def family_with(layers: int) -> Family | None:
    """Return the family whose adapter has so many layers; None for no known one."""
    return next((family for family in FAMILIES if len(family.slots) == layers), None)


def file_number(position: int) -> int:
    """Return the number the adapter file gives the slot at `position` of a family's slots."""
    return 2 * position + 1


@dataclass(frozen=True)
class UNetLayout:
    """What the adapter must know of a UNet.

    channels: C of each slot, in the order of the family's slots.
    context_width: width of the text tokens that the cross-attentions take.
    """

    family: Family
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
    """Read the layout of ComfyUI's UNet module; WrongModelError unless it is one of a family."""
    found = _cross_attentions(unet)
    widths = {attention.context_width for attention in found.values()}
    family = next((one for one in FAMILIES if set(found) == set(one.slots)), None)
    if family is None or len(widths) != 1 or not _may_be(family, widths):
        raise WrongModelError(
            f"This model is {_describe(unet, found)}. InstantID works with SDXL base models: "
            f"a UNet with {len(SDXL.slots)} cross-attentions of context width 2048; and, with "
            f"weights of its own, with SD1.5: {len(SD15.slots)} of 768. "
            "Load an SDXL checkpoint (a Lightning, LCM or Turbo version of SDXL will do)."
        )
    return UNetLayout(family, tuple(found[slot].channels for slot in family.slots), widths.pop())


def family_of_control_net(network: nn.Module) -> Family | None:
    """Return the family that a ControlNet has the cross-attentions of; None for no known one."""
    found = set(_cross_attentions(network))
    return next((family for family in FAMILIES if found == family.control_slots), None)


def _may_be(family: Family, widths: Iterable[int]) -> bool:
    """Whether a context of that width says nothing else: SD2 has the layers of SD1.5."""
    return all(family_of(width) in (None, family.name) for width in widths)


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
    """Say what a model of no family probably is."""
    if not found:
        return f"of another build than a UNet ({type(unet).__name__}), as Flux and SD3 are"
    widths = sorted({attention.context_width for attention in found.values()})
    shape = f"{len(found)} cross-attentions of context width {', '.join(map(str, widths))}"
    family = family_of(widths[0]) if len(widths) == 1 else None
    if family == SDXL.name and len(found) < len(SDXL.slots):
        return f"a cut-down SDXL such as SSD-1B, Segmind-Vega or KOALA ({shape})"
    if family == SD15.name:
        return f"a relative of SD1.5 with other layers ({shape})"
    if family not in (None, SDXL.name):
        return f"{family} ({shape})"
    return f"a UNet of another layout ({shape})"
