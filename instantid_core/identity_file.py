"""An identity's embedding in a small safetensors file.

Only the embeddings are kept, not tokens and K/V: those belong to one adapter file and are made
again from the embedding when it is loaded.

    face_embedding      (512,) or (M, 512) float32, raw
    negative_embedding  the same shape; zeros unless noise or another identity was asked for
    metadata            format "faithful-instantid identity", version "1", name (free text)

A face of another family than SDXL is looked at in another way and is of version "2": its metadata
also has family, such as "SD1.5", and channel_order, "rgb" or "bgr".

Files of every version load for ever. Whoever adds a field, a tensor or a word of metadata that a
reader must know, raises VERSION, and keeps reading the versions before.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .checks import readable, said, shown, size_of
from .errors import InstantIDError, MissingFileError, WrongFileError
from .identity import Identity
from .memory import refuse_shortage
from .unet_layout import FAMILIES, SDXL, Family, family_named

FORMAT = "faithful-instantid identity"
VERSION = "1"
VERSION_WITH_FAMILY = "2"
EMBEDDING_WIDTH = 512
LARGEST_FILE = 1 << 20  # bytes; 64 references kept apart take 256 KiB
NAMES = ("face_embedding", "negative_embedding")


class SavedFace(NamedTuple):
    """What an identity file holds: embeddings (512,) or (M,512), and whose adapters take them."""

    face_embedding: Tensor
    negative_embedding: Tensor
    family: Family


def save_identity(path: Path, identity: Identity, name: str = "") -> None:
    """Write the embeddings of an identity, whole or not at all.

    name: free text that is kept in the metadata. Raises InstantIDError if it cannot be written.
    """
    tensors = {
        "face_embedding": identity.face_embedding.float().cpu().contiguous().clone(),
        "negative_embedding": identity.negative_embedding.float().cpu().contiguous().clone(),
    }
    metadata = {"format": FORMAT, "version": VERSION, "name": name}
    if identity.family != SDXL:
        metadata |= {
            "version": VERSION_WITH_FAMILY,
            "family": identity.family.name,
            "channel_order": identity.channel_order.value,
        }
    half = path.with_name(f"{uuid.uuid4().hex}.part")
    try:
        with open(half, "xb") as file:  # never through a link that waits under this name
            file.write(safetensors.torch.save(tensors, metadata))
        half.replace(path)
    except (OSError, ValueError) as error:  # a full disk, a name that the disk does not take
        with contextlib.suppress(OSError, ValueError):
            half.unlink()
        raise InstantIDError(
            f"The identity could not be saved as {readable(path.name)} ({said(error)}). Make room, "
            "or choose another filename_prefix; nothing was left behind."
        ) from error


def load_embeddings(path: Path) -> SavedFace:
    """Return what a saved identity holds.

    Raises MissingFileError, or WrongFileError for a file of any other kind, version, shape, dtype
    or size.
    """
    if not os.path.isfile(path):
        raise MissingFileError(
            f"There is no file {path}. Save an identity with Save Identity, or choose another one."
        )
    if path.stat().st_size > LARGEST_FILE:
        raise _wrong(path, f"it has {path.stat().st_size:,} bytes, more than {LARGEST_FILE:,}")
    try:
        opened: Any = safe_open(str(path), framework="pt", device="cpu")
        with opened as file:
            return _read(path, file)
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        refuse_shortage(error, f"read {path.name}")
        raise _wrong(path, f"it is not a readable safetensors file: {said(error)}") from error


def _read(path: Path, file: Any) -> SavedFace:
    metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise _wrong(path, "its metadata does not say that it is one")
    if metadata.get("version") not in (VERSION, VERSION_WITH_FAMILY):
        raise WrongFileError(
            f"{path} is an identity file of version {readable(metadata.get('version'))}, which a "
            f"newer version of this pack wrote; this one reads versions {VERSION} and "
            f"{VERSION_WITH_FAMILY}. Update Faithful "
            "InstantID, or encode the face again from its photo and save it here."
        )
    family = _family(path, metadata)
    if sorted(file.keys()) != sorted(NAMES):
        held = readable(", ".join(sorted(file.keys())) or "nothing")
        raise _wrong(path, f"it holds {held}; wanted {' and '.join(NAMES)}")
    face, negative = (_read_tensor(path, file, name) for name in NAMES)
    if face.shape != negative.shape:
        raise _wrong(
            path, f"its parts differ in size: {size_of(face.shape)} and {size_of(negative.shape)}"
        )
    return SavedFace(face, negative, family)


def _family(path: Path, metadata: Mapping[str, str]) -> Family:
    """Return whose adapters a file is for. Raises WrongFileError for a family that is unknown."""
    if metadata["version"] == VERSION:
        return SDXL
    name = metadata.get("family", "")
    family, order = family_named(name), metadata.get("channel_order", "")
    if family is None or order != family.channel_order.value:
        known = ", ".join(f"{one.name} in {one.channel_order.value}" for one in FAMILIES)
        raise WrongFileError(
            f"{path} is a face for {shown(name)} from photos in {shown(order)}. Wanted one of: "
            f"{known}. Update Faithful InstantID, or encode the face again from its photo."
        )
    return family


def _read_tensor(path: Path, file: Any, name: str) -> Tensor:
    part = file.get_slice(name)
    shape, dtype = list(part.get_shape()), part.get_dtype()
    if dtype != "F32" or len(shape) not in (1, 2) or shape[-1] != EMBEDDING_WIDTH or 0 in shape:
        found = f"the size {size_of(shape)} and the type {dtype}"
        raise _wrong(path, f"{name} has {found}, wanted 512 and F32")
    tensor: Tensor = file.get_tensor(name)
    if not bool(tensor.isfinite().all()):
        raise _wrong(path, f"{name} has values that are not numbers")
    return tensor


def _wrong(path: Path, reason: str) -> WrongFileError:
    return WrongFileError(
        f"{path} is not an identity file of this pack: {reason}. Choose a file that Save Identity "
        "wrote."
    )
