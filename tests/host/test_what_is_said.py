"""What the nodes say in a real ComfyUI: found, wanted, and what to do."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_instantid.devtools import tiny_adapter
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import (
    InstantIDError,
    WrongFileError,
    WrongInputError,
)
from faithful_instantid.instantid_core.faces.references import checked_references
from faithful_instantid.instantid_core.fitting import Fit, standard_face
from faithful_instantid.instantid_core.host.hints import hint_of
from faithful_instantid.instantid_core.host.loading import load_identitynet
from faithful_instantid.instantid_core.host.people import (
    PersonSettings,
    carry_person,
    checked_people,
    region_for,
    with_person,
)
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.instantid_core.people import NOBODY
from faithful_instantid.instantid_core.regions import OFFICIAL
from faithful_instantid.nodes.faces import MixIdentities
from faithful_instantid.nodes.legacy.apply import ApplyInstantID
from safetensors.torch import save_file

from ..golden.weights import fill
from .comparing import relative_error
from .predict import SIDES, conditioning, noise_of, predict

Official = dict[str, torch.Tensor]
BYPASSED = NoIdentity("Encode Face found nobody. No face was found in the picture (600x400).")


def said(action: Callable[[], Any], kind: type[InstantIDError]) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


# Model files.


def test_an_adapter_is_loaded_with_one_line(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    adapter_weights: dict[str, dict[str, torch.Tensor]],
) -> None:
    path = tmp_path / "ip-adapter.bin"
    torch.save(adapter_weights, path)
    with caplog.at_level(logging.INFO, logger="faithful_instantid"):
        host.load_adapter(path)
    assert f"InstantID adapter loaded from {path}" in caplog.text


class Code:
    """A pickle of it would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_a_controlnet_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "identitynet.bin"
    path.write_bytes(pickle.dumps(Code()))
    text = said(lambda: load_identitynet(path), WrongFileError)
    assert text.startswith(f"{path} cannot be read (it is a pickle that holds more than weights,")
    assert text.endswith("download IdentityNet again.")


def test_a_file_that_is_no_controlnet_is_told_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file({"text_model.weight": torch.zeros(2, 2)}, path)
    text = said(lambda: load_identitynet(path), WrongFileError)
    assert text.startswith(f"{path} is no ControlNet. Wanted: IdentityNet, for SDXL Control")


def test_an_adapter_whose_tensors_do_not_fit_is_damaged() -> None:
    weights = tiny_adapter.state_dict(fill)
    weights["image_proj"]["proj_in.bias"] = torch.zeros(3)
    text = said(lambda: host.adapter_from_state_dict(weights), WrongFileError)
    assert text.startswith("The adapter's tensors do not fit each other: the file is damaged")


def test_an_adapter_that_gives_no_numbers_is_damaged(official: Official) -> None:
    weights = tiny_adapter.state_dict(fill)
    weights["image_proj"]["latents"] = torch.full_like(
        weights["image_proj"]["latents"], float("inf")
    )
    adapter = host.adapter_from_state_dict(weights)
    text = said(
        lambda: host.encode_identity(adapter, official["in.face_embedding"]), WrongFileError
    )
    assert text.startswith("The adapter turns this face into values that are not numbers")


# What sockets bring.


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda: checked_references("x"), "`references` is a text. Connect the output of Face"),
        (lambda: checked_people(3), "The list of people is a number. Connect the output of Per"),
        (
            lambda: region_for(None, None, Fit.CROP, OFFICIAL),
            "There are no keypoints, so nothing says where the face is. Connect Face Keypoints",
        ),
        (
            lambda: hint_of(torch.zeros(1, 8, 8, 3, dtype=torch.int32), Fit.CROP),
            "IdentityNet's picture of keypoints is of whole numbers, or has values that are not",
        ),
    ],
    ids=["references", "people", "keypoints", "whole numbers"],
)
def test_what_a_node_cannot_take_is_named_with_what_it_wants(
    action: Callable[[], Any], text: str
) -> None:
    assert said(action, WrongInputError).startswith(text)


def test_a_bypassed_face_is_told_where_it_would_have_been_used(
    official: Official, adapter: Any, identity: Any, caplog: pytest.LogCaptureFixture
) -> None:
    positive, negative = (conditioning(official, side) for side in SIDES)
    with listening() as heard, caplog.at_level(logging.INFO, logger="faithful_instantid"):
        assert carry_person(positive, BYPASSED) is positive
        nobody = with_person(None, BYPASSED, standard_face(), None, PersonSettings("largest"))
        assert nobody is NOBODY
        assert MixIdentities.execute(adapter, identity, BYPASSED, 0.5, "mean")[0] is BYPASSED
        host.apply_identitynet(positive, negative, None, BYPASSED)
        host.apply_adapter(None, BYPASSED)
    begins = (
        "The conditioning carries no person. ",
        "This person is left out of the list. ",
        "Mix Identities hands on a bypassed identity. ",
        "IdentityNet is not applied: ",
        "The InstantID adapter is not applied: ",
    )
    assert heard.problems == [f"{begin}{BYPASSED.reason}" for begin in begins]
    assert caplog.text == ""  # Encode Face has logged it
    text = said(
        lambda: with_person(None, identity, None, None, PersonSettings("largest")), WrongInputError
    )
    assert "nothing says where the face is" in text


def test_people_without_a_place_leave_identitynet_out_and_say_so(
    official: Official, identity: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pair = [conditioning(official, side) for side in SIDES]
    masked = with_person(None, identity, None, torch.ones(8, 8), PersonSettings("largest"))
    for people, reason in (
        (NOBODY, "the list of people is empty."),
        (masked, "nobody in the list of people has keypoints."),
    ):
        with caplog.at_level(logging.INFO, logger="faithful_instantid"):
            assert host.apply_identitynet(*pair, None, people) == tuple(pair)
        assert f"IdentityNet is not applied: {reason}" in caplog.text


def test_a_person_with_more_references_than_the_models_is_drawn_with_all_of_them(
    official: Official, tiny_model: Any, adapter: Any, identity: Any
) -> None:
    face = official["in.face_embedding"]
    kept_apart = host.encode_identity(adapter, torch.stack([face, face]))
    positive, negative = (conditioning(official, side) for side in SIDES)
    patched = host.apply_adapter(tiny_model, identity)
    carried = carry_person(positive, kept_apart)
    noise = noise_of(official, tiny_model, 501)
    found = predict(patched, carried, negative, noise, 501)["positive"]
    alone = host.apply_adapter(tiny_model, kept_apart)
    wanted = predict(alone, positive, negative, noise, 501)["positive"]
    assert relative_error(found, wanted) < 1e-6


# The old nodes.


def test_a_node_of_the_first_weeks_is_told_what_to_do() -> None:
    problem = ApplyInstantID.validate_inputs(image_features=None)
    assert isinstance(problem, str)
    assert problem.startswith("This node was saved with the first version of the old InstantID")
    assert "Add the node anew, connect the photo to image" in problem
