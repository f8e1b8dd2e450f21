"""Checks of what sockets and widgets bring. ComfyUI checks widgets, but not what is linked in."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from .errors import WrongInputError

LARGEST = 1e6  # far beyond every slider; more only overflows
LINE = 300  # characters of what another library says
SHOWN = 80  # characters of what was found that a message repeats

Kept = TypeVar("Kept")


def shown(found: object) -> str:
    """Return what was found, for a message: quoted, control characters escaped, never long.

    Texts and numbers are repeated; of anything else the message says what kind of thing it is.
    """
    if not isinstance(found, (str, int, float)):
        return kind_of(found)
    text = ascii(found) if isinstance(found, str) else str(found)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def kind_of(found: object) -> str:
    """Return what kind of thing was found, for a message, with its article."""
    if found is None:
        return "nothing"
    for kind, words in _KINDS.items():
        if isinstance(found, kind):
            return words
    name = type(found).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name} object"


_KINDS: dict[type | tuple[type, ...], str] = {
    Tensor: "a tensor (an IMAGE or a MASK is one)",
    dict: "a dictionary (a LATENT is one)",
    (list, tuple): "a list",
    str: "a text",
    (bool, int, float): "a number",
}


def size_of(shape: Iterable[int]) -> str:
    """Return the shape of a tensor, for a message: 1 x 64 x 64 x 3."""
    return readable(" x ".join(map(str, shape)) or "of a single number")


def readable(name: object) -> str:
    """Return a name that stands in a file or a prompt: as it is, or as `shown` if that is unfit."""
    text = str(name)
    return text if text.isprintable() and len(text) <= SHOWN else shown(name)


def said(error: BaseException) -> str:
    """Return what another library's error says, for a message: one short line, nothing to obey.

    PyTorch's advice to load a refused pickle with its code is left out, and so are the paths that
    the operating system's errors repeat.
    """
    if isinstance(error, pickle.UnpicklingError):
        return "it is a pickle that holds more than weights, or a damaged one; it was not run"
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    return "".join(c if c.isprintable() else " " for c in text)[:LINE]


def number(value: Any, name: str) -> float:
    """Return an ordinary number as a float. Raises WrongInputError for NaN, infinity, and more."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not abs(found) <= LARGEST:
        raise WrongInputError(
            f"{name} is {shown(value)}. Wanted: an ordinary number, such as the slider offers."
        )
    return found


def unknown(name: str, value: object, offered: Iterable[str]) -> WrongInputError:
    """Return the error for a choice that is not offered."""
    return WrongInputError(f"{name} is {shown(value)}; wanted one of: {', '.join(offered)}.")


def tensor(found: object, name: str, wanted: str) -> Tensor:
    """Return a plain tensor with real numbers on a real device, without its gradient.

    name, wanted: for the message. Raises WrongInputError for anything else.
    """
    if not isinstance(found, Tensor):
        raise WrongInputError(f"{name} is {kind_of(found)}. Wanted: {wanted}.")
    if found.layout != torch.strided or found.is_complex() or found.device.type == "meta":
        raise WrongInputError(
            f"{name} holds complex numbers, is packed, or has no values in memory. Wanted: "
            f"{wanted} of ordinary numbers. Check the node that makes it."
        )
    return found.detach()


def part(kind: type[Kept], found: object, name: str, source: str) -> Kept | None:
    """Return an object of this pack, or None if nothing is connected.

    name, source: for the message: the input, and the node that makes such an object. Raises
    WrongInputError for anything else.
    """
    if found is None or isinstance(found, kind):
        return found
    raise WrongInputError(f"`{name}` is {kind_of(found)}. Connect {source}.")


def conditioning(found: object, name: str) -> list[Any]:
    """Return ComfyUI's CONDITIONING: a list of pairs of a text tensor and a dict.

    Raises WrongInputError for anything else.
    """
    kind = kind_of(found)
    if isinstance(found, list):
        entries = cast("list[Any]", found)
        if all(_is_entry(entry) for entry in entries):
            return entries
    raise WrongInputError(
        f"`{name}` is {kind}; wanted a CONDITIONING. Connect the output of a text encoder, such as "
        "CLIP Text Encode."
    )


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, (list, tuple)):
        return False
    parts = cast("list[Any]", entry)
    return len(parts) == 2 and isinstance(parts[0], Tensor) and isinstance(parts[1], dict)
