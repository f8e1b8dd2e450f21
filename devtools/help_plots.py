"""The pictures of the help pages about videos: tracks, a steady way, weights by frame.

refresh.py calls this. The pack draws them itself, of what is made up here.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import make_standins
import numpy as np
from drawn import world
from drawn.world import Pose, Scene
from numpy.typing import NDArray
from pictures import keep_or_save
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).resolve().parent.parent / "web" / "docs" / "images"
FRAMES, CUTS = 120, (52, 90)
SIZE = (640, 300)
PAPER, FOUND, MADE, INK = (24, 24, 28), (150, 90, 70), (96, 176, 255), (200, 200, 208)


def core(name: str) -> Any:
    make_standins.checkout()
    return importlib.import_module(f"{make_standins.PACKAGE}.instantid_core.{name}")


def lanes() -> Image.Image:
    """Draw two persons who change places behind a cut, and of whom one leaves for a while."""
    timeline = core("faces.timeline")
    side = timeline.THUMBNAIL
    people = [world.draw([(who.identity, Pose(64, 62, 78))], Scene("white", "green")) for who in
              world.sitters(2)]  # fmt: skip
    faces = [np.asarray(Image.fromarray(p).resize((side, side)))[..., ::-1] for p in people]
    first = {n: 90 + 30 * np.sin(n / 9) for n in range(FRAMES) if n < 30 or 41 < n < 90}
    second = {n: 220 - n if n < 52 else 110 + 0.3 * n for n in range(FRAMES)}
    first |= {n: 210.0 for n in first if n >= 52}
    made = [
        timeline.Lane(str(n), {f: (x - 34, x + 34) for f, x in places.items()}, faces[n], n == 0)
        for n, places in enumerate((first, second))
    ]
    return Image.fromarray(timeline.draw_timeline(made, FRAMES, 320, CUTS)[..., ::-1])


def steady_way() -> Image.Image:
    """Draw how far to the right a nose is, frame by frame: as found, and made steady."""
    keypoints, fitting, steady = (core(name) for name in ("keypoints", "fitting", "faces.steady"))
    (face,) = fitting.place(fitting.standard_face(), 640, 360, 0.4, 0.5, 0.4).faces
    random = np.random.default_rng(3)
    way = 40 * np.tanh((np.arange(90) - 45) / 9) + random.normal(0, 2.5, 90)
    shifts = [np.array([x, 0.0], np.float32) for x in way]
    frames = tuple(
        () if 60 < n < 66
        else (replace(face, kps=face.kps + shift, box=face.box + np.tile(shift, 2)),)
        for n, shift in enumerate(shifts)
    )  # fmt: skip
    given = keypoints.Keypoints(640, 360, frames)
    paper = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(paper)
    made = steady.steady(given, steady.Steadying())
    for found, colour, width in ((given, FOUND, 2), (made, MADE, 4)):
        line: list[tuple[float, float]] = []
        for n, frame in enumerate(found.frames):
            if frame:
                x = float(frame[0].kps[keypoints.NOSE, 0] - face.kps[keypoints.NOSE, 0])
                line.append((20 + n * (SIZE[0] - 40) / 90, SIZE[1] / 2 - x * 2.2))
            elif line:
                draw.line(line, colour, width)
                line = []
        draw.line(line, colour, width)
    font = ImageFont.load_default(18)
    draw.text((24, 18), "as found, 5 frames missing", FOUND, font)
    draw.text((24, 44), "steady", MADE, font)
    draw.text((SIZE[0] - 24, SIZE[1] - 24), "frame", INK, font, anchor="rm")
    return paper


def weights() -> NDArray[np.uint8]:
    """Draw the weights that the node begins with."""
    return core("plots").plot_frames(core("frame_weights").parse_frame_weights("0:1, 24:0.5"))


def update() -> None:
    """Make the pictures; one that shows the same already is left as it is."""
    keep_or_save(lanes(), FOLDER / "follow_face.png")
    keep_or_save(steady_way(), FOLDER / "steady_keypoints.png")
    keep_or_save(Image.fromarray(weights()), FOLDER / "frame_weights.png")


if __name__ == "__main__":
    update()
