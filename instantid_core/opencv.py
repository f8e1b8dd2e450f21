"""OpenCV, imported at first use: loading the pack needs none."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .checks import said
from .errors import MissingDependencyError


def opencv(work: str) -> Any:
    """Return the module cv2. Raises MissingDependencyError with the command that installs it.

    work: what it is wanted for, for the message: "Keypoints are drawn".
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingDependencyError(
            f"{work} with OpenCV, which is not installed in this Python ({said(error)}). "
            f'Install it with: "{sys.executable}" -m pip install opencv-python-headless'
        ) from error
