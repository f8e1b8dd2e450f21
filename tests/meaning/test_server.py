"""The server makes the picture that the same nodes make in process."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from faithful_instantid.devtools import make_standins
from faithful_instantid.devtools.comfy_server import Prompt, serve
from faithful_instantid.devtools.drawn import sheet
from faithful_instantid.devtools.drawn.studio import Order, Studio, image_of
from faithful_instantid.nodes.keypoints import FaceKeypoints
from PIL import Image

FILES = {
    "checkpoint": Path(make_standins.CHECKPOINT).name,
    "identitynet": Path(make_standins.IDENTITYNET).name,
    "adapter": Path(make_standins.ADAPTER).name,
}


def only(prompt: Prompt, name: str) -> Prompt:
    """Return the nodes that one result needs."""
    wanted: Prompt = {}
    left = [name]
    while left:
        node = left.pop()
        wanted[node] = prompt[node]
        left += [value[0] for value in prompt[node]["inputs"].values() if isinstance(value, list)]
    return wanted


def test_the_server_makes_the_picture_that_is_made_in_process(studio: Studio, models: Path) -> None:
    given = sheet.make_sheet()
    with serve(models) as server:
        for name, picture in given.inputs().items():
            cv2.imwrite(str(server.base / "input" / name), picture[..., ::-1])
        result = server.run(only(sheet.graph(FILES), "with_instantid"))
        (saved,) = result.images("with_instantid")
        made = np.asarray(Image.open(io.BytesIO(server.fetch(saved))).convert("RGB"))
    pose = image_of(given.pose)
    points = FaceKeypoints.execute(studio.analyzer, pose, "largest", 0, "error")[0]
    own = studio.make(
        Order(
            sheet.FIRST,
            studio.identity(given.first.portrait),
            seed=sheet.SEED,
            steps=sheet.STEPS,
            control={"keypoints": points},
        )
    )
    assert np.abs(made.astype(int) - own.astype(int)).max() <= 2
