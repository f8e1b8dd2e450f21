"""Graphs and API prompts of the old pack run on a real server, as they were saved."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server

from .conftest import failure, pictures

GRAPHS = Path(__file__).resolve().parent / "graphs"
SIZE = 136  # 17 x 17 latent cells: as odd as the 127 x 127 of the published graphs, but quicker
APPLY = "60"  # the id of the apply node in every graph


def graph(name: str) -> Prompt:
    """Return a published graph's shape in API form, without `_meta`, at a small size."""
    prompt: Prompt = json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8"))
    for node in prompt.values():
        small = {"width": SIZE, "height": SIZE} if "latent" in node["class_type"].lower() else {}
        quick = {"steps": 2} if node["class_type"] == "KSampler" else {}
        node["inputs"].update({k: v for k, v in {**small, **quick}.items() if k in node["inputs"]})
    return prompt


def basic(**inputs: Any) -> Prompt:
    """The basic graph with other inputs of its apply node."""
    prompt = graph("basic")
    prompt[APPLY]["inputs"].update(inputs)
    return prompt


def picture(server: Server, prompt: Prompt) -> np.ndarray:
    (found,) = pictures(server, server.run(prompt), prompt)
    return np.asarray(found, float)


def new_log(server: Server, prompt: Prompt) -> str:
    """Run a prompt and return what the server logged meanwhile."""
    before = len(server.log)
    server.run(prompt)
    return server.log[before:]


@pytest.mark.parametrize("name", sorted(path.stem for path in GRAPHS.glob("*.json")))
def test_a_published_graphs_shape_runs_and_gives_a_picture(server: Server, name: str) -> None:
    prompt = graph(name)
    assert not any("_meta" in node for node in prompt.values())
    found = picture(server, prompt)
    assert found.shape == (SIZE, SIZE, 3)
    assert found.std() > 1  # not one flat colour


def test_the_old_apply_node_changes_the_picture(server: Server) -> None:
    assert np.abs(picture(server, graph("basic")) - picture(server, basic(weight=0))).mean() > 1


def test_the_advanced_node_runs_with_ints_for_floats(server: Server) -> None:
    prompt = basic(ip_weight=1, cn_strength=1, start_at=0, end_at=1, noise=0)
    prompt[APPLY]["class_type"] = "ApplyInstantIDAdvanced"
    prompt[APPLY]["inputs"] |= {"combine_embeds": "norm average"}
    del prompt[APPLY]["inputs"]["weight"]
    assert picture(server, prompt).std() > 1


def test_the_separate_nodes_run_with_keypoints_made_in_the_graph(server: Server) -> None:
    prompt = graph("basic")
    photo, conditioning = ["13", 0], {"positive": ["39", 0], "negative": ["40", 0]}
    window = {"start_at": 0.0, "end_at": 0.4}
    prompt[APPLY] = {
        "class_type": "InstantIDAttentionPatch",
        "inputs": {
            **{"instantid": ["11", 0], "insightface": ["38", 0], "image": photo},
            **{"model": ["4", 0], "weight": 0.7000000000000001, "noise": 0.2, **window},
        },
    }
    prompt["61"] = {
        "class_type": "FaceKeypointsPreprocessor",
        "inputs": {"faceanalysis": ["38", 0], "image": photo},
    }
    prompt["62"] = {
        "class_type": "ApplyInstantIDControlNet",
        "inputs": {
            **{"face_embeds": [APPLY, 1], "control_net": ["16", 0], "image_kps": ["61", 0]},
            **{"strength": 1, **window, **conditioning},
        },
    }
    prompt["3"]["inputs"] |= {"positive": ["62", 0], "negative": ["62", 1]}
    assert picture(server, prompt).std() > 1


