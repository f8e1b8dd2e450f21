"""What the old apply, patch and keypoint nodes give.

They differ from the published method on purpose: the all-in-one nodes leave the ten middle layers
alone, masks are interpolated smoothly, keypoints are drawn at the photo's size, and the face tokens
are the context of every ControlNet of the chain. The ways are this pack's: nothing lent is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ... import checks
from ...embeddings import negative_noise
from ...errors import NoFaceError, WrongInputError
from ...faces import FaceAnalyzer, FoundFace, as_analyzer
from ...identity import Identity, NoIdentity
from ...images import ChannelOrder, Picture, image_batch, to_pictures
from ...keypoints import draw_keypoints
from ...log import tell, warn
from ..adapter_terms import apply_adapter
from ..encode import encode_identity, own_adapter
from ..faces import watched
from ..loading import Adapter
from .shared_context import Conditioning, apply_shared_context, contexts_of

SEEDS = 1_000_000_007  # the old pack takes the sum of the embedding modulo this prime as its seed
_OUTER_BLOCKS, _ALL_BLOCKS = ("input", "output"), ("input", "middle", "output")
AVERAGE, NORM_AVERAGE, CONCAT = "average", "norm average", "concat"
COMBINES = (AVERAGE, NORM_AVERAGE, CONCAT)


@dataclass(frozen=True, eq=False)
class OldSettings:
    """The widgets of the old all-in-one nodes.

    weight: of the adapter. strength: of IdentityNet. start_percent, end_percent: 0..1 of the
    sampling, for both. noise: 0..1 on the negative side. combine: one of COMBINES, how several
    photos become one face. mask: (H, W) or (B, H, W) in 0..1, for the adapter and the positive
    conditioning.
    """

    weight: float
    strength: float
    start_percent: float
    end_percent: float
    noise: float
    combine: str
    mask: Tensor | None


def apply_old_pack(
    adapter: Adapter,
    analysis: Any,
    control_net: Any,
    image: Tensor,
    image_kps: Tensor | None,
    model: Any,
    positive: Conditioning,
    negative: Conditioning,
    settings: OldSettings,
) -> tuple[Any, Conditioning, Conditioning]:
    """Return (model, positive, negative) with adapter and IdentityNet applied the old way.

    analysis: what FACEANALYSIS carries. image: (B, H, W, C), one person's photos. image_kps:
    (B, H, W, C), whose faces are drawn; without a face it counts as drawn already.
    Errors: NoFaceError without a face in `image`; WrongModelError; WrongInputError.
    """
    image = image_batch(image)
    image_kps = None if image_kps is None else image_batch(image_kps)
    identity = _encoded(adapter, analysis, image, settings.noise, settings.combine)
    window = (settings.start_percent, settings.end_percent)
    patched = _patched(model, identity, settings.weight, window, settings.mask, middle=False)
    conditionings = apply_shared_context(
        positive,
        negative,
        control_net,
        contexts_of(identity),
        _hint(analysis, image, image_kps),
        strength=settings.strength,
        start_percent=settings.start_percent,
        end_percent=settings.end_percent,
        mask=settings.mask,
    )
    return patched, *conditionings


def patch_old_attention(
    adapter: Adapter,
    analysis: Any,
    image: Tensor,
    model: Any,
    *,
    weight: float,
    start_percent: float,
    end_percent: float,
    noise: float,
    mask: Tensor | None,
) -> tuple[Any, Identity]:
    """Return the model with the adapter in all layers, and the face for the ControlNet node."""
    identity = _encoded(adapter, analysis, image_batch(image), noise, AVERAGE)
    window = (start_percent, end_percent)
    return _patched(model, identity, weight, window, mask, middle=True), identity


def apply_old_controlnet(
    face_embeds: object,
    control_net: Any,
    image_kps: Tensor,
    positive: Conditioning,
    negative: Conditioning,
    *,
    strength: float,
    start_percent: float,
    end_percent: float,
    mask: Tensor | None,
) -> tuple[Conditioning, Conditioning]:
    """Return (positive, negative) with IdentityNet chained on; strength 0 returns what came.

    face_embeds: an Identity, or the old pack's dict of face tokens, `cond` and `uncond`.
    image_kps: (B, H, W, C), drawn keypoints.
    """
    if isinstance(face_embeds, NoIdentity):
        tell(f"IdentityNet is not applied: {face_embeds.reason}")
        return positive, negative
    contexts = _contexts(face_embeds)
    if strength == 0:
        return positive, negative
    image_kps = image_batch(image_kps)
    return apply_shared_context(
        positive,
        negative,
        control_net,
        contexts,
        image_kps[..., :3],
        strength=strength,
        start_percent=start_percent,
        end_percent=end_percent,
        mask=mask,
    )


def draw_found_keypoints(analysis: Any, image: Tensor) -> Tensor:
    """Return the largest face of each picture, drawn at the picture's size; black without any.

    image: (B, H, W, C). Returns (F, H, W, 3) float32 in 0..1, for the F pictures with a face.
    """
    image = image_batch(image)
    drawn = _drawn(analysis, image)
    if drawn is None:
        warn("No face was found in the picture: the keypoint picture stays black.")
        return torch.zeros_like(image)
    return drawn


def _encoded(
    adapter: Adapter, analysis: Any, image: Tensor, noise: float, combine: str
) -> Identity:
    order = own_adapter(adapter).family.channel_order
    face = combined(_embeddings(analysis, image, order), combine)
    seed = int(face.sum().item()) % SEEDS
    negative = negative_noise(face, noise, seed) if noise > 0 else None
    return encode_identity(adapter, face, negative)


def combined(embeddings: Tensor, how: str) -> Tensor:
    """(M, 512) raw face embeddings -> (512,), or (M, 512) where they are kept side by side."""
    if len(embeddings) == 1:
        return embeddings[0]
    if how == AVERAGE:
        return embeddings.mean(dim=0)
    if how == NORM_AVERAGE:
        length = embeddings.norm(dim=0, keepdim=True)  # of each number over the photos
        return (embeddings / length.clamp(min=1e-12)).mean(dim=0)
    return embeddings


def _patched(
    model: Any,
    identity: Identity,
    weight: float,
    window: tuple[float, float],
    mask: Tensor | None,
    *,
    middle: bool,
) -> Any:
    return apply_adapter(
        model,
        identity,
        weight=weight,
        start_percent=window[0],
        end_percent=window[1],
        mask=mask,
        blocks=_ALL_BLOCKS if middle else _OUTER_BLOCKS,
        smooth_mask=True,
    )


def _hint(analysis: Any, image: Tensor, image_kps: Tensor | None) -> Tensor:
    """Return drawn keypoints, (B, H, W, 3) in 0..1: of `image_kps`, else of the first photo."""
    drawn = _drawn(analysis, image[:1] if image_kps is None else image_kps)
    if drawn is not None:
        return drawn
    if image_kps is None:
        warn("No face was found in the first photo: IdentityNet is shown no keypoints.")
        return torch.zeros_like(image[:1, ..., :3])
    warn("No face was found in image_kps: it is used as drawn keypoints, as it is.")
    return image_kps[..., :3]


def _drawn(analysis: Any, image: Tensor) -> Tensor | None:
    found = _largest_faces(as_analyzer(analysis), image)
    drawn = [
        draw_keypoints(face.points.kps, picture.shape[1], picture.shape[0], scale=1.0)
        for picture, face in found
    ]
    return torch.from_numpy(np.stack(drawn)).float() / 255.0 if drawn else None


def _embeddings(analysis: Any, image: Tensor, order: ChannelOrder) -> Tensor:
    """Return the raw embedding of the largest face of each picture that has one, (M, 512).

    order: of the channels that the recogniser is given.
    """
    analyzer = as_analyzer(analysis)
    found = _largest_faces(analyzer, image)
    if not found:
        count, height, width = image.shape[:3]
        raise NoFaceError(
            f"No face was found in the reference image ({count} x {width}x{height} pixels). "
            "Take a photo in which one face is clearly visible, with some room around it."
        )
    embeddings = [analyzer.embed(picture, face, order) for picture, face in watched(found)]
    return torch.from_numpy(np.stack(embeddings))


def _largest_faces(analyzer: FaceAnalyzer, image: Tensor) -> list[tuple[Picture, FoundFace]]:
    """Return the pictures that have a face, each with its largest one."""
    pictures = to_pictures(image[..., :3], truncated=True)
    found = [
        (picture, face)
        for picture in watched(pictures)
        if (face := _largest_face(analyzer, picture)) is not None
    ]
    if 0 < len(found) < len(pictures):
        missing = len(pictures) - len(found)
        warn(f"{missing} of {len(pictures)} pictures have no face; they are left out.")
    return found


def _largest_face(analyzer: FaceAnalyzer, picture: Picture) -> FoundFace | None:
    """Return the face the old pack takes; where it sees none, what a wider search finds."""
    search = analyzer.find_as_insightface(picture)
    if search.faces:
        return sorted(search.faces, key=_area)[-1]
    wider = analyzer.find(picture)
    if not wider.faces:
        return None
    height, width = picture.shape[:2]
    warn(
        f"As the old pack looks (sizes {', '.join(search.tried)}) no face is found in the picture "
        f"of {width}x{height}. A wider search found one, which is taken; the old pack would have "
        "found nobody."
    )
    return wider.faces[0]


def _area(face: FoundFace) -> np.float32:
    """Of the box, in the single precision that the old pack compares."""
    left, top, right, bottom = face.points.box
    return (right - left) * (bottom - top)


def _contexts(face_embeds: object) -> tuple[Tensor, Tensor]:
    """Return positive and negative face tokens, (M, N, D) each."""
    if isinstance(face_embeds, Identity):
        return contexts_of(face_embeds)
    if isinstance(face_embeds, dict):
        tokens = cast("dict[str, Any]", face_embeds)
        positive, negative = tokens.get("cond"), tokens.get("uncond")
        if isinstance(positive, Tensor) and isinstance(negative, Tensor):
            return positive.float().cpu(), negative.float().cpu()
    raise WrongInputError(
        f"FACE_EMBEDS brought {checks.kind_of(face_embeds)}; wanted the face of InstantID Patch "
        "Attention or of Encode Face. For several people take Apply IdentityNet."
    )
