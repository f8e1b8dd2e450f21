"""OpenCV and SciPy, imported at first use: loading the pack needs neither."""

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
    return _library("cv2", "OpenCV", "opencv-python-headless", work)


def scipy(module: str, work: str) -> Any:
    """Return a module of SciPy, such as "optimize". Raises MissingDependencyError as `opencv`.

    work: what it is wanted for, for the message: "Faces are followed".
    """
    return _library(f"scipy.{module}", "SciPy", "scipy", work)


def _library(module: str, name: str, package: str, work: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{work} with {name}, which is not installed in this Python ({said(error)}). "
            f'Install it with: "{sys.executable}" -m pip install {package}'
        ) from error
