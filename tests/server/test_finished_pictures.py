"""The workflows that finish a picture run on a real server and change what they shall alone."""

from __future__ import annotations

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces, landscape
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints
from faithful_instantid.instantid_core.regions import Outline, Shape, draw_regions
from PIL import Image

from .conftest import node_id, pictures, workflow

WIDTH, HEIGHT = 320, 256
GROUP = [DrawnFace(100, 120, 100, 14, 4), DrawnFace(235, 130, 80, -6, 5)]
PHOTOS = {"group.png": GROUP, "anna.png": [DrawnFace(160, 128, 150, person=0)]}
CROP = {"long_side": 128}
AROUND = ("MarkdownNote", "LoadImage", "CheckpointLoaderSimple", "IID_LoadInstantID")


@pytest.fixture(scope="module")
def photographed(server: Server) -> Server:
    """The session's server with the photos in its input folder."""
    for name, faces in PHOTOS.items():
        drawn = draw_faces(faces, WIDTH, HEIGHT, landscape(WIDTH, HEIGHT))
        Image.fromarray(drawn).save(server.base / "input" / name)
    return server


def with_photos(prompt: Prompt) -> Prompt:
    """Put the group where faces are cropped, and the portrait everywhere else."""
    crops = [node["inputs"] for node in prompt.values() if node["class_type"] == "IID_CropFace"]
    for key, node in prompt.items():
        if node["class_type"] == "LoadImage":
            cropped = any(inputs["image"] == [key, 0] for inputs in crops)
            node["inputs"]["image"] = "group.png" if cropped else "anna.png"
    return prompt


def run(server: Server, prompt: Prompt) -> np.ndarray:
    """The one picture that is saved, as bytes."""
    (picture,) = pictures(server, server.run(prompt), prompt)
    return np.asarray(picture)


def heads(*faces: DrawnFace, padding: float) -> np.ndarray:
    """(HEIGHT, WIDTH) bool: ellipses around heads."""
    found = tuple(FacePoints(face.kps, face.box) for face in faces)
    keypoints = Keypoints(WIDTH, HEIGHT, (found,))
    return (draw_regions(keypoints, Outline(Shape.ELLIPSE, padding))[0] > 0).numpy()


def changed(server: Server, picture: np.ndarray) -> np.ndarray:
    before = np.asarray(Image.open(server.base / "input" / "group.png"))
    return (before != picture).any(axis=-1)


def test_a_swapped_face_changes_the_head_and_nothing_else(photographed: Server) -> None:
    prompt = with_photos(workflow("instantid_swap_face", IID_CropFace=CROP))
    result = photographed.run(prompt)
    (picture,) = (np.asarray(one) for one in pictures(photographed, result, prompt))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    differs = changed(photographed, picture)
    assert differs[heads(GROUP[0], padding=0.0)].mean() > 0.9
    assert not differs[~heads(GROUP[0], padding=0.3)].any()
    compared = result.outputs[node_id(prompt, "ImageCompare")]
    assert len(compared["a_images"]) == len(compared["b_images"]) == 1


def test_swapping_takes_at_most_15_nodes_beside_loaders_photos_and_notes() -> None:
    kinds = [node["class_type"] for node in workflow("instantid_swap_face").values()]
    assert len([kind for kind in kinds if kind not in AROUND]) <= 15
    assert "ImageCompare" in kinds


def test_everybody_in_a_group_photo_gets_a_head_of_their_own(photographed: Server) -> None:
    prompt = with_photos(workflow("instantid_group_photo", IID_CropFace=CROP))
    differs = changed(photographed, run(photographed, prompt))
    for face in GROUP:
        assert differs[heads(face, padding=0.0)].mean() > 0.9
    assert not differs[~heads(*GROUP, padding=0.3)].any()


def test_a_picture_without_small_faces_goes_through_with_a_word(photographed: Server) -> None:
    """A random model draws nobody, so nothing is to be made right."""
    prompt = with_photos(workflow("instantid_small_faces", IID_CropFace=CROP))
    result = photographed.run(prompt)
    (picture,) = pictures(photographed, result, prompt)
    assert picture.size == (128, 128)
    said = result.texts[node_id(prompt, "IID_CropFace")]
    assert "The keypoints hold no face: Paste Face will leave the picture as it is." in said


def test_small_faces_of_a_picture_are_painted_anew(photographed: Server) -> None:
    prompt = with_photos(workflow("instantid_small_faces", IID_CropFace=CROP))
    prompt["group"] = {"class_type": "LoadImage", "inputs": {"image": "group.png"}}
    paste = prompt[node_id(prompt, "IID_PasteFace")]["inputs"]
    drawn = paste["image"]
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if value == drawn:
                node["inputs"][name] = ["group", 0]
    differs = changed(photographed, run(photographed, prompt))
    for face in GROUP:
        assert differs[heads(face, padding=0.0)].mean() > 0.9
    assert not differs[~heads(*GROUP, padding=0.3)].any()


def test_of_eight_pictures_one_is_kept_and_each_has_its_score(photographed: Server) -> None:
    name = "instantid_most_alike"
    size = {"width": 64, "height": 64, "batch_size": 8}
    prompt = with_photos(workflow(name, EmptyLatentImage=size))
    assert workflow(name)[node_id(prompt, "EmptyLatentImage")]["inputs"]["batch_size"] == 8
    result = photographed.run(prompt)
    assert len(pictures(photographed, result, prompt)) == 1
    assert len(result.images(node_id(prompt, "IID_Likeness"))) == 8
    said = result.texts[node_id(prompt, "IID_Likeness")]
    assert "No face was found in 8 of 8 pictures" in said and "it flatters" in said
