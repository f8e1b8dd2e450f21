"""Set the browser tests' screenshots on sheets, to be looked at.

    <environment's python> devtools/contact_sheet.py FOLDER [--width 620] [--columns 3]

The tests leave them in .dev/screenshots; there is one sheet for each folder of it that holds any.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from env import STATE
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, LINE, GAP = (24, 24, 27), (230, 230, 230), 26, 8


def sheet(paths: list[Path], width: int, columns: int) -> Image.Image:
    """Return the pictures in rows, each under its file's name, all of one width."""
    pictures = [Image.open(path).convert("RGB") for path in paths]
    heights = [round(width * picture.height / picture.width) for picture in pictures]
    rows = [
        range(start, min(start + columns, len(paths))) for start in range(0, len(paths), columns)
    ]
    tall = [max(heights[index] for index in row) + LINE + GAP for row in rows]
    paper = Image.new("RGB", (columns * (width + GAP) + GAP, sum(tall)), PAPER)
    draw, top = ImageDraw.Draw(paper), 0
    for row, height in zip(rows, tall, strict=True):
        for column, index in enumerate(row):
            left = GAP + column * (width + GAP)
            draw.text((left, top + 4), paths[index].stem, INK, ImageFont.load_default(15))
            small = pictures[index].resize((width, heights[index]), Image.Resampling.LANCZOS)
            paper.paste(small, (left, top + LINE))
        top += height
    return paper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the sheets go")
    parser.add_argument("--width", type=int, default=620, help="of a picture, in pixels")
    parser.add_argument("--columns", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for folder in sorted(path for path in (STATE / "screenshots").iterdir() if path.is_dir()):
        paths = sorted(folder.glob("*.png"))
        if paths:
            place = options.folder / f"{folder.name}.png"
            sheet(paths, options.width, options.columns).save(place)
            print(f"{len(paths)} screenshots: {place}")


if __name__ == "__main__":
    main()
