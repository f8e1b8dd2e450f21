"""InstantID beside stock nodes, through the API: each graph gives the picture it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from PIL import Image

from .conftest import SIZE, node_id, pictures, workflow

DEPTHNET = "diffusers_xl_depth_full.safetensors"


def add(prompt: Prompt, key: str, kind: str, **inputs: Any) -> str:
    prompt[key] = {"class_type": kind, "inputs": inputs}
    return key


def inputs_of(prompt: Prompt, kind: str) -> dict[str, Any]:
    return prompt[node_id(prompt, kind)]["inputs"]


def picture(server: Server, prompt: Prompt) -> Image.Image:
    """Run a prompt and return its one picture, which must show something."""
    (found,) = pictures(server, server.run(prompt), prompt)
    assert np.asarray(found).std() > 1
    return found


def differ(first: Image.Image, second: Image.Image) -> bool:
    return not np.array_equal(np.asarray(first), np.asarray(second))


def from_picture(prompt: Prompt, denoise: float) -> None:
    """Start from the photo, resized, instead of an empty latent."""
    photo = [node_id(prompt, "LoadImage"), 0]
    size = {"width": SIZE, "height": SIZE, "upscale_method": "bilinear", "crop": "center"}
    add(prompt, "scaled", "ImageScale", image=photo, **size)
    vae = inputs_of(prompt, "VAEDecode")["vae"]
    add(prompt, "encoded", "VAEEncode", pixels=["scaled", 0], vae=vae)
    inputs_of(prompt, "KSampler").update(latent_image=["encoded", 0], denoise=denoise)


@pytest.mark.parametrize("region", [True, False])
def test_txt2img_with_the_all_in_one_node(server: Server, region: bool) -> None:
    prompt = workflow(IID_Apply={"face_region": region})
    assert picture(server, prompt).size == (SIZE, SIZE)


def separated(prompt: Prompt) -> None:
    """Replace the all-in-one node by the two it is made of, over the whole picture."""
    apply = node_id(prompt, "IID_Apply")
    given = prompt.pop(apply)["inputs"]
    window = {"start_percent": 0.0, "end_percent": 1.0}
    add(
        prompt,
        "adapter",
        "IID_ApplyAdapter",
        **{"model": given["model"], "face_embeds": given["face_embeds"], "weight": 0.8, **window},
    )
    names = ("positive", "negative", "control_net", "face_embeds", "keypoints")
    shared = {name: given[name] for name in names}
    add(
        prompt,
        "net",
        "IID_ApplyIdentityNet",
        **{**shared, "strength": 0.8, "fit": "crop", **window},
    )
    inputs_of(prompt, "KSampler").update(
        model=["adapter", 0], positive=["net", 0], negative=["net", 1]
    )


def test_the_separate_nodes_make_the_picture_of_the_all_in_one_node(server: Server) -> None:
    prompt = workflow()
    separated(prompt)
    whole = workflow(IID_Apply={"face_region": False})
    assert not differ(picture(server, prompt), picture(server, whole))


def test_a_drawn_picture_of_the_keypoints_does_what_the_keypoints_do(server: Server) -> None:
    prompt = workflow()
    separated(prompt)
    drawn = workflow()
    separated(drawn)
    size = {"width": SIZE, "height": SIZE, "fit": "crop"}
    net = drawn["net"]["inputs"]
    add(drawn, "drawn", "IID_DrawKeypoints", keypoints=net["keypoints"], **size)
    net["keypoints"] = ["drawn", 0]
    assert not differ(picture(server, prompt), picture(server, drawn))


def test_no_pose_photo_is_needed(server: Server) -> None:
    prompt = workflow()
    keypoints = {"mirror": False, "move_x": 0.0, "move_y": 0.0, "scale": 1.0, "rotate": 20.0}
    add(prompt, "turned", "IID_TransformKeypoints", **keypoints)
    placed = {"width": SIZE, "height": SIZE, "x": 0.5, "y": 0.5, "size": 0.8}
    add(prompt, "placed", "IID_PlaceKeypoints", keypoints=["turned", 0], **placed)
    del prompt[node_id(prompt, "IID_FaceKeypoints")]
    inputs_of(prompt, "IID_Apply")["keypoints"] = ["placed", 0]
    assert differ(picture(server, workflow()), picture(server, prompt))


def test_img2img_gives_another_picture_with_less_denoise(server: Server) -> None:
    found = []
    for denoise in (0.2, 0.9):
        prompt = workflow(KSampler={"steps": 3})
        from_picture(prompt, denoise)
        found.append(picture(server, prompt))
    assert differ(*found)


def test_inpainting_with_a_noise_mask(server: Server) -> None:
    prompt = workflow()
    from_picture(prompt, 1.0)
    add(prompt, "mask", "SolidMask", value=1.0, width=SIZE // 2, height=SIZE)
    add(prompt, "masked", "SetLatentNoiseMask", samples=["encoded", 0], mask=["mask", 0])
    inputs_of(prompt, "KSampler")["latent_image"] = ["masked", 0]
    assert picture(server, prompt).size == (SIZE, SIZE)


def test_a_second_pass_at_a_larger_size(server: Server) -> None:
    prompt = workflow()
    sampler = node_id(prompt, "KSampler")
    larger = {"width": SIZE + 64, "height": SIZE + 64, "upscale_method": "bilinear"}
    add(prompt, "larger", "LatentUpscale", samples=[sampler, 0], crop="disabled", **larger)
    second = {**prompt[sampler]["inputs"], "latent_image": ["larger", 0], "denoise": 0.5}
    add(prompt, "second", "KSampler", **second)
    inputs_of(prompt, "VAEDecode")["samples"] = ["second", 0]
    assert picture(server, prompt).size == (SIZE + 64, SIZE + 64)


@pytest.mark.parametrize("before", [True, False])
def test_a_depth_net_before_or_behind(server: Server, before: bool) -> None:
    prompt = workflow()
    apply, sampler = inputs_of(prompt, "IID_Apply"), inputs_of(prompt, "KSampler")
    add(prompt, "net", "ControlNetLoader", control_net_name=DEPTHNET)
    target = apply if before else sampler
    depth = {"strength": 0.6, "start_percent": 0.0, "end_percent": 1.0}
    chained = {side: target[side] for side in ("positive", "negative")}
    photo = [node_id(prompt, "LoadImage"), 0]
    control = {"control_net": ["net", 0], "image": photo, **chained, **depth}
    add(prompt, "depth", "ControlNetApplyAdvanced", **control)
    target.update(positive=["depth", 0], negative=["depth", 1])
    assert differ(picture(server, prompt), picture(server, workflow()))


def test_odd_sizes_run_within_the_face_region(server: Server) -> None:
    prompt = workflow(EmptyLatentImage={"width": 136, "height": 152})
    assert picture(server, prompt).size == (136, 152)
