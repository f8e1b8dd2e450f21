"""SD1.5's InstantID beside SDXL's: photos in their own order of channels, no mixture by mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.devtools import tiny_sd15
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import (
    InstantIDError,
    WrongFileError,
    WrongInputError,
    WrongModelError,
)
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer
from faithful_instantid.instantid_core.host import apply_adapter, apply_identitynet
from faithful_instantid.instantid_core.host.conditioning import Conditioning
from faithful_instantid.instantid_core.host.faces import (
    change_identity,
    load_identity,
    mix_identities,
    negative_side,
)
from faithful_instantid.instantid_core.host.loading import load_identitynet
from faithful_instantid.instantid_core.host.people import (
    PersonSettings,
    carry_person,
    with_person,
)
from faithful_instantid.instantid_core.identity_file import load_embeddings, save_identity
from faithful_instantid.instantid_core.unet_layout import SD15, SDXL
from faithful_instantid.nodes import folders
from faithful_instantid.nodes.faces import EncodeFace
from faithful_instantid.nodes.likeness import Likeness
from faithful_instantid.nodes.people import PersonFromPhotos
from faithful_instantid.tests.golden.weights import fill

from .predict import SIDES, conditioning, noise_of, predict
from .sd15 import World, make_world, noise

EVERYWHERE = torch.ones(1, 64, 64)
DRAWN = DrawnFace(150, 200, 210, 4, 1)
PHOTO = draw_faces([DRAWN], 600, 400)  # RGB bytes
IMAGE = torch.from_numpy(PHOTO).float()[None] / 255
HINT = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("sd15"))


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory: pytest.TempPathFactory) -> FaceAnalyzer:
    root = tmp_path_factory.mktemp("insightface")
    (root / "models" / "antelopev2").mkdir(parents=True)
    standins.make_pack(root / "models" / "antelopev2")
    return open_analyzer(find_pack("antelopev2", [root]), "CPU")


def by_insightface(analyzer: FaceAnalyzer, picture: np.ndarray) -> torch.Tensor:
    """What insightface's own recogniser gives for the bytes as they are."""
    kps = analyzer.find(np.ascontiguousarray(PHOTO[..., ::-1])).faces[0].points.kps
    found = analyzer.models["recognition"].get(picture, SimpleNamespace(kps=kps))
    return torch.from_numpy(np.array(found)).flatten()


def encoded(analyzer: FaceAnalyzer, adapter: Any, **more: Any) -> Any:
    usual = {"pick": "largest", "index": 0, "combine": "mean", "on_missing": "error"}
    return EncodeFace.execute(analyzer, adapter, IMAGE, **usual, **more).result[0]


# Photos.


def test_each_adapter_is_given_photos_in_the_order_it_learned_from(
    analyzer: FaceAnalyzer, adapter: Any, world: World
) -> None:
    """And what is remembered of one order is never taken for the other."""
    rgb = by_insightface(analyzer, PHOTO)
    bgr = by_insightface(analyzer, np.ascontiguousarray(PHOTO[..., ::-1]))
    assert torch.dist(rgb, bgr) > 0.01 * rgb.norm()
    for _ in range(2):
        assert torch.allclose(encoded(analyzer, adapter).face_embedding, bgr)
        assert torch.allclose(encoded(analyzer, world.adapter).face_embedding, rgb)


def test_a_person_from_photos_is_looked_at_in_the_order_of_the_adapter(
    analyzer: FaceAnalyzer, world: World
) -> None:
    people = PersonFromPhotos.execute(
        analyzer, world.adapter, IMAGE, IMAGE, "most_like", 0, "box", 0.0, 0.0, 1.0, 1.0
    ).result[0]
    (person,) = people.persons
    assert person.identity.family == SD15
    assert torch.allclose(person.identity.face_embedding, by_insightface(analyzer, PHOTO))


def test_likeness_compares_in_the_order_that_the_person_was_encoded_in(
    analyzer: FaceAnalyzer, adapter: Any, world: World
) -> None:
    for one in (adapter, world.adapter):
        scores = Likeness.execute(
            analyzer, IMAGE, folders.OWN_RECOGNISER, identity=encoded(analyzer, one)
        ).result[0]
        assert scores == pytest.approx([1.0], abs=1e-6)


def test_a_face_is_picked_by_likeness_in_the_order_of_whom_it_shall_be_like(
    analyzer: FaceAnalyzer, adapter: Any, world: World
) -> None:
    other = DrawnFace(450, 200, 160, -8, 2)
    group = torch.from_numpy(draw_faces([other, DRAWN], 600, 400)).float()[None] / 255
    for one in (adapter, world.adapter):
        like = encoded(analyzer, one)
        found = EncodeFace.execute(
            analyzer, adapter, group, "most_like", 0, "mean", "error", like=like
        ).result[0]
        wanted = encoded(analyzer, adapter).face_embedding
        assert torch.cosine_similarity(found.face_embedding, wanted, dim=0) > 0.9


# Files.


def test_a_saved_face_comes_back_for_its_own_family_only(
    tmp_path: Path, adapter: Any, world: World
) -> None:
    path = tmp_path / "anna.safetensors"
    save_identity(path, world.identity(), "anna")
    assert load_embeddings(path).family == SD15
    again = load_identity(world.adapter, path)
    assert torch.equal(again.positive.kv, world.identity().positive.kv)
    text = refused(lambda: load_identity(adapter, path), WrongInputError)
    assert text.startswith("anna.safetensors is a face for SD1.5, the adapter is for SDXL")
    save_identity(tmp_path / "old.safetensors", host.encode_identity(adapter, noise(512)))
    text = refused(lambda: load_identity(world.adapter, tmp_path / "old.safetensors"))
    assert text.startswith("old.safetensors is a face for SDXL, the adapter is for SD1.5")


