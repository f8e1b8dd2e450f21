"""Photos with drawn faces, which the stand-in face models find, in many sizes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_standins
import numpy as np
from PIL import Image

from neighbours.checks import OTHER_PHOTO

# Width and height in pixels, and by how much the picture is drawn smaller and then enlarged: a
# drawn face must not fill more than the detector sees.
SIZES = (
    *((296, 296, 1), (512, 512, 1), (640, 480, 1), (768, 1024, 1), (1024, 1024, 1)),
    *((1080, 1920, 1), (1500, 2000, 4), (2048, 1365, 4), (3000, 2000, 4), (3000, 4000, 4)),
)


def drawing() -> Any:
    """Return devtools/standins/drawing.py as a module."""
    make_standins.checkout()
    return importlib.import_module(f"{make_standins.PACKAGE}.devtools.standins.drawing")


def drawn(width: int, height: int, scale: int = 1, person: int = 3) -> Image.Image:
    """Return a picture of two people; the largest is `person`."""
    draw = drawing()
    w, h = width // scale, height // scale
    side = min(w, h)
    faces = [draw.DrawnFace(0.3 * w, 0.4 * h, 0.4 * side, 9, person)]
    faces += [draw.DrawnFace(0.75 * w, 0.7 * h, 0.24 * side, -14, 5)]
    picture = Image.fromarray(np.asarray(draw.draw_faces(faces, w, h)))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def save_others(folder: Path) -> None:
    """Write the photo of somebody else, for the server's portrait to be compared with."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn(320, 400, person=6).save(folder / OTHER_PHOTO)


def save_all(folder: Path) -> Iterator[str]:
    """Write the photos of all sizes; yield their file names."""
    for width, height, scale in SIZES:
        name = f"{width}x{height}.png"
        drawn(width, height, scale).save(folder / name)
        yield name
