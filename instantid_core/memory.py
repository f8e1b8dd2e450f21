"""Out of memory is told as that, never as a damaged file."""

from __future__ import annotations

import errno

import torch

from .checks import said
from .errors import OutOfMemoryError

# How libraries say it in errors of no type of their own: onnxruntime, OpenCV, PyTorch on the CPU.
_WORDS = (
    "out of memory",
    "not enough memory",
    "insufficient memory",
    "allocate memory",
    "bad allocation",
    "bad_alloc",
)


def is_shortage(error: BaseException) -> bool:
    """Say whether an error, whichever library it is from, means that memory ran out."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return any(word in str(error).lower() for word in _WORDS)


def refuse_shortage(error: BaseException, doing: str) -> None:
    """Raise an error of its own where memory ran out, and return where something else is wrong.

    doing: what there was no memory for, for the message: "read face.onnx".

    Raises OutOfMemoryError; PyTorch's own goes on as it is, since ComfyUI frees models at it.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        raise error
    if is_shortage(error):
        raise OutOfMemoryError(
            f"There is not enough memory to {doing} ({said(error)}). The file may well be "
            "whole. Close other programs, unload models in ComfyUI's menu, or take smaller "
            "pictures."
        ) from error
