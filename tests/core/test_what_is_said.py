"""What is said about wrong input and broken files: found, wanted, and what to do."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core import checkpoint, checks
from faithful_instantid.instantid_core.errors import (
    InstantIDError,
    MissingDependencyError,
    NoFaceError,
    WrongFileError,
    WrongInputError,
    WrongModelError,
)
from faithful_instantid.instantid_core.faces import FaceAnalyzer, Pick, as_analyzer
from faithful_instantid.instantid_core.faces.references import LookSettings, Reference, choose_face
from faithful_instantid.instantid_core.faces.runtime import import_package
from faithful_instantid.instantid_core.fitting import standard_face, transform
from faithful_instantid.instantid_core.identity import Identity, IdentitySide
from faithful_instantid.instantid_core.identity_file import save_identity
from faithful_instantid.instantid_core.images import to_pictures
from faithful_instantid.instantid_core.keypoints import Keypoints, checked, draw_keypoints
from faithful_instantid.instantid_core.people import choose_faces
from faithful_instantid.instantid_core.unet_layout import measure_unet
from faithful_instantid.instantid_core.weighting import (
    LayerWeights,
    WeightCurve,
    eased,
    parse_curve,
)
from torch import nn

from .test_checkpoint import flat, small_adapter

PHOTO = draw_faces([DrawnFace(300, 200, 250)], 600, 400)[..., ::-1].copy()  # BGR


def said(action: Any, kind: type[InstantIDError]) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


# Adapter files.


def test_an_adapter_with_tensors_that_are_no_weights_is_damaged_or_forged() -> None:
    forged = flat(small_adapter())
    forged["image_proj.proj_in.bias"] = forged["image_proj.proj_in.bias"].int()
    text = said(lambda: checkpoint.recognise(forged, "ip-adapter.bin"), WrongFileError)
    assert text.startswith(
        "ip-adapter.bin is damaged or forged: its tensor image_proj.proj_in.bias"
    )
    assert "holds no plain numbers, or fewer than it claims. Download it again." in text


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that fails when read")
def test_a_file_that_cannot_be_read_is_there_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "ip-adapter.bin"
    path.symlink_to("/proc/self/mem")
    text = said(lambda: checkpoint.read_adapter(path), WrongFileError)
    assert text.startswith(f"{path} is there, but cannot be read (Input/output error). ")
    assert "Check its permissions and its disk" in text


def test_a_zip_that_unpacks_to_more_than_it_is_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ip-adapter.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    text = said(lambda: checkpoint.read_adapter(path), WrongFileError)
    assert "is a zip that unpacks to 1,048,576 bytes; a PyTorch file is never packed" in text


@pytest.mark.parametrize(
    ("tensors", "name"),
    [
        ({}, "a file without any tensor in it"),
        (
            {"image_proj.x.weight": torch.zeros(1)},
            r"an image adapter of an unknown kind \(unknown base, 1 tensors, such as "
            r"image_proj\.x\.weight\)",
        ),
    ],
    ids=["empty", "unknown adapter"],
)
def test_a_file_without_the_keys_of_an_adapter_is_described(tensors: Any, name: str) -> None:
    with pytest.raises(WrongFileError, match=f"^a.safetensors is {name}. Wanted: the InstantID"):
        checkpoint.recognise(tensors, "a.safetensors")


# What sockets and widgets bring.


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ({"samples": 1}, "The picture is a dictionary (a LATENT is one). Wanted: an IMAGE."),
        (None, "The picture is nothing. Wanted: an IMAGE."),
        (torch.tensor(1.0), "The picture has the size of a single number; wanted an IMAGE"),
        (
            torch.zeros(1, 2, 2, 3, dtype=torch.complex64),
            "The picture holds complex numbers, is packed, or",
        ),
    ],
    ids=["latent", "nothing", "number", "complex"],
)
def test_what_is_no_picture_is_named(images: Any, text: str) -> None:
    assert said(lambda: to_pictures(images), WrongInputError).startswith(text)


def test_a_tensor_instead_of_an_analyzer_is_named() -> None:
    text = said(lambda: as_analyzer(torch.zeros(3)), WrongInputError)
    assert text.startswith("FACEANALYSIS brought a tensor (an IMAGE or a MASK is one); wanted what")


def test_a_number_that_is_none_is_named() -> None:
    text = said(lambda: eased("linear", float("nan"), 1.0), WrongInputError)
    assert text == "start is nan. Wanted: an ordinary number, such as the slider offers."


def test_an_object_is_named_without_its_insides() -> None:
    text = said(lambda: checks.number(SimpleNamespace(secret=1), "weight"), WrongInputError)
    assert text.startswith("weight is a SimpleNamespace object. Wanted: an ordinary number")


def test_what_is_no_conditioning_is_named_with_the_node_that_gives_one() -> None:
    text = said(lambda: checks.conditioning([1], "positive"), WrongInputError)
    assert text == (
        "`positive` is a list; wanted a CONDITIONING. Connect the output of a text encoder, such "
        "as CLIP Text Encode."
    )


def test_an_object_of_another_kind_is_sent_back_to_the_node_that_makes_it() -> None:
    curve = parse_curve("0:1")
    assert checks.part(WeightCurve, curve, "weight_curve", "Weight Curve for InstantID") is curve
    text = said(
        lambda: checks.part(LayerWeights, curve, "layer_weights", "Layer Weights for InstantID"),
        WrongInputError,
    )
    assert text == "`layer_weights` is a WeightCurve object. Connect Layer Weights for InstantID."


def test_too_few_layer_weights_are_counted_and_repeated() -> None:
    text = said(lambda: LayerWeights.parsed("1, 0.5, 0"), WrongInputError)
    assert text.startswith("The layer weights are 3 numbers: 1, 0.5, 0. Wanted: 11 numbers")


# Keypoints.


def test_what_is_no_keypoints_is_named() -> None:
    assert said(lambda: checked("kps"), WrongInputError).startswith("The keypoints are a text.")
    empty = said(lambda: checked(Keypoints(64, 64, ())), WrongInputError)
    assert empty.startswith("The keypoints hold no frame at all.")


def test_a_face_moved_far_off_the_picture_is_refused() -> None:
    text = said(lambda: transform(standard_face(), move_x=9e5), WrongInputError)
    assert text.startswith("A face lies more than 1,000,000 pixels off the picture")
    assert text.endswith("Move and scale it less.")


def test_a_person_without_a_face_in_the_pose_is_told_how_many_there_are() -> None:
    text = said(lambda: choose_faces(standard_face(), "largest", 3, 0), WrongInputError)
    assert text.startswith("Person 1 would take face number 3 (largest, counted from 0), but the")
    assert "hold 1 face at most" in text


def test_without_opencv_the_command_that_installs_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(sys, "path", [])
    text = said(lambda: draw_keypoints(np.zeros((5, 2)), 8, 8), MissingDependencyError)
    assert f'Install it with: "{sys.executable}" -m pip install opencv-python-headless' in text


# Faces.


def test_a_score_below_the_threshold_is_told_with_the_best_one(analyzer: FaceAnalyzer) -> None:
    reference = Reference(PHOTO, "the picture")
    choice = choose_face(analyzer, reference, LookSettings(threshold=0.999))
    assert re.search(
        r"^No face was found in the picture \(600x400\)\. Looked at the sizes .*; the best score "
        r"was 0\.\d\d, wanted at least 1\.00",
        said(lambda: choice.face, NoFaceError),
    )


def test_a_face_number_that_is_not_there_is_told_with_those_that_are(
    analyzer: FaceAnalyzer,
) -> None:
    choice = choose_face(analyzer, Reference(PHOTO, "the picture", pick=Pick(index=2)))
    assert said(lambda: choice.face, NoFaceError) == (
        "The picture (600x400) has 1 face, numbered from 0; `index` asks for number 2. The "
        "preview shows the numbers."
    )


def broken_recogniser(**answer: Any) -> Any:
    def get(picture: Any, face: Any) -> Any:
        if "error" in answer:
            raise answer["error"]
        return answer["gives"]

    return SimpleNamespace(get=get)


def test_a_face_model_that_fails_is_told_with_the_picture(analyzer: FaceAnalyzer) -> None:
    broken = broken_recogniser(error=RuntimeError("out of threads"))
    failing = FaceAnalyzer(analyzer.models["detection"], broken)
    face = failing.find(PHOTO).faces[0]
    text = said(lambda: failing.embed(PHOTO, face), WrongFileError)
    assert text.startswith(
        "The face recogniser failed at a picture of 600x400 (RuntimeError: out of threads)."
    )


def test_a_recogniser_that_gives_no_face_embedding_is_told(analyzer: FaceAnalyzer) -> None:
    wrong = broken_recogniser(gives=np.zeros(256))
    strange = FaceAnalyzer(analyzer.models["detection"], wrong)
    face = strange.find(PHOTO).faces[0]
    text = said(lambda: strange.embed(PHOTO, face), WrongFileError)
    assert text.startswith("The face recogniser gave 256 numbers, or some that are not numbers")


@pytest.mark.parametrize(
    ("boxes", "text"),
    [
        (np.full((1, 4), np.nan), "places of faces that are not numbers"),
        (np.zeros((2, 4)), "1 scores, 2 boxes and 1 times five points; wanted as many of each."),
    ],
    ids=["not numbers", "not as many"],
)
def test_a_detector_that_gives_nonsense_is_told(
    analyzer: FaceAnalyzer, boxes: np.ndarray[Any, Any], text: str
) -> None:
    found = ([np.ones(1)], [boxes], [np.zeros((1, 5, 2))])
    detector = SimpleNamespace(static_input_size=None, forward=lambda picture, threshold: found)
    strange = FaceAnalyzer(detector, analyzer.models["recognition"])
    assert said(lambda: strange.find(PHOTO), WrongFileError).startswith(
        f"The face detector gave {text}"
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import a_part_of_it", "is installed, but the package a_part_of_it, which it needs, is"),
        ("raise ValueError('numpy.dtype size changed')", "is installed, but cannot be imported"),
    ],
    ids=["incomplete", "broken"],
)
def test_a_package_that_is_there_and_broken_is_told_with_the_command_that_repairs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, text: str
) -> None:
    (tmp_path / "insightface.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "insightface", raising=False)
    found = said(lambda: import_package("insightface"), MissingDependencyError)
    assert found.startswith(f"insightface {text}")
    assert "-m pip install" in found


# Identities and models.


def test_an_identity_that_cannot_be_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    side = IdentitySide(torch.zeros(1, 16, 8), torch.zeros(1))
    identity = Identity(torch.zeros(512), torch.zeros(512), side, side)
    path = tmp_path / "no such folder" / "ann.safetensors"
    text = said(lambda: save_identity(path, identity), InstantIDError)
    assert text.startswith(
        "The identity could not be saved as ann.safetensors (No such file or dir"
    )
    assert "Make room, or choose another filename_prefix; nothing was left behind." in text
    assert os.listdir(tmp_path) == []


def unet_of(context_width: int) -> nn.Module:
    """A module with a single cross-attention, where a UNet of ComfyUI has one."""
    unet = place = nn.Module()
    for name in ["middle_block", "1", "transformer_blocks", "0", "attn2"]:
        place.add_module(name, nn.Module())
        place = getattr(place, name)
    place.add_module("to_k", type("ToK", (nn.Linear,), {})(context_width, 8, device="meta"))
    return unet


@pytest.mark.parametrize(
    ("width", "name"),
    [(2048, "a cut-down SDXL such as SSD-1B"), (640, "a UNet of another layout")],
)
def test_a_unet_with_other_layers_is_described(width: int, name: str) -> None:
    text = said(lambda: measure_unet(unet_of(width)), WrongModelError)
    assert text.startswith(f"This model is {name}")
    assert f"(1 cross-attentions of context width {width}). InstantID works with SDXL" in text
