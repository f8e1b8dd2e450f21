"""What a node shows of what it made: a few small pictures, as temporary files."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..instantid_core.fitting import Fit
from ..instantid_core.host.hints import DrawnHint
from ..instantid_core.keypoints import Keypoints
from ..instantid_core.small_pictures import LARGEST, few, size_within, small


def shown(node: type[io.ComfyNode], images: Tensor) -> ui.PreviewImage:
    """Show an IMAGE (B,H,W,3) or a MASK (B,H,W) on a node."""
    pictures = images if images.ndim == 4 else images[..., None].expand(-1, -1, -1, 3)
    return ui.PreviewImage(small(pictures), cls=node)


def shown_keypoints(node: type[io.ComfyNode], keypoints: Keypoints) -> ui.PreviewImage:
    """Show keypoints on a node, drawn on a picture of their own shape."""
    size = size_within(keypoints.width, keypoints.height, LARGEST)
    hint = DrawnHint(keypoints, Fit.PAD)
    drawn = hint.at(*size, few(hint.frame_count))  # (B,3,H,W)
    return ui.PreviewImage(drawn.movedim(1, -1), cls=node)
