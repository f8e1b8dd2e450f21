"""Write pictures so that a file changes only where something is to be seen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

SEEN = 24  # of 255: what anti-aliasing and compression differ by from run to run is less


def alike(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two pictures show the same: no value differs by more than SEEN."""
    if one.size != other.size:
        return False
    extrema = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema()
    return max(high for _, high in extrema) <= SEEN


def keep_or_save(image: Image.Image, path: Path, **options: Any) -> None:
    """Save a picture; a file that shows the same already is left as it is.

    options: of PIL's `save`. The kind of file is told by the name.
    """
    written = io.BytesIO()
    kind = {".jpg": "JPEG", ".png": "PNG"}[path.suffix]
    image.save(written, kind, **options)
    if path.is_file():
        with Image.open(path) as before, Image.open(written) as after:
            if alike(before, after):
                return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written.getvalue())
