"""The small picture beside a saved identity, so that a person recognises the file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .checks import said
from .errors import InstantIDError
from .images import image_batch, to_pictures
from .small_pictures import size_within

SIDE = 256  # pixels of the long side
SUFFIX = ".png"
LARGEST_FILE = 1 << 20  # bytes
LARGEST_PIXELS = 1 << 22  # of a picture that somebody else put there


def picture_path(identity: Path) -> Path:
    """Return where the picture of a saved identity lies."""
    return identity.with_suffix(SUFFIX)


def save_picture(identity: Path, images: Tensor) -> None:
    """Keep the first picture of an IMAGE (B,H,W,C) beside a saved identity, small.

    Raises WrongInputError, or InstantIDError if it cannot be written.
    """
    rgb = to_pictures(image_batch(images)[:1])[0][..., ::-1]
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    made = io.BytesIO()
    picture.resize(size_within(*picture.size, SIDE), Image.Resampling.LANCZOS).save(made, "PNG")
    try:
        with picture_path(identity).open("xb") as file:
            file.write(made.getvalue())
    except OSError as error:
        raise InstantIDError(
            f"The identity was saved, but not the picture beside it ({said(error)}). Make room, or "
            "save it anew under another filename_prefix."
        ) from error


def load_picture(identity: Path) -> Tensor | None:
    """Return the picture beside a saved identity, IMAGE (1,H,W,3); None if there is no good one."""
    path = picture_path(identity)
    try:
        if path.stat().st_size > LARGEST_FILE:
            return None
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > LARGEST_PIXELS:
                return None
            rgb = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # none, or damaged
        return None
    return torch.from_numpy(rgb.copy()).float().div_(255)[None]
