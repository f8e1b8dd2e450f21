"""The rehearsal counts what the pack holds, and says which promise was not kept."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from faithful_instantid.devtools.full_size import probe, report
from faithful_instantid.devtools.full_size.report import Run
from faithful_instantid.instantid_core.identity import Identity, IdentitySide

MIB = report.MIB
NOTHING: dict[str, Any] = {
    "pack": {"identities": 0, "weights": 0, "other": 0},
    "tensors": 0,
    "sessions": [],
    "own": 1024 * MIB,
}


def make_identity(numbers: int) -> Identity:
    side = IdentitySide(tokens=torch.zeros(1, 16, 8), kv=torch.zeros(numbers))
    return Identity(torch.zeros(512), torch.zeros(512), positive=side, negative=side)


def held() -> dict[str, int]:
    gc.collect()
    return probe.survey()["pack"]


def test_an_identity_is_counted_once_and_no_longer_when_it_is_gone() -> None:
    before = held()
    identity = make_identity(1000)
    wanted = 4 * (1000 + 16 * 8 + 2 * 512)
    assert held()["identities"] - before["identities"] == wanted
    del identity
    assert held() == before


def test_a_tensor_kept_by_a_closure_of_the_pack_is_counted_but_shared_ones_only_once() -> None:
    before = held()
    identity, table = make_identity(1000), torch.zeros(500)

    def closure() -> torch.Tensor:
        return table + identity.positive.kv[:500]

    closure.__module__ = "faithful_instantid.instantid_core.host.model_patch"
    found = held()
    assert found["other"] - before["other"] == 4 * 500
    assert found["identities"] - before["identities"] == 4 * (1000 + 16 * 8 + 2 * 512)


def test_layers_of_the_pack_are_counted_as_weights_and_those_of_others_are_not() -> None:
    before = held()
    foreign = torch.nn.Bilinear(10, 10, 100)
    assert held() == before
    layer = type("Resampler", (torch.nn.Linear,), {"__module__": "faithful_instantid.x"})(30, 10)
    found = held()
    assert found["weights"] - before["weights"] == 4 * (30 * 10 + 10)
    assert found["other"] == before["other"]
    del foreign, layer


@pytest.mark.parametrize(
    "line",
    [
        "clip missing: ['text_projection.weight']",
        "clip unexpected: ['logit_scale']",
        "unet missing: input_blocks.0.0.weight",
        "unet unexpected: x",
        "missing controlnet keys: ['a']",
        "unexpected controlnet keys: ['a']",
        "left over keys: ['a']",
    ],
)
def test_a_complaint_of_comfyui_s_loaders_is_found_in_the_log(line: str) -> None:
    log = f"Requested to load SDXL\n{line}\nloaded completely\n"
    assert report.key_complaints(log) == [line]
    assert report.failures(figures(), log, 50, 10) == [f"ComfyUI's loader complained: {line}"]


def test_what_comfyui_says_of_the_published_checkpoint_too_is_no_complaint() -> None:
    known = [
        "clip missing: ['clip_l.logit_scale', 'clip_l.transformer.text_projection.weight']",
        "clip unexpected ['clip_l.transformer.text_model.embeddings.position_ids']:",
    ]
    assert report.key_complaints("\n".join(known)) == []
    worse = "clip missing: ['clip_l.logit_scale', 'clip_g.logit_scale']"
    assert report.key_complaints(worse) == [worse]


def figures() -> report.Figures:
    def run(seconds: float) -> Run:
        return Run(
            nodes={"IID_LoadInstantID": 1.234}, steps=[seconds], steps_cpu=[2 * seconds], whole=60.0
        )

    made = report.Figures(first=run(9), plain=[run(10), run(12)], instantid=[run(15), run(17)])
    survey = {**NOTHING, "pack": {"identities": 3 * MIB, "weights": 2048 * MIB, "other": MIB}}
    survey["own"] = 9 * 1024 * MIB
    made.surveys = {"while sampling": survey, "after /free": NOTHING}
    made.peaks = {"own": 10 * 1024 * MIB, "resident": 12 * 1024 * MIB}
    return made


def test_a_rehearsal_that_keeps_every_promise_has_no_failure() -> None:
    assert report.failures(figures(), "loaded completely", 50, 10) == []


def test_what_is_still_held_after_the_unload_is_a_failure() -> None:
    found = figures()
    found.surveys["after /free"] = {
        "pack": {"identities": 30 * MIB, "weights": 7, "other": 2 * MIB},
        "tensors": 100 * MIB,
        "sessions": [260_000_000],
        "own": 0,
    }
    assert report.failures(found, "", 50, 10) == [
        f"After /free there is too much of: {what} wanted."
        for what in (
            "Adapter weights, 7 bytes; at most 0",
            "Anything else of the pack, 2,097,152 bytes; at most 1,048,576",
            "Open ONNX sessions, by file size, 260,000,000 bytes; at most 0",
            "All tensors of the server, 104,857,600 bytes; at most 67,108,864",
        )
    ]


def test_a_black_picture_and_one_that_instantid_did_not_change_are_failures() -> None:
    assert "not finite or flat" in report.failures(figures(), "", 0, 10)[0]
    log = "RuntimeWarning: invalid value encountered in cast"
    assert "not finite or flat" in report.failures(figures(), log, 50, 10)[0]
    assert "differ by 0.000 of 255" in report.failures(figures(), "", 50, 0)[0]


def test_the_import_time_is_read_from_comfyui_s_log() -> None:
    log = "Import times for custom nodes:\n   0.1 seconds: /x/custom_nodes/faithful-instantid\n"
    assert report.import_seconds(log) == 0.1
    assert report.import_seconds("  1.5 seconds: /x/faithful-instantid") == 1.5
    with pytest.raises(SystemExit, match="no import time of faithful-instantid"):
        report.import_seconds("   0.0 seconds: /x/custom_nodes/other")


def test_the_table_shows_load_times_medians_ratios_and_sizes() -> None:
    text = report.table(figures())
    assert "| Load adapter, IdentityNet and face analyzer (4.47 GB) | 1.23 s |" in text
    assert "| The pack's nodes anew, after a picture without them | 1.23 s |" in text
    assert "| without InstantID | 11.00 s | 10.00 to 12.00 s | 2 |" in text
    assert "| with InstantID, processor time | 32.00 s | 30.00 to 34.00 s | 2 |" in text
    assert "| ratio of neighbours | 1.46 | 1.42 to 1.50 | 2 |" in text
    assert "| Held | while sampling | after /free |" in text
    assert "| Adapter weights | 2.00 GiB | 0.0 MiB |" in text
    assert "| Identities | 3.0 MiB | 0.0 MiB |" in text
    assert "| The server's own memory | 9.00 GiB | 1.00 GiB |" in text
    assert "memory: 10.00 GiB; with mapped files, which the system may drop: 12.00 GiB." in text
