"""Edit Keypoints and Face Keypoints from Pose in a real ComfyUI: what they show and say."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from comfy_extras.nodes_sdpose import SDPoseDrawKeypoints, SDPoseKeypointExtractor
from faithful_instantid.instantid_core.editing import source_of, written
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import place, standard_face
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.nodes.poses import EDITOR, EditKeypoints, KeypointsFromPose
from PIL import Image

PHOTO = place(standard_face(), 600, 400, 0.3, 0.5, 0.6)


@pytest.fixture(autouse=True)
def temp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path))
    return tmp_path


def told(output: Any) -> dict[str, Any]:
    (one,) = output.ui["edit_keypoints"]
    return json.loads(json.dumps(one))


def opened(temp: Path, entry: dict[str, str]) -> Image.Image:
    assert entry["type"] == "temp"
    return Image.open(temp / entry["subfolder"] / entry["filename"])


def test_the_editor_is_told_what_came_in_whatever_was_edited(temp: Path) -> None:
    image = torch.zeros(2, 400, 600, 3)
    image[0, :, :300] = 1.0  # the first is white at the left
    edit = written(standard_face(512, 768).faces, 512, 768, None)
    state = random.getstate()
    output = EditKeypoints.execute(512, 768, edit, PHOTO, image)
    assert random.getstate() == state
    one = told(output)
    assert (one["width"], one["height"], one["source"]) == (512, 768, source_of(PHOTO))
    assert len(one["faces"]) == 1 and len(one["faces"][0]) == 5
    backdrop = opened(temp, one["backdrop"])
    assert backdrop.size == (600, 400)
    pixels = np.asarray(backdrop)
    assert pixels[200, 150].min() > 250 and pixels[200, 450].max() < 5
    (preview,) = output.ui["images"]
    assert opened(temp, preview).size == (512, 768)
    assert np.allclose(output[0].faces[0].kps, standard_face(512, 768).faces[0].kps, atol=0.01)


def test_without_anything_linked_it_shows_a_standard_face_and_no_backdrop() -> None:
    one = told(EditKeypoints.execute(640, 384, ""))
    assert (one["source"], one["photo"], one["backdrop"]) == (None, None, None)
    assert np.allclose(one["faces"], [standard_face(640, 384).faces[0].kps], atol=0.01)


def test_a_backdrop_that_is_no_picture_is_refused() -> None:
    with pytest.raises(WrongInputError, match="The picture has the size 4 x 4"):
        EditKeypoints.execute(512, 512, "", None, torch.zeros(4, 4))


def test_the_widget_keeps_its_text_in_a_plain_string_input_and_runs_alone() -> None:
    info = EditKeypoints.GET_NODE_INFO_V1()
    kind, options = info["input"]["required"]["edit"]
    assert (kind, options["default"], options["widgetType"]) == ("STRING", "", EDITOR)
    assert info["output_node"] is True


def test_a_pose_of_comfyuis_own_nodes_links_and_its_faces_are_shown(temp: Path) -> None:
    made = SDPoseKeypointExtractor.GET_NODE_INFO_V1()["output"]
    drawn = SDPoseDrawKeypoints.GET_NODE_INFO_V1()["input"]["required"]["keypoints"][0]
    wanted = KeypointsFromPose.GET_NODE_INFO_V1()["input"]["required"]["pose"][0]
    assert wanted in made and wanted == drawn
    body = np.full((18, 3), 0.9)
    body[[14, 15, 0], :2] = PHOTO.faces[0].kps[:3]
    person = {"pose_keypoints_2d": body.ravel().tolist()}
    pose = [{"people": [person], "canvas_width": 600, "canvas_height": 400}]
    with listening() as heard:
        output = KeypointsFromPose.execute(pose, "all", 0, "error")
    assert np.allclose(output[0].faces[0].kps, PHOTO.faces[0].kps, atol=0.01)
    (preview,) = output.ui.as_dict()["images"]
    assert opened(temp, preview).size == (600, 400)
    assert heard.found[0] == "1 face"
