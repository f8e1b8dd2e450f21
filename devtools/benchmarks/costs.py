"""How costs grow: with faces, people, frames, references and jobs. Each row has its sentence why.

`costs` needs no model; `scale` needs SDXL and IdentityNet.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...fleet.plan import make_plan
from ...instantid_core.crops import EVERY_FACE, CropSettings, crop_faces, cut
from ...instantid_core.embeddings import combine_embeddings
from ...instantid_core.faces.frames import INTERPOLATE, fill_frames
from ...instantid_core.faces.steady import Steadying, steady
from ...instantid_core.faces.tracks import ONE_PERSON, Sighting, link
from ...instantid_core.host import encode_identity, load_adapter
from ...instantid_core.identity_file import save_identity
from ...instantid_core.keypoints import Keypoints, draw_frames
from ...instantid_core.log import log
from ...instantid_core.mask_layout import MaskLayout, Rectangle, View
from ...instantid_core.pasting import paste
from . import cases
from . import models as m
from .around import Setup
from .timing import Clock, Timings, paired

GRAPH = Path(__file__).resolve().parents[2] / "fleet" / "graphs" / "portrait.json"
SIDE = {"tiny": 256, "full": 1024}  # pixels of pictures and crops
COUNTS = {"tiny": (1, 4), "full": (1, 2, 4, 8, 16)}  # faces and people
FRAMES = {"tiny": (1, 30), "full": (1, 10, 100, 1000, 3000)}
MANY = {"tiny": (1, 10), "full": (1, 10, 100, 1000)}  # references and jobs
SHOWN = 16  # frames that a call shows

CROP, PASTE = "Crop Face, all faces of a picture", "Paste Face, all faces of a picture"
DRAWN, FILLED = "drawing keypoints of a video", "frames without a face, filled between others"
STEADY, LINKED = "Steady Keypoints, a video", "Follow Face, a video's faces put into tracks"
LAID = f"a mask of a video, laid for {SHOWN} of its frames"
COMBINED, APART = "references combined to one embedding", "references kept apart, encoded"
PLANNED, PEOPLE = "a plan for many servers", "people in one picture, a call of the UNet"

WHY = {
    CROP: "every face is cut out of the picture on its own, at the size of the crop",
    PASTE: "every face is warped back on its own, over its own part of the picture",
    DRAWN: "every frame is a picture of its own, and they are held together",
    FILLED: "five points are put between two frames; that is next to nothing",
    STEADY: "a window of frames goes over the points once",
    LINKED: "faces are put to those of the frame before; looking at the frames is what takes time",
    LAID: "only the frames that a call shows are laid, however long the video is",
    COMBINED: "one mean of numbers; finding the faces, one by one, is what takes time there",
    APART: "every reference has sixteen tokens of its own, and K and V of them in 70 layers",
    PLANNED: "every row of the table becomes a prompt that is written down",
    PEOPLE: "rows stay as they are; a person adds attention to sixteen tokens, in their own region",
}


def costs(setup: Setup) -> dict[str, Timings]:
    """Crop, paste, frames, references and plans, by their number."""
    rows: dict[str, Mapping[int, Callable[[], object]]] = {}
    side = SIDE[setup.size]
    picture = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0))
    crops = {count: _cropped(picture, count) for count in COUNTS[setup.size]}
    rows[CROP] = {n: functools.partial(_cropped, picture, n) for n in crops}
    rows[PASTE] = {n: functools.partial(_pasted, picture, crop) for n, crop in crops.items()}
    one = m.keypoints(side).frames[0]
    counts = FRAMES[setup.size]
    small = side // 8  # frames are held together: 3,000 of them must fit
    rows[DRAWN] = {n: functools.partial(_drawn, small, n) for n in counts}
    gaps = {n: [one if i % 3 == 0 else () for i in range(n)] for n in counts}
    rows[FILLED] = {n: functools.partial(_filled, frames) for n, frames in gaps.items()}
    rows[STEADY] = {n: functools.partial(_steadied, side, n) for n in counts}
    rows[LINKED] = {n: functools.partial(_linked, side, n) for n in counts}
    rows[LAID] = {n: functools.partial(_laid, torch.rand(n, small, small)) for n in counts}
    faces = {n: torch.randn(n, 512) for n in MANY[setup.size]}
    rows[COMBINED] = {n: _combine(face) for n, face in faces.items()}
    adapter = load_adapter(setup.adapter_file())
    few = [n for n in faces if n <= 100]  # 1,000 kept apart are 16,000 tokens: 5 GB of K and V
    rows[APART] = {n: functools.partial(encode_identity, adapter, faces[n]) for n in few}
    with tempfile.TemporaryDirectory() as folder:
        person = Path(folder) / "person.safetensors"
        save_identity(person, encode_identity(adapter, faces[1][0]))
        rows[PLANNED] = {n: functools.partial(_planned, person, n) for n in MANY[setup.size]}
        return {name: _timed(works, setup.rounds) for name, works in rows.items()}


def scale(setup: Setup) -> dict[str, Timings]:
    """The adapter and IdentityNet with several people, by their number."""
    models, size = setup.models(), setup.pixels
    x, clock = m.noise(size, 1), Clock(models.device)
    variants = {"bare UNet": cases.bare(models)}
    for count in COUNTS[setup.size]:
        variants[str(count)] = cases.both(models, cases.crowd(models, size, count), size)

    def call(name: str) -> Callable[[], float]:
        return lambda: m.calls(*variants[name], x, 1, clock)[0][0]

    with _silence():
        return {PEOPLE: paired({name: call(name) for name in variants}, setup.rounds)}


def growth(timings: Timings) -> str:
    """Say how much the time grows from the first to the last number, and by which power."""
    numbers = [name for name in timings.seconds if name.isdecimal()]
    first, last = numbers[0], numbers[-1]
    times = timings.median(last) / timings.median(first)
    power = math.log(times) / math.log(int(last) / int(first))
    return f"from {first} to {last} the time grows {times:.3g}-fold (number to the {power:.2f})"


def notes(rows: Mapping[str, Timings]) -> str:
    """Return a line for each row: how it grows, and why."""
    return "\n".join(f"- {name}: {growth(timings)}: {WHY[name]}." for name, timings in rows.items())


def _timed(works: Mapping[int, Callable[[], object]], rounds: int) -> Timings:
    clock = Clock(torch.device("cpu"))
    timed = {str(n): functools.partial(clock.time, work) for n, work in works.items()}
    with _silence():
        return paired(timed, rounds)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the pack from warning of thousands of frames, or of small faces."""
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


