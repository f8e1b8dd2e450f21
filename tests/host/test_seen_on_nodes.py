"""What a node says and shows of itself, and what is refused instead of taken in silence."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import InstantIDError, WrongInputError
from faithful_instantid.instantid_core.fitting import Fit, standard_face
from faithful_instantid.instantid_core.host.hints import DrawnHint, checked_drawing
from faithful_instantid.instantid_core.host.people import (
    PersonSettings,
    checked_opening,
    with_person,
)
from faithful_instantid.instantid_core.identity_picture import (
    load_picture,
    picture_path,
    save_picture,
)
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.instantid_core.regions import FaceRegion, Outline
from faithful_instantid.instantid_core.small_pictures import LARGEST, MOST, few, small
from faithful_instantid.instantid_core.weighting import WeightCurve
from faithful_instantid.nodes import folders
from faithful_instantid.nodes.faces import LoadIdentity, SaveIdentity
from faithful_instantid.nodes.legacy.loaders import InstantIDModelLoader
from faithful_instantid.nodes.likeness import KeepMostAlike, Likeness
from faithful_instantid.nodes.loaders import LoadAdapter, LoadFaceAnalyzer, LoadInstantID

from .predict import SIDES, conditioning

Official = dict[str, torch.Tensor]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The pack's folders, registered in a ComfyUI whose folders lie in tmp_path."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    folder_paths.add_model_folder_path("controlnet", str(tmp_path / "models" / "controlnet"))
    folder_paths.folder_names_and_paths["controlnet"][1].add(".safetensors")
    folders.register()
    return tmp_path


# What is taken and what is refused.


def test_a_photo_on_keypoints_is_refused_and_a_drawing_is_taken() -> None:
    drawing = DrawnHint(standard_face(320, 256), Fit.CROP).at(320, 256).movedim(1, -1)
    assert checked_drawing(drawing) is drawing
    kept = (drawing * 255).round().clamp(3, 250) / 255  # as a compressed file has it
    assert checked_drawing(kept) is kept
    photo = torch.linspace(0, 1, 3 * 200 * 320).reshape(1, 200, 320, 3)
    with pytest.raises(WrongInputError, match="no drawing of keypoints: [0-9]+% of it is black"):
        checked_drawing(photo)
    with pytest.raises(WrongInputError, match="lead it through Face Keypoints"):
        checked_drawing(photo)


def test_two_people_with_one_face_of_one_photo_are_told_apart_from_two_with_their_own(
    identity: Any,
) -> None:
    face = standard_face(512, 384)
    with listening() as heard:
        one = with_person(None, identity, face, None, PersonSettings("largest"))
        with_person(one, identity, face, torch.ones(8, 8), PersonSettings("largest"))
        with_person(one, identity, standard_face(512, 512), None, PersonSettings("largest"))
    assert heard.problems == []
    with listening() as heard:
        with_person(one, identity, face, None, PersonSettings("largest"))
    (said,) = heard.problems
    assert said.startswith("Person 2 has the same face of the pose photo as person 1")


def test_whatever_is_not_applied_says_why(
    official: Official, tiny_model: Any, identity: Any, make_controlnet: Any
) -> None:
    pair = [conditioning(official, side) for side in SIDES]
    net, face = make_controlnet("identitynet"), standard_face(128, 128)
    nobody = Keypoints(128, 128, ((),))
    for change, reason in (
        ({"mask": torch.zeros(8, 12)}, "its mask is empty."),
        ({"start_percent": 0.8, "end_percent": 0.2}, "it starts at 0.8, after its end at 0.2."),
        ({}, " is 0."),
    ):
        off = change or {"weight": 0.0}
        with listening() as heard:
            assert host.apply_adapter(tiny_model, identity, **off) is tiny_model
            off = change or {"strength": 0.0}
            assert host.apply_identitynet(*pair, net, identity, face, **off) == tuple(pair)
        assert len(heard.problems) == 2
        assert all(said.endswith(reason) for said in heard.problems), heard.problems
    with listening() as heard:
        assert host.apply_adapter(tiny_model, identity, mask=FaceRegion(nobody)) is tiny_model
        assert host.apply_identitynet(*pair, net, identity, nobody) == tuple(pair)
    assert [said.rpartition(": ")[2] for said in heard.problems] == [
        "the keypoints hold no face."
    ] * 2


PADDED = Outline(padding=0.1)


@pytest.mark.parametrize(
    ("people", "outline", "face_region", "reason"),
    [
        (False, Outline(), True, "both are 0."),
        (False, PADDED, False, "InstantID works without a face region."),
        (True, PADDED, True, "InstantID works without a face region."),
        (False, PADDED, True, ""),
    ],
    ids=["nothing to scale", "no region", "people with masks", "at work"],
)
def test_a_curve_of_regions_that_changes_nothing_says_why(
    identity: Any, people: bool, outline: Outline, face_region: bool, reason: str
) -> None:
    masked = with_person(None, identity, None, torch.ones(8, 8), PersonSettings("largest"))
    curve = WeightCurve(((0.0, 1.0), (1.0, 0.0)))
    with listening() as heard:
        who = masked if people else identity
        assert checked_opening(curve, who, outline, face_region=face_region) is curve
    assert [text.startswith("region_curve changes nothing: ") for text in heard.problems] == (
        [True] if reason else []
    )
    assert all(text.endswith(f"regions, and here {reason}") for text in heard.problems)


# What is chosen by default.


def test_the_file_whose_name_tells_what_it_is_comes_first(registered: Path) -> None:
    for name in ("controlnet/a_depth.safetensors", "controlnet/z/InstantID_net.safetensors"):
        path = registered / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (registered / "models" / "instantid").mkdir()
    for name in ("a.bin", "ip-adapter.bin"):
        (registered / "models" / "instantid" / name).touch()
    inputs = LoadInstantID.GET_NODE_INFO_V1()["input"]["required"]
    assert inputs["identitynet"][1]["default"].endswith("InstantID_net.safetensors")
    assert inputs["file"][1]["default"] == "ip-adapter.bin"


ADAPTERS, NETS = ["an/ip-adapter.bin"], ["identitynet.safetensors"]
IDENTITIES, PACKS = ["anna.safetensors"], ["antelopev2", "buffalo_l"]
LISTS = {
    LoadAdapter: {"file": ADAPTERS},
    InstantIDModelLoader: {"instantid_file": ADAPTERS},
    LoadFaceAnalyzer: {"pack": PACKS},
    LoadInstantID: {"pack": PACKS, "file": ADAPTERS, "identitynet": NETS},
    LoadIdentity: {"file": IDENTITIES},
    Likeness: {"recogniser": ["face_analyzer", "buffalo_l"]},
    KeepMostAlike: {"recogniser": ["face_analyzer", "buffalo_l"]},
}


@pytest.mark.parametrize("node", LISTS, ids=lambda node: node.__name__)
def test_each_list_of_files_offers_those_of_its_own_folder(registered: Path, node: Any) -> None:
    files = {"instantid": ADAPTERS, "controlnet": NETS, "instantid_identities": IDENTITIES}
    for folder, names in files.items():
        for name in names:
            path = registered / "models" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for name in PACKS:
        path = registered / "models" / "insightface" / "models" / name / "any.onnx"
        path.parent.mkdir(parents=True)
        path.touch()
    inputs = node.GET_NODE_INFO_V1()["input"]["required"]
    for name, wanted in LISTS[node].items():
        assert inputs[name][1]["options"] == wanted, name


@pytest.mark.parametrize(
    ("name", "other"),
    [("xl_depth.safetensors", "depth"), ("Union-promax.safetensors", "union")]
    + [("diffusion_pytorch_model.safetensors", ""), ("instantid-openpose.safetensors", "")],
)
def test_an_obvious_other_controlnet_is_warned_of(name: str, other: str) -> None:
    with listening() as heard:
        folders.warn_of_another_controlnet(name)
    assert len(heard.problems) == bool(other)
    assert all(f"a ControlNet for {other} and not IdentityNet" in said for said in heard.problems)


def test_the_adapters_folder_is_made_where_that_is_allowed_and_no_face_pack_is(
    registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.make_adapter_folder()
    made = [path.name for path in (registered / "models").iterdir()]
    assert "instantid" in made and "insightface" not in made
    (registered / "a file").touch()
    monkeypatch.setattr(folder_paths, "models_dir", str(registered / "a file"))
    folders.make_adapter_folder()


# Saved identities.


def test_a_plain_name_is_saved_where_load_identity_looks_with_its_picture(
    registered: Path, identity: Any
) -> None:
    picture = torch.rand(2, 300, 400, 3, generator=torch.Generator().manual_seed(1))
    with listening() as heard:
        SaveIdentity.execute(identity, "anna", picture)
    assert heard.problems == []
    assert folders.identity_files() == ["anna_00001_.safetensors"]
    path = folders.identity_path("anna_00001_.safetensors")
    assert heard.found == [f"Saved {path}", f"Saved {picture_path(path)}"]
    back = load_picture(path)
    assert back is not None and back.shape == (1, 192, 256, 3)
    picture_path(path).write_bytes(b"no picture")
    assert load_picture(path) is None


def test_a_picture_that_cannot_be_kept_is_told_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "anna.safetensors"
    picture_path(path).write_bytes(b"another")
    with pytest.raises(InstantIDError, match="saved, but not the picture beside it"):
        save_picture(path, torch.rand(1, 30, 40, 3))
    assert picture_path(path).read_bytes() == b"another"


def test_what_load_identity_does_not_list_is_said_when_it_is_saved(
    registered: Path, identity: Any
) -> None:
    with listening() as heard:
        SaveIdentity.execute(identity, "faces/anna")
    (said,) = heard.problems
    assert "lies where Load Identity does not look" in said
    assert (registered / "output" / "faces" / "anna_00001_.safetensors").is_file()
    assert not picture_path(registered / "output" / "faces" / "anna_00001_").exists()


# What is shown.


def test_pictures_on_a_node_are_few_and_small() -> None:
    assert few(3) == [0, 1, 2]
    assert few(100)[0] == 0 and few(100)[-1] == 99 and len(few(100)) == MOST
    shown = small(torch.rand(20, 200, 1536, 3))
    assert shown.shape == (MOST, 100, LARGEST, 3)
    assert small(torch.zeros(1, 4000, 1, 3)).shape == (1, LARGEST, 1, 3)
    assert float(shown.min()) >= 0 and float(shown.max()) <= 1


def test_one_bypassed_face_is_one_line_in_the_log(
    official: Official, tiny_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from faithful_instantid.instantid_core.faces.references import BYPASS, Choice, keep_found

    caplog.set_level(logging.INFO, logger="faithful_instantid")
    assert keep_found([Choice((), None, "No face."), Choice((), None, "None.")], BYPASS) == []
    assert caplog.text == ""  # the caller says it once
