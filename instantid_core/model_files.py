"""Read a file of weights without running any code in it: pickles and safetensors.

The keys of this pack are flat: `image_proj.latents`, `ip_adapter.1.to_k_ip.weight`, ...
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from . import checks
from .errors import MissingFileError, WrongFileError
from .memory import refuse_shortage

WANTED = (
    "Wanted: the InstantID adapter, ip-adapter.bin of InstantX/InstantID on Hugging Face "
    "(1.69 GB) or a safetensors copy of it, in models/instantid; for SD1.5 image_proj.ckpt and "
    "ip-state.ckpt of TheDenk/InstantID-SD1.5."
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file under flat keys, in the file's dtype.

    Weights stay memory-mapped where the format allows. Pickles are read with `weights_only`.
    Errors: MissingFileError, WrongFileError.
    """
    if not os.path.isfile(path):
        raise MissingFileError(f"There is no file {path}. {WANTED}")
    head = _head(path)
    if _looks_like_safetensors(head):  # asked first: its length may begin as a pickle does
        return canonical(_read_safetensors(path))
    if head.startswith(b"PK\x03\x04") or head.startswith(b"\x80"):
        return canonical(_read_pickle(path, zipped=head.startswith(b"PK")))
    raise WrongFileError(f"{path.name} is {_describe_other(path, head)}. {WANTED}")


def canonical(content: object) -> dict[str, Tensor]:
    """Flatten nested state dicts: {"image_proj": {"latents": t}} -> {"image_proj.latents": t}.

    A training script's `state_dict` is taken out of what it has around it, and what a parallel
    training puts before every key, `module.`, is left out.
    """
    return {key.removeprefix("module."): tensor for key, tensor in _flattened(content).items()}


def _flattened(content: object) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    if isinstance(content, Mapping):
        for key, value in cast(Mapping[object, object], content).items():
            if isinstance(value, Tensor):
                flat[str(key)] = value
            else:
                prefix = "" if key == "state_dict" else f"{key}."
                nested = _flattened(value)
                flat.update({f"{prefix}{name}": tensor for name, tensor in nested.items()})
    return flat


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
            "InstantID cannot act in it. Load the checkpoint it was built from"
        )
    if head.startswith(b"GGUF"):
        return "a GGUF file (a quantised model): it goes into models/unet"
    begin = checks.shown(head[:8].decode("latin-1"))
    return f"not a model file: {path.stat().st_size:,} bytes that begin with {begin}"