def _several(side: int, count: int) -> Keypoints:
    """So many faces, each in a column of its own."""
    faces = tuple(m.keypoints(side, place, count).frames[0][0] for place in range(count))
    return Keypoints(side, side, (faces,))


def _cropped(picture: torch.Tensor, count: int) -> Any:
    side = picture.shape[1]
    settings = CropSettings(long_side=side)
    return crop_faces(picture, _several(side, count), "left_to_right", EVERY_FACE, settings).crop


def _pasted(picture: torch.Tensor, crop: Any) -> object:
    return paste(picture, cut(picture, crop), crop)


def _drawn(side: int, count: int) -> object:
    return draw_frames(Keypoints(side, side, m.keypoints(side).frames * count))


def _filled(frames: Any) -> object:
    problems = ["no face"] * len(frames)
    frames = [*frames[:-1], frames[0]]  # the last one has a face, too
    return fill_frames(frames, problems, INTERPOLATE)


def _steadied(side: int, count: int) -> object:
    return steady(Keypoints(side, side, m.keypoints(side).frames * count), Steadying())


def _linked(side: int, count: int) -> object:
    """Two people who stay where they are."""
    embeddings = np.eye(2, 512, dtype=np.float32)
    faces = _several(side, 2).frames[0]
    frame = [Sighting(face, own) for face, own in zip(faces, embeddings, strict=True)]
    return link([tuple(frame)] * count, (), ONE_PERSON)


def _laid(mask: torch.Tensor) -> object:
    view = View((16, 16), (Rectangle(0, 0, 16, 16),) * SHOWN, tuple(range(SHOWN)))
    return MaskLayout(mask).over([(8, 8), (4, 4)], view)


def _combine(faces: torch.Tensor) -> Callable[[], object]:
    return lambda: combine_embeddings(faces, [1.0] * len(faces))


def _planned(person: Path, count: int) -> object:
    with tempfile.TemporaryDirectory() as folder:
        table = person.parent / "table.csv"
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("person", "identity", "seed"))
            writer.writerows(("somebody", person.name, seed) for seed in range(count))
        return make_plan(table, GRAPH, Path(folder) / "run")


CASES: dict[str, Callable[[Setup], dict[str, Timings]]] = {"costs": costs, "scale": scale}
