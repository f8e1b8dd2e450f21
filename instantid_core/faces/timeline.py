"""A video's persons over time, as a picture: who, where, and when they are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ..images import Picture

THUMBNAIL = 64  # pixels
MOST_LANES = 12
_WIDTH, _LEFT, _RIGHT = 1024, 112, 1008
_TOP, _HEIGHT, _SPACE, _BOTTOM = 12, 64, 12, 68
_BACKGROUND, _LANE, _CUT, _TEXT = (24, 24, 28), (44, 44, 52), (230, 120, 90), (200, 200, 208)
_FONT = 24  # pixels: a node shows the picture at a third of its size
_OTHER, _CHOSEN = (96, 176, 255), (60, 220, 60)


@dataclass(frozen=True, eq=False)
class Lane:
    """One person. places: left and right of the face in pixels, by frame. face: BGR, or None."""

    name: str
    places: Mapping[int, tuple[float, float]]
    face: Picture | None
    is_chosen: bool


def draw_timeline(lanes: Sequence[Lane], frames: int, width: int, cuts: Sequence[int]) -> Picture:
    """Return one lane for each person, those that are chosen first, over `frames` frames.

    In a lane time runs to the right, and the face is drawn from where the picture's left is (top)
    to its right (bottom); `width` pixels are the lane's height. cuts: drawn as lines.
    Returns (H, 1024, 3) BGR bytes.
    """
    shown = sorted(lanes, key=lambda lane: not lane.is_chosen)[:MOST_LANES]
    height = _TOP + len(shown) * (_HEIGHT + _SPACE) + _BOTTOM
    image = Image.new("RGB", (_WIDTH, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for number, lane in enumerate(shown):
        top = _TOP + number * (_HEIGHT + _SPACE)
        draw.rectangle((_LEFT, top, _RIGHT, top + _HEIGHT), fill=_LANE)
        _draw_lane(image, draw, lane, top, frames, width)
    bottom = height - _BOTTOM
    for cut in cuts:
        draw.line((_x(cut, frames), _TOP, _x(cut, frames), bottom), fill=_CUT, width=2)
    for tick in sorted({round(part * (frames - 1)) for part in (0.0, 0.25, 0.5, 0.75, 1.0)}):
        draw.text(
            (_x(tick + 0.5, frames), bottom + 2),
            f"{tick}",
            fill=_TEXT,
            anchor="ma",
            font_size=_FONT,
        )
    hidden = len(lanes) - len(shown)
    words = "frame" + (f"; {hidden} more persons are not shown" if hidden else "")
    middle = (_LEFT + _RIGHT) / 2
    draw.text((middle, bottom + 32), words, fill=_TEXT, anchor="ma", font_size=_FONT)
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def _draw_lane(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    lane: Lane,
    top: int,
    frames: int,
    width: int,
) -> None:
    colour = _CHOSEN if lane.is_chosen else _OTHER
    draw.text((20, top + _HEIGHT / 2), lane.name, fill=colour, anchor="mm", font_size=_FONT)
    if lane.face is not None:
        image.paste(Image.fromarray(np.ascontiguousarray(lane.face[..., ::-1])), (40, top))
    for frame, (left, right) in lane.places.items():
        a, b = (top + min(max(side / width, 0.0), 1.0) * _HEIGHT for side in (left, right))
        x = _x(frame, frames)
        draw.rectangle((x, a, max(_x(frame + 1, frames) - 1, x), b), fill=colour)


def _x(frame: float, frames: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * frame / max(frames, 1)
