"""The families of Stable Diffusion, told by the width of the text their cross-attention reads."""

from __future__ import annotations

_FAMILIES = {768: "SD1.5", 1024: "SD2", 1280: "the SDXL refiner", 2048: "SDXL"}


def family_of(context_width: int) -> str | None:
    """Return the name of the family whose cross-attention is that wide; None for no known one."""
    return _FAMILIES.get(context_width)


_VECTORS = {2560: "the SDXL refiner", 2816: "SDXL", 5632: "Kolors"}


def vector_words(width: int | None) -> str:
    """Return how many numbers about text and picture size a model has, and which model that is.

    width: None for a model without any, as SD1.5 is.
    """
    if width is None:
        return "none, as SD1.5 does"
    known = _VECTORS.get(width)
    return f"{width}" if known is None else f"{width}, as {known} does"
