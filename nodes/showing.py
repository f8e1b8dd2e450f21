"""What a node shows of what it made: a few small pictures, as temporary files."""

from __future__ import annotations

import random
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..instantid_core.fitting import Fit
from ..instantid_core.host.hints import DrawnHint
from ..instantid_core.images import image_batch, to_rgb
from ..instantid_core.keypoints import Keypoints
from ..instantid_core.small_pictures import LARGEST, few, size_within, small


def shown(node: type[io.ComfyNode], images: Tensor) -> ui.PreviewImage:
    """Show an IMAGE (B,H,W,3) or a MASK (B,H,W) on a node."""
    pictures = images if images.ndim == 4 else images[..., None].expand(-1, -1, -1, 3)
    return _preview(node, small(pictures))


def shown_keypoints(node: type[io.ComfyNode], keypoints: Keypoints) -> ui.PreviewImage:
    """Show keypoints on a node, drawn on a picture of their own shape."""
    size = size_within(keypoints.width, keypoints.height, LARGEST)
    hint = DrawnHint(keypoints, Fit.PAD)
    drawn = hint.at(*size, few(hint.frame_count))  # (B,3,H,W)
    return _preview(node, drawn.movedim(1, -1))


def shown_in_editor(
    node: type[io.ComfyNode], keypoints: Keypoints, before: dict[str, Any], image: Any
) -> dict[str, Any]:
    """Show keypoints on a node, and tell its editor what it began with and what lies behind.

    before: what `for_editor` says. image: an IMAGE, whose first picture lies behind; or None.
    """
    backdrop = None
    if image is not None:
        (backdrop,) = _preview(node, small(to_rgb(image_batch(image)[:1]))).values
    shown_before = {**before, "backdrop": backdrop}
    return {**shown_keypoints(node, keypoints).as_dict(), "edit_keypoints": [shown_before]}


def _preview(node: type[io.ComfyNode], pictures: Tensor) -> ui.PreviewImage:
    """Save pictures as ComfyUI's previews; the random numbers of others stay as they were.

    ComfyUI draws the file's name from Python's own generator.
    """
    before = random.getstate()
    try:
        return ui.PreviewImage(pictures, cls=node)
    finally:
        random.setstate(before)
