"""Real photos, the drawn world's server, and the command as a user runs it.

This tier runs in the environment of devtools/quality.py (env.ensure_quality); COMFYUI_PATH and
COMFYUI_PYTHON name the tree and the interpreter of the server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faithful_instantid.devtools.comfy_server import (
    Server,
    default_comfyui,
    serve,
    standin_models,
)
from faithful_instantid.devtools.likeness_bench.recognisers import DlibRecogniser
from faithful_instantid.devtools.likeness_bench.rehearsal import MODELS, group_photo
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "devtools"))  # quality.py imports what lies beside it as a script does


@pytest.fixture(scope="session")
def dlib() -> DlibRecogniser:
    return DlibRecogniser()


@pytest.fixture(scope="session")
def face() -> Image.Image:
    """One person of insightface's group photo, cut out."""
    return group_photo()[0]


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the drawn world's models."""
    return standin_models(default_comfyui(), os.environ["COMFYUI_PYTHON"], MODELS["drawn"])


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[Server]:
    with serve(models, python=os.environ["COMFYUI_PYTHON"]) as running:
        yield running
