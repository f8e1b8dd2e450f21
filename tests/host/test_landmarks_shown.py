"""Which drawing IdentityNet is shown follows from the identity's family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.devtools import tiny_sdxl
from faithful_instantid.instantid_core.fitting import Fit, fit, place, standard_face, transform
from faithful_instantid.instantid_core.host.conditioning import apply_identitynet
from faithful_instantid.instantid_core.host.hints import NO_LANDMARKS
from faithful_instantid.instantid_core.host.people import PersonSettings, with_person
from faithful_instantid.instantid_core.identity import FrameIdentities, Identity, IdentitySide
from faithful_instantid.instantid_core.keypoints import SD15_DRAWING, Keypoints, draw_frames
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.instantid_core.unet_layout import SD15, SDXL
from faithful_instantid.nodes.keypoints import DrawKeypoints

SIZE = 512, 640
TEXT = [[torch.zeros(1, 77, 8), {}]]
# A ControlNet of SD1.5 at a tenth of its width: what is shown to it is all that is looked at here.
SD15_CONFIG = {
    **tiny_sdxl.UNET_CONFIG,
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "adm_in_channels": None,
    "num_classes": None,
}


@pytest.fixture(scope="module")
def nets(make_controlnet: Callable[[str], Any]) -> dict[int, Any]:
    """CONTROL_NETs by the width of their context."""
    sd15 = tiny_sdxl.wrapped(tiny_sdxl.controlnet(SD15_CONFIG))
    return {768: sd15, tiny_sdxl.CONTEXT_WIDTH: make_controlnet("identitynet")}


def someone(width: int) -> Identity:
    side = IdentitySide(torch.zeros(1, 16, width), torch.zeros(1))
    family = SD15 if width == 768 else SDXL
    return Identity(torch.ones(512), torch.zeros(512), side, side, family)


def marked(keypoints: Keypoints) -> Keypoints:
    random = np.random.default_rng(5)
    faces = [
        replace(face, landmarks=random.uniform(face.box[:2], face.box[2:], (106, 2)).astype("f4"))
        for face in keypoints.faces
    ]
    return replace(keypoints, frames=(tuple(faces),))


FACE = marked(place(standard_face(), 640, 400, 0.4, 0.5, 0.6))
OTHER = marked(transform(FACE, move_x=0.3, scale=0.7))


def shown(nets: dict[int, Any], width: int, identity: Any, hint: Any, **more: Any) -> Any:
    """What each IdentityNet of the chain is shown, (B,3,H,W), and what was said."""
    with listening() as heard:
        positive, _ = apply_identitynet(TEXT, TEXT, nets[width], identity, hint, **more)
    pictures, net = [], positive[0][1]["control"]
    while net is not None:
        pictures.append(net.face.hint.at(*SIZE))
        net = net.previous_controlnet
    return pictures, heard.problems


def drawn(keypoints: Keypoints, *style: Any) -> torch.Tensor:
    frames = draw_frames(fit(keypoints, *SIZE), *style)
    return torch.from_numpy(frames).float().div(255).movedim(-1, 1)


def crowd(width: int, *faces: Keypoints) -> Any:
    people = None
    for keypoints in faces:
        settings = PersonSettings("left_to_right", 0)
        people = with_person(people, someone(width), keypoints, None, settings)
    return people


@pytest.mark.parametrize("by_frame", [False, True])
def test_sd15_is_shown_landmarks_and_sdxl_is_not(nets: dict[int, Any], by_frame: bool) -> None:
    for width, style in ((768, (SD15_DRAWING,)), (64, ())):
        identity: Any = someone(width)
        if by_frame:
            identity = FrameIdentities((identity, someone(width)), (0, 1))
        (picture,), said = shown(nets, width, identity, FACE)
        assert torch.equal(picture, drawn(FACE, *style))
        assert said == []


def test_without_landmarks_the_points_are_shown_dimmed_and_it_is_said_once(
    nets: dict[int, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bare = replace(FACE, frames=((replace(FACE.faces[0], landmarks=None),),))
    (picture,), said = shown(nets, 768, someone(768), bare)
    assert torch.equal(picture, drawn(bare, SD15_DRAWING))
    assert said == [NO_LANDMARKS] and "`landmarks` in Face Keypoints" in NO_LANDMARKS
    caplog.clear()
    people = crowd(768, bare, transform(bare, move_x=0.3))
    _, said = shown(nets, 768, people, None, one_by_one=True)
    assert said == [NO_LANDMARKS] and caplog.text.count("learned from 106 landmarks") == 1
    assert shown(nets, 64, someone(64), bare)[1] == []
    assert shown(nets, 768, someone(768), bare, strength=0.5)[1] == [NO_LANDMARKS]
    with listening() as heard:
        apply_identitynet(TEXT, TEXT, nets[768], someone(768), bare, strength=0)
    assert NO_LANDMARKS not in heard.problems  # nothing is applied


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("width", [768, 64])
def test_of_several_people_each_is_drawn_as_the_family_wants(
    nets: dict[int, Any], width: int, one_by_one: bool
) -> None:
    style = (SD15_DRAWING,) if width == 768 else ()
    pictures, said = shown(nets, width, crowd(width, FACE, OTHER), None, one_by_one=one_by_one)
    both = replace(FACE, frames=((*FACE.faces, *OTHER.faces),))
    assert said == []
    if one_by_one:
        assert len(pictures) == 2
        assert torch.equal(pictures[0].maximum(pictures[1]), drawn(both, *style))
    else:
        assert torch.equal(pictures[0], drawn(both, *style))
    (given, *_), _ = shown(nets, width, crowd(width, FACE, OTHER), FACE)
    assert torch.equal(given, drawn(FACE, *style))


def test_an_image_is_taken_as_it_is(nets: dict[int, Any]) -> None:
    picture = drawn(FACE).movedim(1, -1)
    (seen,), said = shown(nets, 768, someone(768), picture)
    assert torch.equal(seen.movedim(1, -1), picture) and said == []


def test_draw_keypoints_draws_for_either_family() -> None:
    for family, style in (("SDXL", ()), ("SD1.5", (SD15_DRAWING,))):
        with listening() as heard:
            (made,) = DrawKeypoints.execute(FACE, *SIZE, "crop", family).result
        assert torch.equal(made.movedim(-1, 1), drawn(FACE, *style)) and heard.problems == []
    bare = replace(FACE, frames=((replace(FACE.faces[0], landmarks=None),),))
    with listening() as heard:
        DrawKeypoints.execute(bare, *SIZE, "crop", "SD1.5")
        DrawKeypoints.execute(bare, *SIZE, "crop")
    assert heard.problems == [NO_LANDMARKS]
    assert fit(FACE, *SIZE, Fit.CROP).faces[0].landmarks is not None