# Mismatches.


def refused(action: Callable[[], Any], kind: type[InstantIDError] = WrongInputError) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


def pair(given: dict[str, torch.Tensor]) -> list[Conditioning]:
    return [conditioning(given, side) for side in SIDES]


def test_a_face_on_a_model_of_the_other_family_says_both_and_what_to_load(
    tiny_model: Any, identity: Any, world: World
) -> None:
    text = refused(lambda: apply_adapter(tiny_model, world.identity()), WrongModelError)
    assert text == (
        "The face was encoded for SD1.5, this model is SDXL. Load an SD1.5 checkpoint, or encode "
        "the face with the adapter for SDXL: ip-adapter.bin of InstantX/InstantID."
    )
    text = refused(lambda: apply_adapter(world.model, identity), WrongModelError)
    assert text == (
        "The face was encoded for SDXL, this model is SD1.5. Load an SDXL checkpoint, or encode "
        "the face with the adapter for SD1.5: image_proj.ckpt and ip-state.ckpt of "
        "TheDenk/InstantID-SD1.5."
    )


def test_a_face_with_the_controlnet_of_the_other_family_says_which_to_load(
    make_controlnet: Any, official: Any, identity: Any, world: World
) -> None:
    def told(given: Any, net: Any, person: Any) -> str:
        return refused(lambda: apply_identitynet(*pair(given), net, person, HINT), WrongModelError)

    sdxl = make_controlnet("identitynet")
    assert SD15.identitynet in told(world.given, sdxl, world.identity())
    assert SDXL.identitynet in told(official, world.net, identity)
    # Of one width, which a small model's may be, the structure tells.
    config = {**tiny_sd15.UNET_CONFIG, "context_dim": 64}
    net = tiny_sd15.wrapped(tiny_sd15.controlnet(config, device="meta"))
    text = told(official, net, identity)
    assert text.startswith("This ControlNet is for SD1.5, the face is for SDXL. Load IdentityNet")


def test_an_identitynet_in_a_sampling_of_the_other_family_says_what_to_load(
    tiny_model: Any, make_controlnet: Any, official: Any, identity: Any, world: World
) -> None:
    conditionings = apply_identitynet(*pair(official), world.net, world.identity(), HINT)
    x = noise_of(official, tiny_model, 501)
    text = refused(lambda: predict(tiny_model, *conditionings, x, 501), WrongModelError)
    assert "load an SD1.5 checkpoint" in text
    sdxl = make_controlnet("identitynet")
    conditionings = apply_identitynet(*pair(world.given), sdxl, identity, HINT)
    x = noise_of(world.given, world.model, 501)
    text = refused(lambda: predict(world.model, *conditionings, x, 501), WrongModelError)
    assert "this model gives none, as SD1.5 does" in text and "load an SDXL checkpoint" in text


def test_a_conditioning_that_carries_a_person_of_the_other_family_is_refused(
    world: World, identity: Any
) -> None:
    model = apply_adapter(world.model, world.identity())
    positive, negative = pair(world.given)
    x = noise_of(world.given, model, 501)
    carried = carry_person(positive, identity)
    text = refused(lambda: predict(model, carried, negative, x, 501), WrongModelError)
    assert text.startswith("The face was encoded for SDXL, this model is SD1.5.")


def test_people_of_two_families_are_not_mixed(adapter: Any, identity: Any, world: World) -> None:
    other = world.identity()
    people = with_person(None, identity, None, EVERYWHERE, PersonSettings("largest"))
    actions: dict[str, Callable[[], Any]] = {
        "face_embeds": lambda: with_person(
            people, other, None, EVERYWHERE, PersonSettings("largest")
        ),
        "second": lambda: mix_identities(adapter, identity, other, 0.5),
        "first": lambda: mix_identities(world.adapter, identity, other, 0.5),
        "after": lambda: change_identity(adapter, identity, other, 3, 2),
        "before": lambda: change_identity(world.adapter, identity, other, 3, 2),
        "negative_identity": lambda: negative_side(adapter, other, 0.5),
    }
    for name, action in actions.items():
        text = refused(action)
        assert text.startswith(f"`{name}` is a face for SD"), text
        assert "SD1.5" in text and "SDXL" in text and "Encode the photo again" in text
    mixed = mix_identities(world.adapter, other, world.identity(9), 0.5)
    assert mixed.family == SD15
    assert len(change_identity(world.adapter, other, world.identity(9), 3, 2).each) == 3


# IdentityNet's file, with the structure and size it really has and weights of zeros.


@pytest.mark.parametrize("prefix", ["", "module."])
def test_identitynet_is_loaded_from_its_training_file(tmp_path: Path, prefix: str) -> None:
    names = tiny_sd15.controlnet_names()
    config = {**tiny_sd15.UNET_CONFIG, "model_channels": 320, "context_dim": 768}
    shapes = tiny_sd15.controlnet(config, device="meta").state_dict()
    tensors = {
        f"{prefix}{name}": torch.zeros(1).expand(shapes[target].shape)
        for name, target in names.items()
        if target in shapes
    }
    path = tmp_path / "controlnet.ckpt"
    torch.save({"epoch": 1, "state_dict": tensors}, path)
    net = load_identitynet(path)
    assert net.control_model.state_dict().keys() == shapes.keys()
    assert net.control_model.middle_block[1].transformer_blocks[0].attn2.to_k.in_features == 768


def test_what_is_no_controlnet_is_refused_with_what_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "ip-state.ckpt"
    torch.save(tiny_sd15.adapter_files(fill)[1], path)
    text = refused(lambda: load_identitynet(path), WrongFileError)
    assert "is no ControlNet" in text and "controlnet.ckpt" in text
