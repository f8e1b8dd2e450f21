"""Rehearsals without real weights: what takes the place of photos, prompts, models and judges.

`drawn`: people drawn with OpenCV and models trained on them (devtools/drawn): likeness and colours
mean something there. `standins`: photos of the group photo that comes with insightface and models
with random weights: the pictures mean nothing, dlib and everything around the pictures is real.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ..drawn import judging, world
from ..drawn.world import Pose
from .people import Picture
from .prompts import OWN as OWN_PROMPTS
from .readers import Reader
from .recognisers import DLIB, DlibRecogniser, Face, PackRecogniser, Recogniser

DRAWN, STANDINS = "drawn", "standins"
PEOPLE, PROMPTS = 4, 12
FARTHEST = 255 * 3**0.5  # from black to white
PACK = Path("insightface", "models", "antelopev2")
MODELS = {"standins": "random", "drawn": "drawn"}  # kinds of make_standins.py
CPU = {"provider": "CPU"}


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal puts in the place of a user's own.

    reader: None measures nothing of the prompts. warning: for the page. common: inputs set in all
    graphs, as graphs.set_inputs takes them.
    """

    photos: Path
    prompts: Path
    recogniser: str
    reader: Reader | None
    warning: str
    common: Mapping[str, Any]


class ColourReader:
    """Reads the drawn world: the colours of background and clothes, which its prompts name."""

    name = "colours of background and clothes, read from the drawn picture"
    text_column, alike_column = "colours as told", "colours as without InstantID"

    def text(self, picture: Picture, face: Face | None, prompt: str, /) -> float:
        """1 where background and clothes have the told colours, less the farther they are off."""
        told = re.fullmatch(r"portrait of \w+ \w+, (\w+) background, (\w+) clothes", prompt)
        if told is None:
            raise ValueError(f"the drawn world knows no prompt as {prompt!r}")
        off = judging.colours_off(picture, [pose_of(face, picture)], told[1], told[2])
        return 1 - off / FARTHEST

    def alike(self, picture: Picture, other: Picture, /) -> float:
        """1 for pictures of the same colours everywhere, 0 for black and white."""
        size = (16, 16)
        small = [
            np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX), np.float64)
            for one in (picture, other)
        ]
        return 1 - float(np.abs(small[0] - small[1]).mean()) / 255


def pose_of(face: Face | None, picture: Picture) -> Pose:
    """Return where a found face stands; the middle of the picture where none was found."""
    height, width = picture.shape[:2]
    if face is None:
        return Pose(width / 2, height / 2, height / 2)
    left, top, right, bottom = face.box.tolist()
    return Pose((left + right) / 2, (top + bottom) / 2, (bottom - top) / 1.04)


def rehearse(kind: str, folder: Path, models: Path) -> Rehearsal:
    """Write what a rehearsal needs into `folder`. models: the stand-ins of its kind."""
    return (_drawn if kind == DRAWN else _standins)(folder, models)


def _drawn(folder: Path, models: Path) -> Rehearsal:
    """Drawn people, scenes by chance, and the recogniser of the drawn world."""
    random = np.random.default_rng(77)
    for number, sitter in enumerate(world.sitters(PEOPLE)):
        own = folder / "photos" / f"drawn {number + 1}"
        own.mkdir(parents=True, exist_ok=True)
        pictures = [sitter.portrait]
        for _ in range(2):
            pose, scene = world.draw_pose(random), world.draw_scene(random)
            pictures.append(world.draw([(sitter.identity, pose)], scene))
        for n, picture in enumerate(pictures, 1):
            Image.fromarray(picture).save(own / f"{n}.png")
    prompts = folder / "prompts.txt"
    scenes = [world.draw_scene(random) for _ in range(PROMPTS)]
    lines = [f"scene {n}: {scene.prompt()}" for n, scene in enumerate(scenes, 1)]
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    common = {
        **CPU,
        **{"width": world.SIZE, "height": world.SIZE, "steps": 6, "cfg": 1.5},
        **{"sampler_name": "euler", "scheduler": "simple"},
        "face_region": False,
        "CLIPTextEncode.text": "",
    }
    warning = (
        "A rehearsal with drawn people in a small world of its own, judged by the recogniser that "
        "its adapter was trained on, and by colours in the place of CLIP. It says nothing about "
        "real photos."
    )
    return Rehearsal(
        folder / "photos", prompts, str(models / PACK), ColourReader(), warning, common
    )


def _standins(folder: Path, models: Path) -> Rehearsal:
    """People of a real group photo whose faces the stand-in detector finds, too."""
    detector = PackRecogniser(models / PACK)
    found = [photo for photo in group_photo() if detector.look(np.asarray(photo))]
    save_with_copies(folder / "photos", found[:PEOPLE])
    common = {**CPU, "width": 192, "height": 256, "steps": 2}
    warning = (
        "A rehearsal on models with random weights: the pictures show nothing, and no number of "
        "them means anything. Only the two lines are of real photos."
    )
    return Rehearsal(folder / "photos", OWN_PROMPTS, DLIB, None, warning, common)


def save_with_copies(folder: Path, photos: Sequence[Image.Image]) -> None:
    """Save a folder for each person: the photo, and a mirrored and brightened copy held out."""
    for number, photo in enumerate(photos, 1):
        own = folder / f"person {number}"
        own.mkdir(parents=True, exist_ok=True)
        photo.save(own / "1.png")
        ImageEnhance.Brightness(ImageOps.mirror(photo)).enhance(1.2).save(own / "2.png")


def group_photo() -> list[Image.Image]:
    """Return the people of insightface's group photo, each cut out with room around the face."""
    import insightface

    path = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    with Image.open(path) as opened:
        photo = opened.convert("RGB")
    recogniser: Recogniser = DlibRecogniser()
    cut = []
    for face in recogniser.look(np.asarray(photo)):
        left, top, right, bottom = face.box.tolist()
        room = 0.45 * (bottom - top)
        sides = (left - room, top - room, right + room, bottom + room)
        inside = np.clip(sides, 0, [*photo.size, *photo.size]).round().astype(int).tolist()
        one = photo.crop(inside)
        cut.append(one.resize((one.width * 2, one.height * 2), Image.Resampling.LANCZOS))
    return cut
