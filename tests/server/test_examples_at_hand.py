"""The examples work on the spot: their photos are in ComfyUI's input, and their links stay."""

from __future__ import annotations

from pathlib import Path

from faithful_instantid.devtools.comfy_server import PACK_NAME, Server, serve
from faithful_instantid.devtools.example_files import FOLDER, name_of, read, workflow, workflows

from .conftest import workflow as api_form

OLD_NAMES = {  # what links were made to before the files were called by their titles
    *("instantid_basic", "instantid_depth", "instantid_hires", "instantid_img2img"),
    *("instantid_inpaint_face", "instantid_lightning", "instantid_own_pose"),
    *("instantid_pose_photo", "instantid_regional_prompts", "instantid_separate_nodes"),
    *("instantid_several_references", "instantid_style_ipadapter", "instantid_two_people"),
}


def test_the_photos_of_the_examples_are_in_the_input_folder(server: Server) -> None:
    photos = sorted((FOLDER / "photos").iterdir())
    assert {photo.suffix for photo in photos} == {".jpg", ".mp4"} and len(photos) >= 6
    for photo in photos:
        assert (server.base / "input" / photo.name).read_bytes() == photo.read_bytes()
    for path in workflows():
        prompt = api_form(name_of(path))
        given = {"LoadImage": "image", "LoadVideo": "file"}
        loaders = [node for node in prompt.values() if node["class_type"] in given]
        loaded = {node["inputs"][given[node["class_type"]]] for node in loaders}
        assert loaded <= {photo.name for photo in photos}, path.stem


def test_a_photo_of_that_name_that_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    own = tmp_path / "input" / "instantid-example-two.jpg"
    own.write_bytes(b"somebody's own")
    with serve(base=tmp_path):
        assert own.read_bytes() == b"somebody's own"
        assert (tmp_path / "input" / "instantid-example-officer.jpg").is_file()


def test_links_to_the_examples_by_name_keep_working(server: Server) -> None:
    folder = f"/api/workflow_templates/{PACK_NAME}"
    assert {name_of(path) for path in workflows()} >= OLD_NAMES
    for name in OLD_NAMES:
        assert server.get(f"{folder}/{name}.json") == read(workflow(name))
    listed = server.get("/api/workflow_templates")[PACK_NAME]
    assert sorted(listed) == [path.stem for path in workflows()]
