"""What nodes show and say through a server: by type, an API client gets the saved picture only."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Result, Server
from PIL import Image

from .conftest import failure, node_id, workflow
from .test_legacy_graphs import APPLY, basic


def add(prompt: Prompt, key: str, kind: str, **inputs: Any) -> list[str | int]:
    """Add a node and return its first output."""
    prompt[key] = {"class_type": kind, "inputs": inputs}
    return [key, 0]


def looked_at(server: Server, result: Result, node: str) -> list[np.ndarray]:
    """Return the pictures on a node, after a look at what every such picture must be."""
    names = result.images(node)
    assert 1 <= len(names) <= 8
    assert {name["type"] for name in names} == {"temp"}
    pictures = [Image.open(io.BytesIO(server.fetch(name))) for name in names]
    assert all(max(picture.size) <= 768 for picture in pictures)
    return [np.asarray(picture.convert("RGB")) for picture in pictures]


def test_a_client_that_filters_by_type_gets_the_saved_picture_only(server: Server) -> None:
    anew = {"threshold": 0.47}  # no prompt before has left these nodes in the cache
    prompt = workflow(IID_EncodeFace=anew, IID_FaceKeypoints=anew)
    result = server.run(prompt)
    pictures = {key: result.images(key) for key in prompt if result.images(key)}
    saved = [one for some in pictures.values() for one in some if one["type"] == "output"]
    assert saved == result.images(node_id(prompt, "SaveImage"))
    for kind in ("IID_EncodeFace", "IID_FaceKeypoints"):
        assert looked_at(server, result, node_id(prompt, kind))


def test_a_photo_on_keypoints_is_refused_at_its_node(server: Server) -> None:
    prompt = workflow("instantid_separate_nodes")
    node = node_id(prompt, "IID_ApplyIdentityNet")
    prompt[node]["inputs"]["keypoints"] = [node_id(prompt, "LoadImage"), 0]
    failed = failure(server.run, prompt)
    assert failed.node == node
    assert "is no drawing of keypoints" in failed.message
    assert "Face Keypoints" in failed.message


def test_two_people_from_photos_with_one_face_are_refused_at_the_second(server: Server) -> None:
    prompt = workflow("instantid_two_people")
    people = [key for key, node in prompt.items() if node["class_type"] == "IID_PersonFromPhotos"]
    for key in people:
        prompt[key]["inputs"].update(order="largest", index=0)
    for node in prompt.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = "example.png"  # one face, which the stand-ins find
    failed = failure(server.run, prompt)
    (second,) = (key for key in people if "people" in prompt[key]["inputs"])
    assert failed.node == second
    assert "has the same face of the pose photo as person 1" in failed.message


def test_every_node_that_makes_faces_or_masks_shows_them(server: Server) -> None:
    """Without a sampler: keypoints moved, placed and drawn, and the region's mask."""
    prompt: Prompt = {}
    moved = add(
        prompt, "moved", "IID_TransformKeypoints", **dict(mirror=False, move_x=0.2, move_y=0),
        scale=0.5, rotate=20,
    )  # fmt: skip
    sides = {"width": 960, "height": 480}
    placed = add(prompt, "placed", "IID_PlaceKeypoints", **sides, x=0.25, y=0.5, size=0.5,
                 keypoints=moved)  # fmt: skip
    drawn = add(prompt, "drawn", "IID_DrawKeypoints", **sides, fit="crop", keypoints=placed)
    region = {"shape": "ellipse", "padding": 0.1, "feather": 0.1, "fit": "crop"}
    add(prompt, "mask", "IID_FaceRegionMask", **sides, **region, keypoints=placed)
    add(prompt, "mask to image", "MaskToImage", mask=["mask", 0])
    layers = add(prompt, "layers", "IID_LayerWeights", down=1.0, middle=0.5, up=0.0)
    curve = add(prompt, "curve", "IID_WeightCurve", curve="linear", start=1.0, end=0.0)
    for number, link in enumerate((["mask to image", 0], drawn, [layers[0], 1], [curve[0], 1])):
        add(prompt, f"preview {number}", "PreviewImage", images=link)
    result = server.run(prompt)
    for node in ("moved", "placed", "drawn", "mask", "layers", "curve"):
        (picture,) = looked_at(server, result, node)
        if node in ("placed", "drawn", "mask"):
            assert picture.shape == (384, 768, 3)
            lit = np.argwhere(picture.max(-1) > 64)
            assert abs(lit[:, 1].mean() / 768 - 0.25) < 0.05  # where the face was placed
        assert 0.001 < (picture.max(-1) > 64).mean() < 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": 0.0, "strength": 0.0}, (" is 0.",)),
        ({"start_percent": 0.8, "end_percent": 0.2}, ("it starts at 0.8, after its end at 0.2.",)),
    ],
)
def test_what_is_not_applied_says_so_on_its_node_and_the_next_run_that_it_is(
    server: Server, change: dict[str, Any], said: tuple[str, ...]
) -> None:
    prompt = workflow()
    node = node_id(prompt, "IID_Apply")
    before = dict(prompt[node]["inputs"])
    prompt[node]["inputs"].update(change)
    text = server.run(prompt).texts[node]
    assert text.count("not applied") == 2
    assert all(words in text for words in said)
    prompt[node]["inputs"] = {**before, "weight": 0.77}
    assert "not applied" not in server.run(prompt).texts[node]


