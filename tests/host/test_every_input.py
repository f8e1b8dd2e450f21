"""Every input of every node reaches the core as what it is called, and matters."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.faces import find_pack, open_analyzer
from faithful_instantid.nodes import MODULES, folders, legacy

from .every_input import NODES, SHOWN_ONLY
from .input_world import World, outcome, same

# Files: what they list, choose and write has tests of its own, which this names.
FILES = {
    "IID_LoadAdapter": "test_face_nodes",
    "IID_LoadFaceAnalyzer": "test_face_nodes",
    "IID_LoadInstantID": "test_loaders_pass_each_choice_on",
    "IID_SaveIdentity": "test_seen_on_nodes",
    "IID_LoadIdentity": "test_face_nodes",
    "InstantIDModelLoader": "test_legacy_nodes",
    "InstantIDFaceAnalysis": "test_legacy_nodes",
}

# Nodes with a picture of what they made on themselves.
SHOW = {
    f"IID_{name}"
    for name in (
        *("CropFace", "DrawKeypoints", "EditKeypoints", "EncodeFace", "FaceKeypoints"),
        *("FaceRegionMask", "FollowFace", "FrameWeights", "KeepMostAlike", "KeypointsFromPose"),
        *("LayerWeights", "Likeness", "PasteFace", "PersonFromPhotos", "PlaceKeypoints"),
        *("SteadyKeypoints", "TransformKeypoints", "WeightCurve"),
    )
}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    official: dict[str, torch.Tensor],
    tiny_model: Any,
    adapter: Any,
    adapter_weights: dict[str, dict[str, torch.Tensor]],
    identity: Any,
    second_identity: Any,
    make_controlnet: Any,
) -> World:
    pack = tmp_path_factory.mktemp("insightface") / "models" / "antelopev2"
    pack.mkdir(parents=True)
    standins.make_pack(pack)
    doubled = {
        part: {name: tensor * 1.1 for name, tensor in tensors.items()}
        for part, tensors in adapter_weights.items()
    }
    return World(
        official=official,
        model=tiny_model,
        adapter=adapter,
        other_adapter=host.adapter_from_state_dict(doubled),
        net=make_controlnet("identitynet"),
        other_net=make_controlnet("depthnet"),
        analyzer=open_analyzer(find_pack("antelopev2", [pack.parent.parent]), "CPU"),
        identity=identity,
        other_identity=second_identity,
    )


@pytest.fixture(scope="module")
def classes() -> dict[str, Any]:
    folders.register()
    ours = [node for module in MODULES for node in module.NODES]
    return {node.define_schema().node_id: node for node in [*ours, *legacy.NODES.values()]}


def test_every_input_of_every_node_has_a_case(classes: dict[str, Any]) -> None:
    assert set(classes) == {*NODES, *FILES}
    for node_id, cases in NODES.items():
        inputs = [entry.id for entry in classes[node_id].define_schema().inputs]
        shown_only = SHOWN_ONLY.get(node_id, {})
        assert sorted(inputs) == sorted([*cases.cases, *shown_only]), node_id


@pytest.mark.parametrize(
    ("node_id", "name"), [(node, name) for node, cases in NODES.items() for name in cases.cases]
)
def test_another_value_does_what_it_does_to_the_core(
    classes: dict[str, Any], world: World, node_id: str, name: str
) -> None:
    cases = NODES[node_id]
    case = cases.cases[name]
    before = {**cases.base(world), **case.given(world)}
    value = case.value(world) if callable(case.value) else case.value
    after = {**before, name: value}

    def numbers(make: Any, inputs: dict[str, Any]) -> Any:
        def run() -> Any:
            made = make(**inputs)
            return made if cases.numbers is None else cases.numbers(world, made)

        return outcome(run)

    def node(**inputs: Any) -> Any:
        return classes[node_id].execute(**inputs).result

    def core(**inputs: Any) -> Any:
        return cases.core(world, **inputs)

    changed = numbers(node, after)
    assert same(changed, numbers(core, after))
    kept = "" if case.given(world) else node_id
    if not kept or kept not in world.unchanged:
        world.unchanged[kept] = numbers(core, before)
    assert not same(changed, world.unchanged[kept])


def test_what_a_prompt_leaves_out_is_what_the_node_shows(classes: dict[str, Any]) -> None:
    differ = []
    for node_id, node in classes.items():
        given = inspect.signature(node.execute).parameters
        for entry in node.define_schema().inputs:
            own, shown = given[entry.id].default, getattr(entry, "default", None)
            if own is not inspect.Parameter.empty and shown is not None and own != shown:
                differ.append(f"{node_id}.{entry.id}: {own!r}, shown {shown!r}")
    assert differ == []


def test_nodes_show_a_picture_of_what_they_made(classes: dict[str, Any], world: World) -> None:
    shown = set()
    for node_id, cases in NODES.items():
        told = classes[node_id].execute(**cases.base(world)).ui or {}
        if (told if isinstance(told, dict) else told.as_dict()).get("images"):
            shown.add(node_id)
    assert shown == SHOW


def test_loaders_pass_each_choice_on(
    classes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from faithful_instantid.nodes import loaders

    for name in ("open_analyzer", "load_adapter", "load_identitynet"):
        monkeypatch.setattr(loaders, name, lambda *given, name=name: (name, *given))
    for name in ("face_pack", "adapter_path", "controlnet_path"):
        monkeypatch.setattr(folders, name, lambda file: f"path of {file}")
    opened = ("open_analyzer", "path of p", "CPU")
    loaded = ("load_adapter", "path of a.bin")
    net = ("load_identitynet", "path of instantid.safetensors")
    made = classes["IID_LoadInstantID"].execute("p", "a.bin", "instantid.safetensors", "CPU")
    assert made.result == (opened, loaded, net)
    assert classes["IID_LoadFaceAnalyzer"].execute("p", "CPU").result == (opened,)
    assert classes["IID_LoadAdapter"].execute("a.bin").result == (loaded,)
