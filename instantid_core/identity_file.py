"""An identity's embedding in a small safetensors file.

Only the embeddings are kept, not tokens and K/V: those belong to one adapter file and are made
again from the embedding when it is loaded.

    face_embedding      (512,) or (M, 512) float32, raw
    negative_embedding  the same shape; zeros unless noise or another identity was asked for
    metadata            format "faithful-instantid identity", version "1", name (free text)

Files of every version load for ever. Whoever adds a field, a tensor or a word of metadata that a
reader must know, raises VERSION, and keeps reading the versions before.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .checks import readable, said, size_of
from .errors import InstantIDError, MissingFileError, WrongFileError
from .identity import Identity
from .memory import refuse_shortage

FORMAT = "faithful-instantid identity"
VERSION = "1"
EMBEDDING_WIDTH = 512
LARGEST_FILE = 1 << 20  # bytes; 64 references kept apart take 256 KiB
NAMES = ("face_embedding", "negative_embedding")


def save_identity(path: Path, identity: Identity, name: str = "") -> None:
    """Write the embeddings of an identity, whole or not at all.

    name: free text that is kept in the metadata. Raises InstantIDError if it cannot be written.
    """
    tensors = {
        "face_embedding": identity.face_embedding.float().cpu().contiguous().clone(),
        "negative_embedding": identity.negative_embedding.float().cpu().contiguous().clone(),
    }
    metadata = {"format": FORMAT, "version": VERSION, "name": name}
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


def load_embeddings(path: Path) -> tuple[Tensor, Tensor]:
    """Return (face_embedding, negative_embedding) of a saved identity.

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


def _read(path: Path, file: Any) -> tuple[Tensor, Tensor]:
    metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise _wrong(path, "its metadata does not say that it is one")
    if metadata.get("version") != VERSION:
        raise WrongFileError(
            f"{path} is an identity file of version {readable(metadata.get('version'))}, which a "
            f"newer version of this pack wrote; this one reads version {VERSION}. Update Faithful "
            "InstantID, or encode the face again from its photo and save it here."
        )
    if sorted(file.keys()) != sorted(NAMES):
        held = readable(", ".join(sorted(file.keys())) or "nothing")
        raise _wrong(path, f"it holds {held}; wanted {' and '.join(NAMES)}")
    face, negative = (_read_tensor(path, file, name) for name in NAMES)
    if face.shape != negative.shape:
        raise _wrong(
            path, f"its parts differ in size: {size_of(face.shape)} and {size_of(negative.shape)}"
        )
    return face, negative


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
