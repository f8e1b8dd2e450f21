"""The seven old node ids keep their inputs, their order, names, defaults, ranges and methods."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from faithful_instantid.nodes import folders, legacy

SOCKETS = {
    "instantid": "INSTANTID",
    "insightface": "FACEANALYSIS",
    "control_net": "CONTROL_NET",
    "image": "IMAGE",
    "model": "MODEL",
    "positive": "CONDITIONING",
    "negative": "CONDITIONING",
}
WINDOW = {"start_at": (0.0, 0.0, 1.0, 0.001), "end_at": (1.0, 0.0, 1.0, 0.001)}
NOISE = {"noise": (0.0, 0.0, 1.0, 0.1)}
COMBINE = ["average", "norm average", "concat"]
PHOTO_AND_MASK = {"image_kps": "IMAGE", "mask": "MASK"}
MASK = {"mask": "MASK"}

# Required inputs in order: a socket type, (default, min, max, step) or the options; then optional
# ones; then the outputs by name and type.
OLD: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = {
    "InstantIDFaceAnalysis": (
        {"provider": ["CPU", "CUDA", "ROCM", "CoreML"]},
        {},
        [("FACEANALYSIS", "FACEANALYSIS")],
    ),
    "FaceKeypointsPreprocessor": (
        {"faceanalysis": "FACEANALYSIS", "image": "IMAGE"},
        {},
        [("IMAGE", "IMAGE")],
    ),
    "ApplyInstantID": (
        {**SOCKETS, "weight": (0.8, 0.0, 5.0, 0.01), **WINDOW},
        PHOTO_AND_MASK,
        [("MODEL", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING")],
    ),
    "ApplyInstantIDAdvanced": (
        {
            **SOCKETS,
            "ip_weight": (0.8, 0.0, 3.0, 0.01),
            "cn_strength": (0.8, 0.0, 10.0, 0.01),
            **WINDOW,
            **NOISE,
            "combine_embeds": COMBINE,
        },
        PHOTO_AND_MASK,
        [("MODEL", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING")],
    ),
    "InstantIDAttentionPatch": (
        {
            "instantid": "INSTANTID",
            "insightface": "FACEANALYSIS",
            "image": "IMAGE",
            "model": "MODEL",
            "weight": (1.0, -1.0, 3.0, 0.01),
            **WINDOW,
            **NOISE,
        },
        MASK,
        [("MODEL", "MODEL"), ("FACE_EMBEDS", "FACE_EMBEDS")],
    ),
    "ApplyInstantIDControlNet": (
        {
            "face_embeds": "FACE_EMBEDS",
            "control_net": "CONTROL_NET",
            "image_kps": "IMAGE",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "strength": (1.0, 0.0, 10.0, 0.01),
            **WINDOW,
        },
        MASK,
        [("positive", "CONDITIONING"), ("negative", "CONDITIONING")],
    ),
}
METHODS = {
    "InstantIDModelLoader": ("load_model", ["instantid_file"]),
    "InstantIDFaceAnalysis": ("load_insight_face", ["provider"]),
    "FaceKeypointsPreprocessor": ("preprocess_image", ["faceanalysis", "image"]),
    "ApplyInstantID": (
        "apply_instantid",
        [*SOCKETS, "start_at", "end_at", "weight", "ip_weight", "cn_strength", "noise"]
        + ["image_kps", "mask", "combine_embeds"],
    ),
    "InstantIDAttentionPatch": (
        "patch_attention",
        ["instantid", "insightface", "image", "model", "weight", "start_at", "end_at"]
        + ["noise", "mask"],
    ),
    "ApplyInstantIDControlNet": (
        "apply_controlnet",
        ["face_embeds", "control_net", "image_kps", "positive", "negative", "strength"]
        + ["start_at", "end_at", "mask"],
    ),
}


@pytest.fixture(scope="module", autouse=True)
def model_folders() -> None:
    """As the pack does when ComfyUI loads it: the loaders list what is in them."""
    folders.register()


def node(node_id: str) -> Any:
    return legacy.NODES[node_id]


def described(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as ComfyUI tells them to the frontend, in the words of `OLD`."""

    def words(kind: Any, options: dict[str, Any]) -> Any:
        if kind == "FLOAT":
            return tuple(options[key] for key in ("default", "min", "max", "step"))
        return options["options"] if kind == "COMBO" else kind

    return {name: words(*value) for name, value in inputs.items()}


@pytest.mark.parametrize("node_id", OLD)
def test_an_old_id_has_the_old_inputs_and_outputs_in_order(node_id: str) -> None:
    required, optional, outputs = OLD[node_id]
    info = node(node_id).GET_NODE_INFO_V1()
    assert list(described(info["input"].get("required", {})).items()) == list(required.items())
    assert list(described(info["input"].get("optional", {})).items()) == list(optional.items())
    assert list(zip(info["output_name"], info["output"], strict=True)) == outputs
    assert info["deprecated"]


def test_the_old_model_loader_has_one_input_and_one_output() -> None:
    info = node("InstantIDModelLoader").GET_NODE_INFO_V1()
    assert list(info["input"]["required"]) == ["instantid_file"]
    assert info["input"]["required"]["instantid_file"][0] == "COMBO"
    assert not info["input"].get("optional")
    assert info["output"] == info["output_name"] == ["INSTANTID"]


def test_there_are_seven_old_ids_and_each_class_bears_its_id() -> None:
    ids = [n.GET_SCHEMA().node_id for n in legacy.NODES.values()]
    assert sorted(ids) == sorted([*OLD, "InstantIDModelLoader"])
    assert ids == list(legacy.NODES) == [n.__name__ for n in legacy.NODES.values()]


@pytest.mark.parametrize("node_id", METHODS)
def test_python_callers_find_the_old_method_with_the_old_parameters(node_id: str) -> None:
    name, parameters = METHODS[node_id]
    instance = node(node_id)()
    assert list(inspect.signature(getattr(instance, name)).parameters) == parameters


def test_the_advanced_node_has_the_method_of_the_plain_one() -> None:
    plain, advanced = node("ApplyInstantID"), node("ApplyInstantIDAdvanced")
    assert inspect.signature(plain().apply_instantid) == inspect.signature(
        advanced().apply_instantid
    )


@pytest.mark.parametrize("old", legacy.NODES.values(), ids=list(legacy.NODES))
def test_every_input_and_output_of_an_old_node_has_a_tooltip(old: Any) -> None:
    schema = old.GET_SCHEMA()
    assert all(i.tooltip for i in schema.inputs)
    assert all(o.tooltip for o in schema.outputs)
    assert schema.description


@pytest.mark.parametrize("old", legacy.NODES.values(), ids=list(legacy.NODES))
def test_an_old_node_executes_with_the_inputs_it_declares(old: Any) -> None:
    declared = [i.id for i in old.GET_SCHEMA().inputs]
    assert list(inspect.signature(old.execute).parameters) == declared
