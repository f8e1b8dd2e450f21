"""Changing what comes after the face runs no face model again."""

from __future__ import annotations

from typing import Any

from faithful_instantid.devtools.comfy_server import Server

from .conftest import node_id, workflow

CHANGES: list[dict[str, dict[str, Any]]] = [
    {"KSampler": {"seed": 12}},
    {"IID_Apply": {"weight": 0.5}},
    {"IID_Apply": {"strength": 0.6}},
    {"CLIPTextEncode": {"text": "a painter in her studio"}},
    {"IID_EncodeFace": {"combine": "norm_kept_mean"}},
    {"IID_EncodeFace": {"weights": "2"}},
    {"IID_EncodeFace": {"pick": "left_to_right"}},
]


def calls_after(server: Server, changes: dict[str, dict[str, Any]]) -> int:
    prompt = workflow(**changes)
    decoded = prompt[node_id(prompt, "SaveImage")]["inputs"]["images"]
    analyzer = [node_id(prompt, "IID_LoadInstantID"), 0]
    inputs = {"face_analyzer": analyzer, "after": decoded}
    prompt["calls"] = {"class_type": "IIDDev_AnalyzerCalls", "inputs": inputs}
    return int(server.run(prompt).text("calls"))


def test_weight_strength_prompt_seed_and_pick_run_no_face_model_again(server: Server) -> None:
    first = calls_after(server, {"KSampler": {"seed": 11}})
    assert first > 0
    for changes in CHANGES:
        assert calls_after(server, changes) == first, changes
