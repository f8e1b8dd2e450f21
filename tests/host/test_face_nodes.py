"""The face nodes in a real ComfyUI: folders, progress, bypass, files, and what re-running costs."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.errors import (
    MissingFileError,
    NoFaceError,
    WrongInputError,
)
from faithful_instantid.instantid_core.faces import FaceAnalyzer
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.nodes import folders
from faithful_instantid.nodes.apply import ApplyAdapter
from faithful_instantid.nodes.faces import (
    EncodeFace,
    FaceReference,
    LoadIdentity,
    MixIdentities,
    SaveIdentity,
)
from faithful_instantid.nodes.keypoints import FaceKeypoints
from faithful_instantid.nodes.legacy.faces import InstantIDFaceAnalysis
from faithful_instantid.nodes.loaders import LoadAdapter, LoadFaceAnalyzer, LoadInstantID
from faithful_instantid.nodes.people import PersonFromPhotos

from ..conftest import ROOT

DRAWN = [DrawnFace(150, 200, 210, 4, 1), DrawnFace(450, 200, 160, -8, 2)]
USUAL = {"pick": "largest", "index": 0, "on_missing": "error"}


def image_of(faces: list[DrawnFace], width: int = 600, height: int = 400) -> torch.Tensor:
    return torch.from_numpy(draw_faces(faces, width, height)).float()[None] / 255


NOBODY = NoIdentity("Encode Face found nobody.")
GROUP, EMPTY = image_of(DRAWN), image_of([])


@pytest.fixture(scope="module")
def insightface_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("insightface")
    pack = root / "models" / "antelopev2"
    pack.mkdir(parents=True)
    standins.make_pack(pack)
    return root


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The pack's folders, registered in a ComfyUI whose folders lie in tmp_path."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    folders.register()
    return tmp_path


def test_the_two_files_of_sd15_are_listed_and_the_default_stays(registered: Path) -> None:
    folder = registered / "models" / "instantid"
    (folder / "instantid for sd15").mkdir(parents=True)
    two = [f"instantid for sd15/{name}" for name in ("image_proj.ckpt", "ip-state.ckpt")]
    for name in (*two, "some adapter.bin"):
        (folder / name).touch()
    assert folders.adapter_files() == ["some adapter.bin", *two]
    assert folders.likely_adapter() == two[0]
    (folder / "ip-adapter.bin").touch()
    folder_paths.filename_list_cache.clear()
    assert folders.adapter_files() == ["ip-adapter.bin", "some adapter.bin", *two]
    assert folders.likely_adapter() == "ip-adapter.bin"


@pytest.fixture
def analyzer(registered: Path, insightface_folder: Path) -> FaceAnalyzer:
    folder_paths.add_model_folder_path("insightface", str(insightface_folder))
    return LoadFaceAnalyzer.execute("antelopev2", "CPU")[0]


def encode(analyzer: FaceAnalyzer, adapter: Any, image: torch.Tensor, **inputs: Any) -> Any:
    return EncodeFace.execute(analyzer, adapter, image, **{**USUAL, "combine": "mean", **inputs})


FOREIGN_ENTRIES: dict[str, Any] = {
    "extensions in a list": ([], [".onnx", ".pth"]),
    "all in a list": [[], [".onnx", ".pth"]],
    "folders in a tuple": ((), {".onnx", ".pth"}),
    "one folder as a text": ("", {".onnx", ".pth"}),
    "no extensions": ([],),
}


@pytest.mark.parametrize("kind", FOREIGN_ENTRIES)
def test_folders_that_another_pack_registered_in_its_own_way_stay_and_get_ours(
    registered: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = str(registered / "theirs")
    Path(folder).mkdir()
    (Path(folder) / "one.onnx").touch()
    paths, *extensions = FOREIGN_ENTRIES[kind]
    theirs = folder if isinstance(paths, str) else type(paths)([folder])
    entry = type(FOREIGN_ENTRIES[kind])([theirs, *extensions])
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {"insightface": entry})
    folders.register()
    folders.register()
    ours = str(registered / "models" / "insightface")
    assert folder_paths.get_folder_paths("insightface") == [folder, ours]
    known = {".onnx", *(one for more in extensions for one in more)}
    assert folder_paths.folder_names_and_paths["insightface"][1] == known
    assert folder_paths.get_filename_list("insightface") == ["one.onnx"]


# Row 20: extra_model_paths.yaml.


def test_an_insightface_folder_of_extra_model_paths_is_honoured(
    registered: Path, insightface_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra_config = runpy.run_path(f"{os.environ['COMFYUI_PATH']}/utils/extra_config.py")
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    yaml = registered / "extra_model_paths.yaml"
    yaml.write_text(
        f"elsewhere:\n  base_path: {insightface_folder.parent}\n"
        f"  insightface: {insightface_folder.name}\n"
    )
    extra_config["load_extra_path_config"](str(yaml))  # before the custom nodes, as ComfyUI does
    folders.register()
    assert folders.face_pack_folders() == [
        insightface_folder,
        registered / "models" / "insightface",
    ]
    assert isinstance(LoadFaceAnalyzer.execute("antelopev2", "auto")[0], FaceAnalyzer)
    names, extensions = folder_paths.folder_names_and_paths["insightface"]
    assert ".onnx" in extensions


def test_a_missing_pack_is_told_before_the_prompt_runs(registered: Path) -> None:
    problem = LoadFaceAnalyzer.validate_inputs("antelopev2")
    assert isinstance(problem, str)
    assert f"{registered / 'models' / 'insightface'}: no such folder" in problem
    options = LoadFaceAnalyzer.define_schema().inputs[0].options
    assert options == ["antelopev2"]


def test_files_that_are_not_there_are_told_before_the_prompt_runs(registered: Path) -> None:
    folder_paths.add_model_folder_path("controlnet", str(registered / "models" / "controlnet"))
    for check, name, rest in (
        (LoadAdapter.validate_inputs, "adapter", "found no adapter file at all. Choose one"),
        (LoadIdentity.validate_inputs, "saved identity", "found no saved identity at all. Save"),
    ):
        problem = check("gone.bin")
        assert f"There is no {name} " in problem and "'gone.bin'. Looked in " in problem
        assert rest in problem
    problem = LoadInstantID.validate_inputs(identitynet="gone.safetensors")
    assert "There is no ControlNet file 'gone.safetensors'. Looked in " in problem


def test_a_file_that_is_gone_when_its_node_runs_is_told_with_what_to_press(
    registered: Path,
) -> None:
    with pytest.raises(MissingFileError) as caught:
        folders.adapter_path("gone.bin")
    assert str(caught.value) == (
        "There is no file 'gone.bin' in the model folders instantid any more. Press R to refresh "
        "the lists, and choose one that is there."
    )


@pytest.mark.skipif(os.name == "nt", reason="making links takes a right on Windows")
def test_a_link_out_of_the_output_folder_is_not_followed(registered: Path) -> None:
    (registered / "elsewhere").mkdir()
    (registered / "output").mkdir()
    (registered / "output" / "faces").symlink_to(registered / "elsewhere")
    with pytest.raises(WrongInputError) as caught:
        folders.new_identity_path("faces/ann")
    by_us = "filename_prefix 'faces/ann' leads through a link out of ComfyUI's output folder, to"
    by_comfyui = "Nothing can be saved under filename_prefix 'faces/ann' ("  # newer versions
    assert str(caught.value).startswith((by_us, by_comfyui))


def test_an_unknown_provider_of_the_old_loader_becomes_what_is_there(
    analyzer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    InstantIDFaceAnalysis.load_insight_face("TensorRT")
    assert "The provider TensorRT is unknown; the analyzer takes what is there." in caplog.text


# Row 1: nodes register without insightface and onnxruntime.

WITHOUT = """
import sys, asyncio
sys.modules["insightface"] = sys.modules["onnxruntime"] = None  # as if they were not installed
import importlib.util
spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.path.insert(0, sys.argv[2])
pack = sys.argv[3]
sys.argv = ["x", "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import faithful_instantid, folder_paths
nodes = asyncio.run(asyncio.run(faithful_instantid.comfy_entrypoint()).get_node_list())
by_id = {node.define_schema().node_id: node for node in nodes}
print(len(by_id), "IID_EncodeFace" in by_id)
folder_paths.add_model_folder_path("insightface", pack)
try:
    by_id["IID_LoadFaceAnalyzer"].execute("antelopev2", "auto")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_insightface_every_node_registers_and_the_loader_says_how_to_install_it(
    insightface_folder: Path,
) -> None:
    command = [sys.executable, "-c", WITHOUT, str(ROOT / "tests" / "conftest.py")]
    command += [os.environ["COMFYUI_PATH"], str(insightface_folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    counted, said = done.stdout.strip().splitlines()[-2:]
    assert counted.endswith("True") and int(counted.split()[0]) >= 8
    assert said == (
        "MissingDependencyError The Python package onnxruntime is not installed for the Python "
        "that runs ComfyUI; finding faces needs it. Run: "
        f'{sys.executable} -m pip install "insightface>=1.0.1" onnxruntime'
    )


# Encoding.


def test_encoding_gives_identity_preview_and_report(analyzer: FaceAnalyzer, adapter: Any) -> None:
    identity, preview, report = encode(analyzer, adapter, GROUP, pick="left_to_right", index=1)
    assert identity.face_embedding.shape == (512,)
    assert not identity.negative_embedding.any()
    assert preview.shape == (1, 400, 600, 3)
    assert preview.min() >= 0 and preview.max() <= 1
    assert report.startswith("the picture: 600x400, face 1 of 2, ")


def test_weight_pick_combine_noise_and_adapter_run_no_session_again(
    analyzer: FaceAnalyzer, adapter: Any
) -> None:
    batch = torch.cat([GROUP, image_of([DRAWN[0]])])
    encode(analyzer, adapter, batch)
    encode(analyzer, adapter, batch, index=0, pick="left_to_right")
    calls = analyzer.calls
    encode(analyzer, adapter, batch, weights="1, 0.3")
    encode(analyzer, adapter, batch, combine="norm_kept_mean")
    encode(analyzer, adapter, batch, pick="left_to_right", negative_noise=0.3, noise_seed=4)
    chain = FaceReference.execute(GROUP, 0.5, "largest", 0)[0]
    encode(analyzer, adapter, batch, references=chain)
    FaceKeypoints.execute(analyzer, batch, **USUAL)
    assert analyzer.calls == calls


def test_a_chain_of_references_of_any_size_counts_with_its_weights(
    analyzer: FaceAnalyzer, adapter: Any
) -> None:
    other = image_of([DRAWN[1]], 640, 512)
    a = encode(analyzer, adapter, GROUP)[0].face_embedding
    b = encode(analyzer, adapter, other)[0].face_embedding
    chain = FaceReference.execute(other, 3.0, "largest", 0)[0]
    both, preview, report = encode(analyzer, adapter, GROUP, references=chain)
    torch.testing.assert_close(both.face_embedding, (a + 3 * b) / 4)
    assert preview.shape == (2, 400, 600, 3)
    assert "picture 2 of 2: 640x512" in report and "is unlike the others" in report


def test_bypass_runs_the_graph_without_the_identity_and_says_so(
    analyzer: FaceAnalyzer, adapter: Any, tiny_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    identity, preview, report = encode(analyzer, adapter, EMPTY, on_missing="bypass")
    assert isinstance(identity, NoIdentity)
    assert "The graph runs without this identity. Encode Face found nobody." in caplog.text
    assert report.startswith("the picture: left out. No face was found in the picture (600x400).")
    assert ApplyAdapter.execute(tiny_model, identity, 0.8, 0.0, 1.0)[0] is tiny_model
    with pytest.raises(NoFaceError, match=r"No face was found in picture 2 of 2 \(600x400\)"):
        encode(analyzer, adapter, torch.cat([GROUP, EMPTY]))
    kept = encode(analyzer, adapter, torch.cat([GROUP, EMPTY]), on_missing="skip")[0]
    alone = encode(analyzer, adapter, GROUP)[0]
    assert torch.equal(kept.face_embedding, alone.face_embedding)


def test_most_like_takes_an_identity(analyzer: FaceAnalyzer, adapter: Any) -> None:
    like = encode(analyzer, adapter, image_of([DrawnFace(300, 200, 250, 0, 2)]))[0]
    points, _ = FaceKeypoints.execute(analyzer, GROUP, "most_like", 0, "error", like=like)
    assert np.abs(points.frames[0][0].kps - DRAWN[1].kps).max() < 2
    with pytest.raises(WrongInputError, match="`like` is a face that was bypassed: Encode Face"):
        encode(analyzer, adapter, GROUP, pick="most_like", like=NOBODY)
    with pytest.raises(
        WrongInputError, match="`like` is a dictionary .*; wanted one person's identity"
    ):
        encode(analyzer, adapter, GROUP, pick="most_like", like={})


def test_each_person_of_photos_is_told_their_number_in_the_list(
    analyzer: FaceAnalyzer, adapter: Any
) -> None:
    settings: Any = ("box", 0.0, 0.0, 1.0, 1.0)
    people = None
    for number in (1, 2):
        with listening() as heard:
            people, preview = PersonFromPhotos.execute(
                analyzer, adapter, GROUP, GROUP, "left_to_right", -1, *settings, people
            ).result
        assert heard.found[-1] == f"person {number} of the list"
        assert len(people.persons) == number and preview.shape == (1, 400, 600, 3)


# Keypoints.


def test_keypoints_of_every_frame_keep_their_index(analyzer: FaceAnalyzer) -> None:
    video = torch.cat([GROUP, EMPTY, GROUP])
    held, preview = FaceKeypoints.execute(analyzer, video, "left_to_right", 1, "hold")
    assert (held.width, held.height, len(held.frames)) == (600, 400, 3)
    np.testing.assert_array_equal(held.frames[1][0].kps, held.frames[0][0].kps)
    assert preview.shape == (3, 400, 600, 3)
    with listening() as heard:
        blank, _ = FaceKeypoints.execute(analyzer, video, "all", 0, "blank")
        FaceKeypoints.execute(analyzer, GROUP, **USUAL)
    assert heard.found == ["4 faces in 3 frames", "1 face"]
    assert [len(frame) for frame in blank.frames] == [2, 0, 2]
    assert blank.frames[0][0].kps[0, 0] < blank.frames[0][1].kps[0, 0]
    with pytest.raises(NoFaceError, match="No face was found in picture 2 of 3"):
        FaceKeypoints.execute(analyzer, video, **USUAL)


# Saving, loading, mixing.


def test_a_saved_identity_is_found_by_the_loader_and_is_the_same(
    analyzer: FaceAnalyzer, adapter: Any, registered: Path
) -> None:
    identity = encode(analyzer, adapter, GROUP, negative_noise=0.2, noise_seed=3)[0]
    for _ in range(2):
        SaveIdentity.execute(identity, "instantid_identities/ann")
    assert folders.identity_files() == ["ann_00001_.safetensors", "ann_00002_.safetensors"]
    back = LoadIdentity.execute(adapter, "ann_00002_.safetensors")[0]
    assert torch.equal(back.face_embedding, identity.face_embedding)
    assert torch.equal(back.negative_embedding, identity.negative_embedding)
    assert torch.equal(back.positive.kv, identity.positive.kv)
    shutil.copytree(registered / "output", registered / "elsewhere")
    with pytest.raises(Exception, match="outside the output folder"):
        SaveIdentity.execute(identity, "../elsewhere/ann")
    with pytest.raises(WrongInputError, match="`identity` is a face that was bypassed"):
        SaveIdentity.execute(NOBODY, "x")
    problem = LoadIdentity.validate_inputs("bob.safetensors")
    assert isinstance(problem, str)
    assert "There is no saved identity 'bob.safetensors'. Looked in " in problem
    assert "ann_00001_.safetensors" in problem


def test_an_uploaded_identity_is_found_and_hides_no_saved_one(
    analyzer: FaceAnalyzer, adapter: Any, registered: Path
) -> None:
    first, second = (encode(analyzer, adapter, GROUP, index=index)[0] for index in (0, 1))
    for identity in (first, second):
        SaveIdentity.execute(identity, "instantid_identities/ann")
    saved = registered / "output" / "instantid_identities"
    uploads = registered / "input" / "instantid_identities" / "fleet"
    uploads.mkdir(parents=True)
    shutil.move(saved / "ann_00002_.safetensors", uploads / "bob.safetensors")
    shutil.copy(uploads / "bob.safetensors", uploads.parent / "ann_00001_.safetensors")
    uploaded = os.path.join("fleet", "bob.safetensors")
    assert sorted(folders.identity_files()) == ["ann_00001_.safetensors", uploaded]
    assert LoadIdentity.validate_inputs("fleet/bob.safetensors") is True
    for name, wanted in (("fleet/bob.safetensors", second), ("ann_00001_.safetensors", first)):
        back = LoadIdentity.execute(adapter, name)[0]
        assert torch.equal(back.face_embedding, wanted.face_embedding)


def test_mixing_goes_from_the_first_to_the_second(
    analyzer: FaceAnalyzer, adapter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a = encode(analyzer, adapter, GROUP)[0]
    b = encode(analyzer, adapter, GROUP, index=1)[0]
    for amount, wanted in ((0.0, a), (1.0, b)):
        mixed = MixIdentities.execute(adapter, a, b, amount, "mean")[0]
        assert torch.equal(mixed.face_embedding, wanted.face_embedding)
        assert torch.equal(mixed.positive.kv, wanted.positive.kv)
    half = MixIdentities.execute(adapter, a, b, 0.5, "norm_kept_mean")[0].face_embedding
    norms = (a.face_embedding.norm() + b.face_embedding.norm()) / 2
    assert half.norm().item() == pytest.approx(norms.item(), rel=1e-5)
    with listening() as heard:
        assert MixIdentities.execute(adapter, a, NOBODY, 0.5, "mean")[0] is NOBODY
    said = f"Mix Identities hands on a bypassed identity. {NOBODY.reason}"
    assert heard.problems == [said] and said not in caplog.text


def test_the_stop_button_stops_before_the_next_picture(
    analyzer: FaceAnalyzer, adapter: Any
) -> None:
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        encode(analyzer, adapter, GROUP)
    assert analyzer.calls == 0
