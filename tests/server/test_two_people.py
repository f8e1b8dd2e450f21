"""Two people through the API: one pose photo, two portraits, seven nodes beyond text to image."""

from __future__ import annotations

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces, landscape
from PIL import Image

from .conftest import pictures, workflow

EXAMPLE = "instantid_two_people"
PLAIN = (
    *("CheckpointLoaderSimple", "CLIPTextEncode", "CLIPTextEncode", "EmptyLatentImage"),
    *("KSampler", "VAEDecode", "SaveImage"),
)
# The pose photo shows two people who are neither of the two portraits.
PHOTOS = {
    "pose.png": [DrawnFace(70, 128, 100, person=4), DrawnFace(190, 128, 100, person=5)],
    "anna.png": [DrawnFace(128, 128, 150, person=0)],
    "bert.png": [DrawnFace(128, 128, 150, person=1)],
    "cleo.png": [DrawnFace(128, 128, 150, person=2)],
}


@pytest.fixture(scope="module")
def photographed(server: Server) -> Server:
    """The session's server with the photos in its input folder."""
    for name, faces in PHOTOS.items():
        drawn = draw_faces(faces, 256, 256, landscape(256, 256))
        Image.fromarray(drawn).save(server.base / "input" / name)
    return server


def couple(left: str, right: str) -> Prompt:
    """Return the example with these portraits, wide enough for two faces."""
    prompt = workflow(EXAMPLE, EmptyLatentImage={"width": 256, "height": 256})
    persons = [n["inputs"] for n in prompt.values() if n["class_type"] == "IID_PersonFromPhotos"]
    first, second = sorted(persons, key=lambda inputs: "people" in inputs)
    for inputs, portrait in ((first, left), (second, right)):
        prompt[inputs["pose"][0]]["inputs"]["image"] = "pose.png"
        prompt[inputs["portrait"][0]]["inputs"]["image"] = portrait
    return prompt


def drawn(server: Server, prompt: Prompt) -> np.ndarray:
    (picture,) = pictures(server, server.run(prompt), prompt)
    return np.asarray(picture, dtype=float)


def test_it_takes_seven_nodes_beyond_text_to_image() -> None:
    kinds = [node["class_type"] for node in workflow(EXAMPLE).values()]
    for kind in PLAIN:
        kinds.remove(kind)
    assert len(kinds) <= 7, kinds


def test_another_portrait_changes_its_own_person_s_half_more(photographed: Server) -> None:
    """The adapter's term keeps to the region; a random model's self-attention carries it on."""
    both = drawn(photographed, couple("anna.png", "bert.png"))
    assert both.std() > 1
    other_right = drawn(photographed, couple("anna.png", "cleo.png"))
    other_left = drawn(photographed, couple("cleo.png", "bert.png"))
    for changed, own, others in (
        (other_right, slice(128, 256), slice(0, 128)),
        (other_left, slice(0, 128), slice(128, 256)),
    ):
        difference = np.abs(changed - both).mean(axis=(0, 2))
        assert difference[own].mean() > 1.1 * difference[others].mean()


def test_portraits_that_change_places_give_another_picture(photographed: Server) -> None:
    one = drawn(photographed, couple("anna.png", "bert.png"))
    other = drawn(photographed, couple("bert.png", "anna.png"))
    assert np.abs(one - other).mean() > 0.1


def test_each_person_shows_the_numbered_faces_and_says_who_is_who(photographed: Server) -> None:
    prompt = couple("anna.png", "bert.png")
    result = photographed.run(prompt)
    nodes = [key for key, n in prompt.items() if n["class_type"] == "IID_PersonFromPhotos"]
    for number, key in enumerate(sorted(nodes, key=lambda k: "people" in prompt[k]["inputs"]), 1):
        (shown,) = result.images(key)
        assert shown["type"] == "temp"
        assert f"person {number} of the list" in result.texts[key]
