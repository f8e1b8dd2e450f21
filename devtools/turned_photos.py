"""Turn the heads of real photos, and set what comes out on a sheet.

    <environment's python> devtools/turned_photos.py [FILE]

Without FILE: the two portraits of scikit-image, as docs/images/turned_heads.jpg. With FILE: those
and the six people of insightface's group photo, for a look. The five points of each face were put
by hand, for no detector is needed to see what turning does.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
SHEET = ROOT / "docs" / "images" / "turned_heads.jpg"
TILE, LINE, GAP = 196, 26, 4  # pixels
PAPER, INK = (30, 31, 38), (235, 235, 240)
DARK = 0.3  # of a photo behind turned points
SHARE = 0.55  # of a tile that the face's box takes
DRAWN = 4  # times larger than they will be shown, so that points look as on a large picture

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Posed:
    """A face in a photo. photo: "astronaut", "camera" or "group". points: x, y of five, by hand."""

    photo: str
    points: tuple[tuple[float, float], ...]


PHOTOS = {
    "smile": Posed("astronaut", ((203, 101), (245, 103.5), (224, 126), (203, 140.5), (246, 141))),
    "profile": Posed("camera", ((236, 147), (249, 148), (253, 166), (230, 181), (242, 183))),
    "tilted": Posed("group", ((87, 330), (125, 306), (115, 342), (114, 369), (148, 350))),
    "side": Posed("group", ((292, 211), (321, 194), (302, 226), (312, 244), (339, 233))),
    "grin": Posed("group", ((491, 320), (537, 334), (510, 362), (481, 364), (537, 378))),
    "laugh": Posed("group", ((759, 397), (803, 404), (770, 428), (772, 436), (808, 441))),
    "far side": Posed("group", ((913, 117), (943, 114), (918, 148), (930, 169), (957, 169))),
    "down": Posed("group", ((1145, 326), (1189, 324), (1168, 350), (1153, 366), (1196, 363))),
}
KEPT = ("smile", "profile")


def photo(name: str) -> Picture:
    """Return a photo as (H, W, 3) RGB."""
    if name == "group":
        data = importlib.import_module("insightface.data")
        return np.ascontiguousarray(data.get_image("t1")[..., ::-1])
    made = getattr(importlib.import_module("skimage.data"), name)()
    return made if made.ndim == 3 else np.repeat(made[..., None], 3, axis=2)


def load_core() -> Any:
    """Return the package instantid_core, with the modules that are used here."""
    maker = importlib.import_module("make_standins")
    maker.checkout()
    for name in ("head", "keypoints"):
        importlib.import_module(f"{maker.PACKAGE}.instantid_core.{name}")
    return importlib.import_module(f"{maker.PACKAGE}.instantid_core")


def row(core: Any, posed: Posed) -> list[tuple[str, Picture]]:
    """Return a photo with its points, and its points turned, as tiles with their words."""
    head, kps = core.head, np.array(posed.points, np.float64)
    box = head.seen(kps).box
    side = DRAWN * TILE
    scale = SHARE * side / float((box[2:] - box[:2]).max())
    shift = side / 2 - (box[:2] + box[2:]) / 2 * scale
    source = Image.fromarray(photo(posed.photo))
    place = (1 / scale, 0, -shift[0] / scale, 0, 1 / scale, -shift[1] / scale)
    large = source.transform((side, side), Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)
    plain = np.asarray(large)
    pose = head.estimate(kps)
    tiles = [(f"yaw {pose.yaw:.0f}, pitch {pose.pitch:.0f}", (plain, kps))]
    dark = (plain * DARK).astype(np.uint8)
    tiles += [(look.value, (dark, head.look(kps, look))) for look in head.Look]
    return [
        (words, _over(core, picture, points * scale + shift)) for words, (picture, points) in tiles
    ]


def _over(core: Any, picture: Picture, points: NDArray[np.float64]) -> Picture:
    drawn = core.keypoints.draw_keypoints(points, *picture.shape[1::-1], scale=1.6)
    return np.where(drawn.any(axis=2, keepdims=True), drawn, picture)


def sheet(names: tuple[str, ...]) -> Image.Image:
    """Set one row for each photo."""
    core = load_core()
    rows = [row(core, PHOTOS[name]) for name in names]
    width, height = TILE + GAP, TILE + LINE + GAP
    paper = Image.new("RGB", (len(rows[0]) * width + GAP, len(rows) * height + GAP), PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(15)
    for y, tiles in enumerate(rows):
        for x, (words, picture) in enumerate(tiles):
            left, top = GAP + x * width, GAP + y * height
            small = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
            paper.paste(small, (left, top))
            middle = (left + TILE // 2, top + TILE + LINE // 2)
            draw.text(middle, words, INK, font, anchor="mm")
    return paper


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="a sheet of all photos")
    file = parser.parse_args().file
    if file is None:
        sheet(KEPT).save(SHEET, quality=85)
    else:
        sheet(tuple(PHOTOS)).save(file)
    print(file or SHEET.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
