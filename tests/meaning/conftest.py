"""The trained chain of drawn people in this process; COMFYUI_PATH names ComfyUI's tree."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools import make_standins
from faithful_instantid.devtools.comfy_server import default_comfyui, standin_models

make_standins.start_comfyui(Path(os.environ["COMFYUI_PATH"]))

from faithful_instantid.devtools.drawn import measures  # noqa: E402
from faithful_instantid.devtools.drawn.studio import Studio  # noqa: E402


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the drawn world's models."""
    return standin_models(default_comfyui(), sys.executable, make_standins.DRAWN)


@pytest.fixture(scope="session")
def studio(models: Path) -> Any:
    return Studio(models)


@pytest.fixture(scope="session")
def who(studio: Any) -> measures.Everybody:
    """Twenty people that no training saw."""
    return measures.everybody(studio)
