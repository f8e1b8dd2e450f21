"""The families of Stable Diffusion, told by the width of the text their cross-attention reads."""

from __future__ import annotations

_FAMILIES = {768: "SD1.5", 1024: "SD2", 1280: "the SDXL refiner", 2048: "SDXL"}


def family_of(context_width: int) -> str | None:
    """Return the name of the family whose cross-attention is that wide; None for no known one."""
    return _FAMILIES.get(context_width)
