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
    """Return what was found, for a message: quoted, control characters escaped, never long."""
    text = ascii(found) if isinstance(found, str) else repr(found)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def said(error: BaseException) -> str:
    """Return what another library's error says, for a message: one short line, nothing to obey.

    PyTorch's advice to load a refused pickle with its code is left out.
    """
    if isinstance(error, pickle.UnpicklingError):
        return "it is a pickle that holds more than weights, or a damaged one; it was not run"
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
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
        raise WrongInputError(f"{name} is a {type(found).__name__}. Wanted: {wanted}.")
    if found.layout != torch.strided or found.is_complex() or found.device.type == "meta":
        raise WrongInputError(
            f"{name} is a tensor of {found.dtype}, {found.layout}, on {found.device}. Wanted: "
            f"{wanted}, with its values in memory."
        )
    return found.detach()


def part(kind: type[Kept], found: object, name: str, source: str) -> Kept | None:
    """Return an object of this pack, or None if nothing is connected.

    name, source: for the message: the input, and the node that makes such an object. Raises
    WrongInputError for anything else.
    """
    if found is None or isinstance(found, kind):
        return found
    raise WrongInputError(f"`{name}` is a {type(found).__name__}. Connect {source}.")


def conditioning(found: object, name: str) -> list[Any]:
    """Return ComfyUI's CONDITIONING: a list of pairs of a text tensor and a dict.

    Raises WrongInputError for anything else.
    """
    name_of_type = type(found).__name__
    if isinstance(found, list):
        entries = cast("list[Any]", found)
        if all(_is_entry(entry) for entry in entries):
            return entries
    raise WrongInputError(
        f"`{name}` is a {name_of_type} that is no CONDITIONING. Connect the output of a "
        "text encoder, such as CLIP Text Encode."
    )


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, (list, tuple)):
        return False
    parts = cast("list[Any]", entry)
    return len(parts) == 2 and isinstance(parts[0], Tensor) and isinstance(parts[1], dict)
