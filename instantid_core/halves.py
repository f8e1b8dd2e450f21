"""The SD1.5 adapter in its two files: which half a file holds, and the other half beside it.

One holds the Resampler under its bare names. The other holds the layers under diffusers' names of
the UNet's attention processors, perhaps with the whole UNet around them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from torch import Tensor

from .checks import readable
from .errors import MissingFileError, WrongFileError
from .model_files import WANTED, read_tensors
from .resampler import ResamplerSize
from .unet_layout import SD15, file_number

SUFFIXES = frozenset((".bin", ".ckpt", ".pt", ".pth", ".safetensors"))
EMBEDDING_WIDTH = ResamplerSize().embedding_width


class Half(Enum):
    """A half of the adapter; the value is what it is, in words, with the published file's name."""

    IMAGE_PROJ = "the one that turns a face into tokens (image_proj.ckpt)"
    LAYERS = "the one with the layers for the UNet (ip-state.ckpt)"

    @property
    def other(self) -> Half:
        return Half.LAYERS if self is Half.IMAGE_PROJ else Half.IMAGE_PROJ


# Diffusers' names of the UNet's attentions, in the order of the family's slots.
_ATTENTIONS = (
    *(f"down_blocks.{block}.attentions.{i}" for block in (0, 1, 2) for i in (0, 1)),
    *(f"up_blocks.{block}.attentions.{i}" for block in (1, 2, 3) for i in (0, 1, 2)),
    "mid_block.attentions.0",
)
_NUMBERS = {
    f"{attention}.transformer_blocks.0.attn2.processor": file_number(position)
    for position, attention in enumerate(_ATTENTIONS)
}
_LAYER = re.compile(r"(?:unet\.)?(.+\.processor)\.(to_[kv]_ip\.weight)")


def half_in(tensors: Mapping[str, Tensor]) -> Half | None:
    """Return which half of the SD1.5 adapter these tensors hold; None for anything else."""
    proj_in = tensors.get("proj_in.weight")
    if "latents" in tensors and proj_in is not None and proj_in.shape[1:] == (EMBEDDING_WIDTH,):
        return Half.IMAGE_PROJ
    processors = [found[1] for key in tensors if (found := _LAYER.fullmatch(key))]
    return Half.LAYERS if processors and set(processors) <= set(_NUMBERS) else None


def joined(image_proj: Mapping[str, Tensor], layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return both halves as one adapter under this pack's keys; what else they hold is left out."""
    made = {f"image_proj.{key}": tensor for key, tensor in image_proj.items()}
    for key, tensor in layers.items():
        found = _LAYER.fullmatch(key)
        if found:
            made[f"ip_adapter.{_NUMBERS[found[1]]}.{found[2]}"] = tensor
    return made


def whole_of(path: Path, half: Half, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the adapter of which `path` holds `half`, with the other half from beside it.

    The other half is told by its content. Raises WrongFileError where there is none, or several.
    """
    found, unread = _beside(path, half.other)
    if len(found) == 1:
        (other,) = found.values()
        return joined(tensors, other) if half is Half.IMAGE_PROJ else joined(other, tensors)
    begin = f"{path.name} is one of the two files of the {SD15.name} adapter, {half.value}."
    if found:
        names = ", ".join(map(readable, found))
        raise WrongFileError(
            f"{begin} Beside it are several with the other half: {names}. Leave the one there that "
            "belongs to it, or join the two with devtools/merge_sd15.py and load that file."
        )
    said = f" Beside it {', '.join(map(readable, unread))} cannot be read." if unread else ""
    raise WrongFileError(
        f"{begin} The other one is missing, {half.other.value}: no file in {path.parent} holds it."
        f"{said} Put it there, under any name. {WANTED}"
    )


def _beside(path: Path, wanted: Half) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Return the files beside `path` that hold a half, by name, and those that cannot be read."""
    found: dict[str, dict[str, Tensor]] = {}
    unread: list[str] = []
    for other in sorted(path.parent.iterdir()):
        if other.suffix.lower() not in SUFFIXES or other.name == path.name or not other.is_file():
            continue
        try:
            tensors = read_tensors(other)
        except (MissingFileError, WrongFileError):  # none that anybody asked for
            unread.append(other.name)
            continue
        if half_in(tensors) is wanted:
            found[other.name] = tensors
    return found, unread
