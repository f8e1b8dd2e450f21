"""Read an adapter file: canonicalise its keys, recognise what it is, measure it from its shapes.

The keys of this pack are flat: `image_proj.latents`, `ip_adapter.1.to_k_ip.weight`, ...
"""

from __future__ import annotations

import os
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from . import checks
from .adapter import AdapterSize
from .errors import MissingFileError, WrongFileError
from .memory import refuse_shortage
from .recognise import Shapes, what_it_is
from .resampler import ResamplerSize
from .unet_layout import SLOTS, file_number

WANTED = (
    "Wanted: the InstantID adapter, ip-adapter.bin of InstantX/InstantID on Hugging Face "
    "(1.69 GB) or a safetensors copy of it, in models/instantid."
)


def read_adapter(path: str | Path) -> dict[str, Tensor]:
    """Return the adapter's tensors under their flat keys, in the file's dtype.

    Weights stay memory-mapped where the format allows. Pickles are read with `weights_only`.
    Errors: MissingFileError; WrongFileError, which says what the file is and where it goes.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise MissingFileError(f"There is no file {path}. {WANTED}")
    head = _head(path)
    if _looks_like_safetensors(head):  # asked first: its length may begin as a pickle does
        content = _read_safetensors(path)
    elif head.startswith(b"PK\x03\x04") or head.startswith(b"\x80"):
        content = _read_pickle(path, zipped=head.startswith(b"PK"))
    else:
        raise WrongFileError(f"{path.name} is {_describe_other(path, head)}. {WANTED}")
    return recognise(canonical(content), path.name)


def canonical(content: object) -> dict[str, Tensor]:
    """Flatten nested state dicts: {"image_proj": {"latents": t}} -> {"image_proj.latents": t}.

    A training script's `state_dict` is taken out of what it has around it.
    """
    flat: dict[str, Tensor] = {}
    if isinstance(content, Mapping):
        for key, value in cast(Mapping[object, object], content).items():
            if isinstance(value, Tensor):
                flat[str(key)] = value
            else:
                prefix = "" if key == "state_dict" else f"{key}."
                nested = canonical(value)
                flat.update({f"{prefix}{name}": tensor for name, tensor in nested.items()})
    return flat


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
    channels = tuple(shapes[_kv_key(i, "k")][0] for i in range(len(SLOTS)))
    return AdapterSize(resampler, channels)


def _kv_key(position: int, part: str) -> str:
    return f"ip_adapter.{file_number(position)}.to_{part}_ip.weight"


def _depth(shapes: Mapping[str, Any]) -> int:
    layers = {m[1] for key in shapes if (m := re.match(r"image_proj\.layers\.(\d+)\.", key))}
    return len(layers)


def _check_complete(shapes: Shapes, name: str) -> None:
    """Raise WrongFileError unless every tensor of the adapter is there."""
    wanted = [_kv_key(i, part) for i in range(len(SLOTS)) for part in "kv"]
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


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:  # no permission, a failing disk
        refuse_shortage(error, f"read {path.name}")
        raise WrongFileError(
            f"{path} is there, but cannot be read ({checks.said(error)}). Check its permissions "
            f"and its disk, or put a fresh copy in its place. {WANTED}"
        ) from error


def _looks_like_safetensors(head: bytes) -> bool:
    """Eight bytes of header length, then a JSON object. A truncated file still begins so."""
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 32


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # whatever a damaged header leads to
        refuse_shortage(error, f"read {path.name}")
        raise WrongFileError(
            f"{path.name} is a safetensors file that ends too early or is damaged "
            f"({path.stat().st_size:,} bytes; {checks.said(error)}). The download was cut off: "
            f"delete it and download it again. {WANTED}"
        ) from error


def _read_pickle(path: Path, *, zipped: bool) -> object:
    """Read a PyTorch pickle without running any code in it, and without unpacking anything."""
    if zipped:
        _check_not_packed(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if not zipped and "Unsupported" not in str(error) and "GLOBAL" not in str(error):
            raise _damaged_pickle(path, error) from error
        raise WrongFileError(
            f"{path.name} is a pickle with code in it, not only weights; it was not run. "
            f"Do not trust this file: delete it. {WANTED}"
        ) from error
    except Exception as error:  # whatever a damaged pickle leads to
        refuse_shortage(error, f"read {path.name}")
        raise _damaged_pickle(path, error) from error


def _check_not_packed(path: Path) -> None:
    """Raise WrongFileError where a zip holds more than the file is large: PyTorch packs nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:
        refuse_shortage(error, f"read {path.name}")
        raise _damaged_pickle(path, error) from error
    if inside > path.stat().st_size:
        raise WrongFileError(
            f"{path.name} is a zip that unpacks to {inside:,} bytes; a PyTorch file is never "
            f"packed. Do not trust this file: delete it. {WANTED}"
        )


def _damaged_pickle(path: Path, error: Exception) -> WrongFileError:
    return WrongFileError(
        f"{path.name} is a PyTorch file that ends too early or is damaged "
        f"({path.stat().st_size:,} bytes; {checks.said(error)}). "
        f"The download was cut off: delete it and download it again. {WANTED}"
    )


def _describe_other(path: Path, head: bytes) -> str:
    """Say what a file is that is neither a pickle nor safetensors."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "an empty file (0 bytes): the download never began"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page saved under this name, not the file itself: use the download link"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: download the file, or run `git lfs pull`"
    if path.suffix == ".onnx":
        return "an ONNX network (the face detector or recogniser): it goes into models/insightface"
    if head.startswith(b"ftrt") or path.suffix.lower() in (".engine", ".plan", ".trt"):
        return (
            "a TensorRT engine, a whole model built for one GPU: it goes into models/tensorrt, and "
            "InstantID cannot act in it. Load the SDXL checkpoint it was built from"
        )
    if head.startswith(b"GGUF"):
        return "a GGUF file (a quantised model): it goes into models/unet"
    begin = checks.shown(head[:8].decode("latin-1"))
    return f"not a model file: {path.stat().st_size:,} bytes that begin with {begin}"