def test_the_empty_mask_of_a_photo_without_transparency_is_said_at_both_nodes(
    server: Server,
) -> None:
    prompt = workflow("instantid_separate_nodes")
    nodes = [node_id(prompt, kind) for kind in ("IID_ApplyAdapter", "IID_ApplyIdentityNet")]
    for node in nodes:
        prompt[node]["inputs"]["mask"] = [node_id(prompt, "LoadImage"), 1]
    texts = server.run(prompt).texts
    assert all("not applied" in texts[node] for node in nodes)
    assert all("its mask is empty." in texts[node] for node in nodes)


def test_no_keypoints_is_said_at_the_apply_node(server: Server) -> None:
    prompt = workflow()
    node = node_id(prompt, "IID_Apply")
    prompt[node]["inputs"].pop("keypoints")
    failed = failure(server.run, prompt)
    assert failed.node == node
    assert "Face Keypoints" in failed.message


def test_a_person_on_a_conditioning_says_that_it_needs_the_adapter(server: Server) -> None:
    prompt = workflow()
    sampler = prompt[node_id(prompt, "KSampler")]["inputs"]
    bare = prompt[node_id(prompt, "IID_Apply")]["inputs"]
    face = [node_id(prompt, "IID_EncodeFace"), 0]
    person = {"conditioning": bare["positive"], "face_embeds": face, "weight": -1.0}
    carried = add(prompt, "carried", "IID_ConditioningPerson", **person)
    sampler.update(model=bare["model"], positive=carried, negative=bare["negative"])
    text = server.run(prompt).texts["carried"]
    assert "Apply InstantID" in text and text != "ok", text
    prompt["carried"]["inputs"]["weight"] = 0.0
    assert "draws nobody" in server.run(prompt).texts["carried"]


def test_a_saved_identity_says_where_it_lies_and_can_be_loaded(server: Server) -> None:
    prompt = workflow()
    face = [node_id(prompt, "IID_EncodeFace"), 0]
    photo = [node_id(prompt, "LoadImage"), 0]
    add(prompt, "save", "IID_SaveIdentity", identity=face, filename_prefix="me", picture=photo)
    said = server.run(prompt).texts["save"]
    place = server.base / "output" / "instantid_identities"
    (file,) = place.glob("me_*.safetensors")
    assert str(file) in said and "does not look" not in said
    inputs = server.get("/object_info/IID_LoadIdentity")["IID_LoadIdentity"]["input"]
    assert file.name in str(inputs["required"]["file"])
    apply = prompt[node_id(prompt, "IID_Apply")]["inputs"]
    adapter = prompt[node_id(prompt, "IID_EncodeFace")]["inputs"]["adapter"]
    loaded = add(prompt, "load", "IID_LoadIdentity", adapter=adapter, file=file.name)
    apply["face_embeds"] = loaded
    assert looked_at(server, server.run(prompt), "load")


def test_an_old_node_shows_its_warnings_too(server: Server) -> None:
    prompt = basic(weight=99)
    assert "so it runs with" in server.run(prompt).texts[APPLY]
