"""Measure how time and memory of Follow Face grow with the length of a video.

    <environment's python> devtools/video_growth.py [FRAMES ...]

For each number of frames (300 and 3000 if none is named) a film with one drawn face is followed:
as pictures of 320x180, and as a file of 1280x720 that is read frame by frame. Each runs in a
process of its own; the peak is that process's resident memory beyond what it had before.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from comfy_server import default_comfyui
from make_standins import PACKAGE, checkout
from numpy.typing import NDArray

CASES = {"IMAGE": (320, 180), "VIDEO": (1280, 720)}
LENGTHS = (300, 3000)


def part(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def drawn(count: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Draw a face that goes round in the picture."""
    drawing = part("devtools.standins.drawing")
    for n in range(count):
        turn = 2 * np.pi * n / 150.37  # no two frames are alike: what is known is not looked at
        x, y = width * (0.5 + 0.2 * np.cos(turn)), height * (0.5 + 0.1 * np.sin(turn))
        yield drawing.draw_faces([drawing.DrawnFace(x, y, height * 0.45)], width, height)


def write_film(path: Path, count: int, width: int, height: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in drawn(count, width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def measured(kind: str, count: int) -> dict[str, float]:
    """Follow one film in this process; return seconds and bytes."""
    import torch

    faces, following = part("instantid_core.faces"), part("instantid_core.faces.following")
    footage = part("instantid_core.host.footage")
    size = CASES[kind]
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "models" / "antelopev2"
        pack.mkdir(parents=True)
        part("devtools.standins.faces").make_pack(pack)
        analyzer = faces.open_analyzer(faces.find_pack("antelopev2", [Path(folder)]), "CPU")
        if kind == "VIDEO":
            film = Path(folder) / "film.mp4"
            write_film(film, count, *size)
            given = importlib.import_module("comfy_api.latest").InputImpl.VideoFromFile(str(film))
        else:
            given = torch.from_numpy(np.stack(list(drawn(count, *size)))).float() / 255
        before, started = psutil.Process().memory_info().rss, time.process_time()
        settings = part("instantid_core.faces.cuts").CutSettings()
        shots = footage.footage_of(given)
        peak = _Peak(shots)
        made = following.follow(analyzer, peak, following.TrackChoice(), settings)
        seen = sum(map(len, made.keypoints.frames))
        return {
            "seconds": time.process_time() - started,
            "bytes": peak.most - before,
            "seen": seen,
        }


class _Peak:
    """Footage that looks at the memory of the process while it is handed out."""

    def __init__(self, footage: Any) -> None:
        self._footage, self.most = footage, 0

    def __len__(self) -> int:
        return len(self._footage)

    def __iter__(self) -> Iterator[Any]:
        for n, picture in enumerate(self._footage):
            if n % 10 == 0:
                self.most = max(self.most, psutil.Process().memory_info().rss)
            yield picture


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--one":
        kind, count = sys.argv[2:]
        sys.path.insert(0, str(default_comfyui()))
        sys.argv = [sys.argv[0], "--cpu"]
        importlib.import_module("comfy.options").enable_args_parsing()
        checkout()
        print(json.dumps(measured(kind, int(count))))
        return
    lengths = [int(text) for text in sys.argv[1:]] or LENGTHS
    print("| given as | frames | processor time | per frame | memory more | faces |")
    print("|---|---|---|---|---|---|")
    for kind, (width, height) in CASES.items():
        for count in lengths:
            command = [sys.executable, __file__, "--one", kind, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            made = json.loads(done.stdout.splitlines()[-1])
            each, more = made["seconds"] / count * 1000, made["bytes"] / 2**20
            print(
                f"| {kind} {width}x{height} | {count} | {made['seconds']:.0f} s | {each:.1f} ms "
                f"| {more:.0f} MiB | {made['seen']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
