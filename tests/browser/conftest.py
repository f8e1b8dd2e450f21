"""One ComfyUI server with stand-in models and one Chromium for the whole tier."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faithful_instantid.devtools.comfy_server import PHOTO, serve
from faithful_instantid.devtools.frontend import RENDERERS, Frontend, open_frontend
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces, landscape
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
# Photos of the examples in which the stand-in models find nobody, or one where two are wanted.
UNSEEN = ("instantid-example-officer.jpg", "instantid-example-two.jpg")
SCREENSHOTS = ROOT / ".dev" / "screenshots"


def two_people(path: Path) -> None:
    """Draw two people, whom the stand-in face models find at every size."""
    faces = [DrawnFace(150, 130, 150, person=0), DrawnFace(370, 120, 120, person=1)]
    Image.fromarray(draw_faces(faces, 512, 256, landscape(512, 256))).save(path)


@pytest.fixture(scope="session")
def page() -> Iterator[Frontend]:
    """The one page; `frontend` sets its renderer."""
    root = os.environ.get("INSTANTID_TESTS_FRONTEND")  # of devtools/test.py --frontend
    arguments = ("--front-end-root", root) if root else ()
    with serve(arguments=arguments) as server, open_frontend(server.url) as opened:
        for name in (PHOTO, *UNSEEN):
            two_people(server.base / "input" / name)
        yield opened


@pytest.fixture(scope="session", params=RENDERERS)
def frontend(page: Frontend, request: pytest.FixtureRequest) -> Frontend:
    """The frontend, once with the classic canvas and once with the Vue renderer."""
    page.set(request.param)
    return page
