"""What an API client meets of what nodes show: by type, it gets the saved picture only."""

from __future__ import annotations

import io

from faithful_instantid.devtools.comfy_server import Server
from PIL import Image

from .conftest import failure, node_id, workflow


def test_a_client_that_filters_by_type_gets_the_saved_picture_only(server: Server) -> None:
    prompt = workflow()
    result = server.run(prompt)
    pictures = {key: result.images(key) for key in prompt if result.images(key)}
    saved = [one for some in pictures.values() for one in some if one["type"] == "output"]
    assert saved == result.images(node_id(prompt, "SaveImage"))
    for kind in ("IID_EncodeFace", "IID_FaceKeypoints"):
        shown = pictures[node_id(prompt, kind)]
        assert 1 <= len(shown) <= 8
        assert {one["type"] for one in shown} == {"temp"}
        for one in shown:
            assert max(Image.open(io.BytesIO(server.fetch(one))).size) <= 768


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
    failed = failure(server.run, prompt)
    (second,) = (key for key in people if "people" in prompt[key]["inputs"])
    assert failed.node == second
    assert "has the same face of the pose photo as person 1" in failed.message