def test_freeu_loras_custom_sampling_and_a_larger_second_pass_go_with_it(server: Server) -> None:
    prompt = basic(model=["91", 0])
    lora = {"lora_name": "sdxl_lightning_4step_lora.safetensors", "strength_model": 0.5}
    prompt["90"] = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["4", 0], **lora}}
    prompt["91"] = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["90", 0], **lora}}
    prompt["92"] = {
        "class_type": "FreeU_V2",
        "inputs": {"model": [APPLY, 0], "b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
    }
    sides = {"positive": [APPLY, 1], "negative": [APPLY, 2]}
    prompt["3"] = {
        "class_type": "SamplerCustom",
        "inputs": {
            **{"model": ["92", 0], "add_noise": True, "noise_seed": 1, "cfg": 4, **sides},
            **{"sampler": ["93", 0], "sigmas": ["94", 0], "latent_image": ["5", 0]},
        },
    }
    prompt["93"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
    prompt["94"] = {
        "class_type": "BasicScheduler",
        "inputs": {"model": ["92", 0], "scheduler": "normal", "steps": 2, "denoise": 1.0},
    }
    prompt["95"] = {
        "class_type": "LatentUpscale",
        "inputs": {
            **{"samples": ["3", 0], "upscale_method": "nearest-exact", "crop": "disabled"},
            **{"width": 216, "height": 168},
        },
    }
    again = graph("basic")["3"]["inputs"] | {"latent_image": ["95", 0], "denoise": 0.5}
    prompt["96"] = {"class_type": "KSampler", "inputs": again}
    prompt["8"]["inputs"]["samples"] = ["96", 0]
    assert picture(server, prompt).shape == (168, 216, 3)


@pytest.mark.parametrize(
    ("inputs", "note"),
    [
        ({"weight": 9}, "weight is 9.0; an old node takes 0.0 to 5.0, so it runs with 5.0."),
        ({"end_at": 1.5}, "end_at is 1.5; an old node takes 0.0 to 1.0, so it runs with 1.0."),
    ],
)
def test_a_number_out_of_range_runs_with_a_note(
    server: Server, inputs: dict[str, float], note: str
) -> None:
    assert note in new_log(server, basic(**inputs))


def test_a_provider_nobody_knows_runs_with_a_note(server: Server) -> None:
    prompt = graph("basic")
    prompt["38"]["inputs"]["provider"] = "TensorRT"
    note = "The provider TensorRT is unknown; the analyzer takes what is there."
    assert note in new_log(server, prompt)


def test_a_provider_that_is_not_there_falls_back_to_the_cpu(server: Server) -> None:
    prompt = graph("basic")
    prompt["38"]["inputs"]["provider"] = "ROCM"
    assert picture(server, prompt).std() > 1


def test_a_file_in_a_subfolder_is_found_with_windows_separators(started: Any) -> None:
    folder = started.models / "instantid" / "SDXL"
    folder.mkdir(exist_ok=True)
    source = started.models / "instantid" / "ip-adapter.bin"
    (folder / "moved.bin").symlink_to(source.resolve())
    prompt = graph("basic")
    prompt["11"]["inputs"]["instantid_file"] = "SDXL\\moved.bin"
    assert picture(started.server, prompt).std() > 1


def test_an_adapter_file_that_is_not_there_is_named_with_what_is(server: Server) -> None:
    prompt = graph("basic")
    prompt["11"]["inputs"]["instantid_file"] = "gone.bin"
    message = failure(server.queue, prompt).message
    assert "There is no adapter file 'gone.bin'" in message
    assert "ip-adapter.bin" in message


def test_a_graph_of_the_first_weeks_gets_a_clear_message(server: Server) -> None:
    prompt = graph("basic")
    inputs = prompt[APPLY]["inputs"]
    inputs["image_features"] = inputs.pop("image")
    del inputs["control_net"]
    message = failure(server.queue, prompt).message
    assert "saved with the first version of the old InstantID pack" in message
    assert "connect the photo to image" in message


def test_an_unknown_attn_mask_beside_all_inputs_gets_a_clear_message(server: Server) -> None:
    prompt = basic(attn_mask=["90", 0])
    prompt["90"] = {
        "class_type": "SolidMask",
        "inputs": {"value": 1.0, "width": SIZE, "height": SIZE},
    }
    message = failure(server.queue, prompt).message
    assert "image_features and attn_mask are gone" in message


def test_running_an_old_graph_again_gives_the_same_picture(server: Server) -> None:
    first = picture(server, graph("ipadapter"))
    for seed in (1, 2):
        other = graph("ipadapter")
        other["3"]["inputs"]["seed"] = seed
        server.run(other)
    again = graph("ipadapter")
    result = server.run(again)
    assert {APPLY, "3"} & set(result.ran) == {"3"}  # sampled anew on the nodes' kept outputs
    (second,) = pictures(server, result, again)
    assert np.array_equal(first, np.asarray(second, float))


def test_the_style_adapter_may_stand_before_the_old_apply_node(server: Server) -> None:
    after = graph("ipadapter")
    before = copy.deepcopy(after)
    before["72"]["inputs"]["model"] = ["4", 0]
    before[APPLY]["inputs"]["model"] = ["72", 0]
    before["3"]["inputs"]["model"] = [APPLY, 0]
    style_after = picture(server, after)
    assert np.abs(style_after - picture(server, graph("basic"))).mean() > 1
    difference = np.abs(style_after - picture(server, before)).max()
    assert difference <= 1  # steps of 255: sums in another order


def test_the_exchanges_on_offer_reach_the_frontend(server: Server) -> None:
    offers = server.get("/node_replacements")
    assert offers["InstantIDModelLoader"][0]["new_node_id"] == "IID_LoadAdapter"
