"""The templates for videos run on a real server: a file goes in, and a file of as many frames."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces, landscape
from PIL import Image

from .conftest import node_id, pictures, workflow

WIDTH, HEIGHT, FRAMES, RATE = 256, 192, 12, 8
HIDDEN = (5, 6)  # frames in which nobody is seen


def walking(frame: int) -> list[DrawnFace]:
    return [] if frame in HIDDEN else [DrawnFace(80 + 8 * frame, 96, 90, person=3)]


@pytest.fixture(scope="module")
def filmed(server: Server) -> Server:
    """The session's server with a film and a photo in its input folder."""
    background = landscape(WIDTH, HEIGHT)
    with av.open(str(server.base / "input" / "film.mp4"), "w") as container:
        stream = container.add_stream("h264", rate=RATE, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n in range(FRAMES):
            drawn = draw_faces(walking(n), WIDTH, HEIGHT, background)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        container.mux(stream.encode())
    photo = draw_faces([DrawnFace(128, 96, 120, person=6)], WIDTH, HEIGHT, background)
    Image.fromarray(photo).save(server.base / "input" / "who.png")
    return server


def filmed_prompt(name: str, **changes: dict[str, Any]) -> Prompt:
    given = {"LoadVideo": {"file": "film.mp4"}, "LoadImage": {"image": "who.png"}}
    return workflow(name, **given, **changes)


def frames(server: Server, prompt: Prompt) -> tuple[np.ndarray, float]:
    """Run a prompt; return the frames of the film that it saves (F, H, W, 3), and their rate."""
    result = server.run(prompt)
    (saved,) = result.images(node_id(prompt, "SaveVideo"))
    with av.open(io.BytesIO(server.fetch(saved))) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]), rate


def saved(server: Server, prompt: Prompt) -> np.ndarray:
    return np.stack([np.asarray(one) for one in pictures(server, server.run(prompt), prompt)])


def test_a_portrait_is_animated_frame_by_frame(filmed: Server) -> None:
    """As long, as fast and as large as the film; every frame shows its own keypoints."""
    prompt = filmed_prompt("instantid_animate_portrait")
    prompt[node_id(prompt, "EmptyLatentImage")]["inputs"].update(width=WIDTH, height=HEIGHT)
    made, rate = frames(filmed, prompt)
    assert made.shape == (FRAMES, HEIGHT, WIDTH, 3) and rate == RATE
    del prompt[node_id(prompt, "SaveVideo")]  # pictures are not changed on their way to a file
    decoded = [node_id(prompt, "VAEDecode"), 0]
    prompt["seen"] = {
        "class_type": "SaveImage",
        "inputs": {"images": decoded, "filename_prefix": "seen"},
    }
    filled = saved(filmed, prompt)
    prompt[node_id(prompt, "IID_SteadyKeypoints")]["inputs"]["gaps"] = "blank"
    blank = saved(filmed, prompt)
    others = [n for n in range(FRAMES) if (filled[n] != blank[n]).any()]
    assert tuple(others) == HIDDEN  # a face by default, nobody now; all others to the bit


def test_another_face_changes_the_head_in_the_frames_that_have_it(filmed: Server) -> None:
    prompt = filmed_prompt(
        "instantid_face_in_video",
        IID_CropFace={"long_side": 128},
        IID_SteadyKeypoints={"gaps": "blank"},
    )
    made, rate = frames(filmed, prompt)
    assert made.shape == (FRAMES, HEIGHT, WIDTH, 3) and rate == RATE
    with av.open(str(filmed.base / "input" / "film.mp4")) as container:
        given = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    away = np.abs(made.astype(int) - given).mean(axis=3)
    for n in range(FRAMES):
        if n in HIDDEN:
            assert away[n].mean() < 3  # encoded once more, else as it was
            continue
        x = 80 + 8 * n
        head, corner = away[n, 76:116, x - 20 : x + 20], away[n, -30:, -30:]
        assert head.mean() > 15 > 5 > corner.mean(), n
