"""Read an adapter file: recognise what it is, and measure it from its shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checks
from .adapter import AdapterSize
from .errors import WrongFileError
from .families import family_of
from .halves import Half, half_in, joined, whole_of
from .model_files import WANTED, read_tensors
from .recognise import Shapes, what_it_is
from .resampler import ResamplerSize
from .unet_layout import SD15, SDXL, Family, family_named, file_number


def read_adapter(path: str | Path) -> dict[str, Tensor]:
    """Return the adapter's tensors under their flat keys, in the file's dtype.

    Of an adapter that is in two files either is given; the other one is found beside it.
    Weights stay memory-mapped where the format allows. Pickles are read with `weights_only`.
    Errors: MissingFileError; WrongFileError, which says what the file is and where it goes.
    """
    path = Path(path)
    tensors = read_tensors(path)
    half = half_in(tensors)
    return recognise(tensors if half is None else whole_of(path, half, tensors), path.name)


def read_halves(first: str | Path, second: str | Path) -> dict[str, Tensor]:
    """Return the adapter whose halves are in two files, in either order.

    Errors: MissingFileError; WrongFileError where they are not the two halves.
    """
    paths = (Path(first), Path(second))
    halves = {half_in(tensors): tensors for tensors in map(read_tensors, paths)}
    if set(halves) != set(Half):
        wanted = " and ".join(half.value for half in Half)
        raise WrongFileError(
            f"{paths[0].name} and {paths[1].name} are not the two halves of the SD1.5 adapter. "
            f"Wanted: {wanted}."
        )
    name = f"What {paths[0].name} and {paths[1].name} make"
    return recognise(joined(halves[Half.IMAGE_PROJ], halves[Half.LAYERS]), name)


def recognise(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the adapter's tensors of `tensors`; WrongFileError if it is something else.

    name: what to call the file in the message.
    """
    shapes: Shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    other = what_it_is(shapes)
    if other is not None:
        raise WrongFileError(f"{name} is {other.name}. {WANTED} {other.place}".rstrip())
    _check_complete(shapes, name)
    _check_plain(tensors, name)
    return {
        key: tensor
        for key, tensor in tensors.items()
        if key.startswith(("image_proj.", "ip_adapter."))
    }


def measure(tensors: Mapping[str, Tensor]) -> AdapterSize:
    """Return the sizes of an adapter from the shapes of its tensors."""
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    _, queries, width = shapes["image_proj.latents"]
    resampler = ResamplerSize(
        width=width,
        depth=_depth(shapes),
        queries=queries,
        inner=shapes["image_proj.layers.0.0.to_q.weight"][0],
        hidden=shapes["image_proj.layers.0.1.1.weight"][0],
        embedding_width=shapes["image_proj.proj_in.weight"][1],
        output_width=shapes["image_proj.proj_out.weight"][0],
    )
    layers = len(_family(shapes).slots)
    channels = tuple(shapes[_kv_key(i, "k")][0] for i in range(layers))
    return AdapterSize(resampler, channels)


def _kv_key(position: int, part: str) -> str:
    return f"ip_adapter.{file_number(position)}.to_{part}_ip.weight"


def _depth(shapes: Mapping[str, Any]) -> int:
    layers = {m[1] for key in shapes if (m := re.match(r"image_proj\.layers\.(\d+)\.", key))}
    return len(layers)


_LAYER_KEY = re.compile(r"ip_adapter\.(\d+)\.to_k_ip\.weight")


def _family(shapes: Mapping[str, Any]) -> Family:
    """Return whose adapter it is: by the width of the tokens, else by the numbers of its layers."""
    layers = {int(m[1]): key for key in shapes if (m := _LAYER_KEY.fullmatch(key))}
    widths = [shapes[key][1] for key in layers.values() if len(shapes[key]) == 2]
    known = family_named(family_of(widths[0]) or "") if widths else None
    if known is not None:
        return known
    last = file_number(len(SD15.slots) - 1)
    return SD15 if layers and max(layers) <= last else SDXL


def _check_complete(shapes: Shapes, name: str) -> None:
    """Raise WrongFileError unless every tensor of the adapter is there."""
    wanted = [_kv_key(i, part) for i in range(len(_family(shapes).slots)) for part in "kv"]
    wanted += [f"image_proj.{key}" for key in _resampler_keys(max(1, _depth(shapes)))]
    missing = [key for key in wanted if key not in shapes]
    if missing:
        raise WrongFileError(
            f"{name} is an InstantID adapter with {len(missing)} of {len(wanted)} tensors missing, "
            f"the first is {missing[0]}. Download it again. {WANTED}"
        )


def _check_plain(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise WrongFileError for tensors that are no weights, or claim more than they hold."""
    for key, found in tensors.items():
        plain = found.layout == torch.strided and found.is_floating_point()
        if not plain or found.untyped_storage().nbytes() < found.numel() * found.element_size():
            raise WrongFileError(
                f"{name} is damaged or forged: its tensor {checks.readable(key)} holds no "
                f"plain numbers, or fewer than it claims. Download it again. {WANTED}"
            )


def _resampler_keys(depth: int) -> list[str]:
    keys = ["latents"]
    for part in ("proj_in", "proj_out", "norm_out"):
        keys += [f"{part}.weight", f"{part}.bias"]
    for i in range(depth):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            keys += [f"layers.{i}.{norm}.weight", f"layers.{i}.{norm}.bias"]
        for linear in ("0.to_q", "0.to_kv", "0.to_out", "1.1", "1.3"):
            keys.append(f"layers.{i}.{linear}.weight")
    return keys
