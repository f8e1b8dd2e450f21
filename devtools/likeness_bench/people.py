"""The people of a run: a folder for each, whose first photo is the reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .errors import QualityError

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Person:
    """Somebody: what pictures are made from, and photos that no setting sees."""

    name: str
    reference: Path
    held_out: tuple[Path, ...]

    @property
    def photos(self) -> tuple[Path, ...]:
        return (self.reference, *self.held_out)


def read_people(folder: Path, count: int | None = None) -> list[Person]:
    """Return the people in a folder by name, at most `count`. Raises QualityError."""
    if not folder.is_dir():
        raise QualityError(f"--photos: there is no folder {folder}.")
    inner = sorted((path for path in folder.iterdir() if path.is_dir()), key=_in_order)
    found = [(path, _photos(path)) for path in inner if not path.name.startswith(".")]
    people = [Person(path.name, photos[0], tuple(photos[1:])) for path, photos in found if photos]
    if not people:
        raise QualityError(
            f"--photos: {folder} holds no folder with photos ({', '.join(KINDS)}). Make a folder "
            "for each person, for example ann/1.jpg and ann/2.jpg: the first photo is what "
            "pictures are made from, the others are only compared with."
        )
    return people[:count]


def _photos(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in KINDS), key=_in_order)


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Order 2.jpg before 10.jpg."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def open_picture(path: Path) -> Picture:
    """Return a picture as it is to be seen: turned as its camera says. Raises QualityError."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise QualityError(
            f"{path} cannot be opened as a picture ({error}). Put a whole one in its place."
        ) from error
